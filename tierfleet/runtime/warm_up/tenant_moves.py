"""The two custom resources for tenants that move with the next routes: one warms them, one compares their endpoints."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tierfleet.runtime.appconfig import NoRoutesDeployedError
from tierfleet.runtime.warm_up import comparison, gate
from tierfleet.runtime.warm_up.custom_resource import Answer
from tierfleet.runtime.warm_up.endpoint_gate import warmed
from tierfleet.runtime.warm_up.invocation import Invocation
from tierfleet.runtime.warm_up.moved_tenants import moved_tenants
from tierfleet.runtime.warm_up.telemetry import failure_counted, log, sentence
from tierfleet.runtime.warm_up.tier_run import warm_tier


def warm_moved_tenants(invocation: Invocation, request: Mapping[str, Any]) -> Answer:
    """Load the models that the next routes send to a multi-model endpoint. Models that stay cold fail no deployment.

    Raises botocore's errors, and ValueError if the function lacks settings.
    """
    if (answer := gate.answer_of_a_rollback(request, invocation.aws.cloudformation)) is not None:
        return answer
    settings = invocation.settings
    try:
        with failure_counted(settings):
            hosted = invocation.hosted_routes()
            try:
                moved = moved_tenants(invocation.deployed_routes(), hosted)
            except NoRoutesDeployedError:
                return Answer(succeeded=True, reason="no routes are deployed yet, so no tenant has moved")
        counts: Counter[str] = Counter()
        for number, (tier, tenants) in enumerate(moved.items()):
            # An equal share of the time that is left, so that one slow tier does not use up the others' time.
            seconds = invocation.seconds_left / (len(moved) - number)
            with failure_counted(settings, tier):
                report = warm_tier(invocation, hosted, tier, tenants=tenants, most_seconds=seconds)
                counts.update(report.counts)
    except Exception as error:
        return Answer(succeeded=True, reason=f"tenants that move stay cold: {sentence(error)}")
    if not moved:
        return Answer(succeeded=True, reason="no tenant moves to a multi-model endpoint")
    return warmed(f"tenants that move to {', '.join(moved)}", counts)


def compare_moved_tenants(invocation: Invocation, request: Mapping[str, Any]) -> Answer:
    """Ask the old and the new endpoint of each tenant that moves for the probe's score. Raises botocore's errors."""
    aws = invocation.aws
    if (answer := gate.answer_of_a_rollback(request, aws.cloudformation)) is not None:
        return answer
    hosted = invocation.hosted_routes()
    try:
        moved = comparison.moves(invocation.deployed_routes(), hosted)
    except NoRoutesDeployedError:
        return Answer(succeeded=True, reason="no routes are deployed yet: no tenant moves")
    outcomes = comparison.compare(
        moved,
        runtime=aws.comparing_runtime,
        s3=aws.s3,
        models_bucket=invocation.settings.models_bucket,
        most_seconds=invocation.seconds_left,
    )
    for outcome in outcomes:
        log("tenant compared", tenant=outcome.tenant, outcome=outcome.word, reason=outcome.reason)
    return comparison.answer(outcomes)

"""The warm gate between an endpoint and the deployment of its routes: wait, warm, and refuse an endpoint that fails.

CloudFormation gives a custom resource one hour, and Lambda a run 15 minutes. A gate that has to wait longer starts the
next run of itself and does not answer; that run does.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.runtime.appconfig import NoRoutesDeployedError
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.warm_up import gate, takeover
from tierfleet.runtime.warm_up.custom_resource import Answer
from tierfleet.runtime.warm_up.gate import Waiting
from tierfleet.runtime.warm_up.invocation import Invocation
from tierfleet.runtime.warm_up.plan import plan_warm_up
from tierfleet.runtime.warm_up.predecessor import grow_like, predecessor
from tierfleet.runtime.warm_up.report import WarmUpReport
from tierfleet.runtime.warm_up.run import warm
from tierfleet.runtime.warm_up.telemetry import failure_counted, log, sentence
from tierfleet.runtime.warm_up.tier_run import LONGEST_RUN_SECONDS, warm_tier

RUNS_OF_ONE_GATE: Final = 4
"""Four runs of 15 minutes fit in CloudFormation's hour. The last one only warms."""

RUN_KEY: Final = "TierfleetRun"
"""The key that is added to the request when a gate starts its next run."""

_RUN_MINUTES: Final = 15
_TOO_LONG: Final = (
    "the stack would wait no longer than an hour: look at the endpoint's log group and at its deployment guardrail, "
    "whose waits must add up to less"
)


def answer_endpoint_gate(invocation: Invocation, request: Mapping[str, Any]) -> Answer | Waiting:
    """The answer to a Create or an Update. Waiting: the next run of this function gives it.

    Raises botocore's errors, and ValueError if the function lacks settings. A warm-up that fails leaves the endpoint
    cold, but does not fail the deployment.
    """
    run = int(request.get(RUN_KEY, 1))
    if (result := _wait(invocation, request, run)) is not None:
        return result
    properties = request["ResourceProperties"]
    endpoint_name, tier = properties["EndpointName"], properties.get("Tier")
    # Now, since SageMaker creates the log group only when a container writes.
    _keep_logs(invocation, endpoint_name, properties.get("LogRetentionDays"))
    if not tier:
        return Answer(succeeded=True, reason=f"endpoint {endpoint_name} runs the configuration asked for")
    # The routes will send the old endpoint's whole traffic to this one at once.
    old_endpoint = _predecessor(invocation, tier, endpoint_name)
    if old_endpoint and (instances := grow_like(old_endpoint, endpoint_name, sagemaker=invocation.aws.sagemaker)):
        log("new endpoint grows", endpoint=endpoint_name, instances=instances, like=old_endpoint)
        if (result := _wait(invocation, request, run)) is not None:
            return result
    if invocation.seconds_left < LONGEST_RUN_SECONDS and run < RUNS_OF_ONE_GATE:
        # The wait has used up the time that the last tenants of the list would need.
        waiting = Waiting(f"endpoint {endpoint_name} is in service, to be warmed")
        return _start_next_run(invocation, request, run, waiting)
    settings = invocation.settings  # raises here, outside the try: without settings the gate fails
    try:
        with failure_counted(settings, tier):
            routes = invocation.hosted_routes()
            if tier not in routes.warm_ups:
                return Answer(succeeded=True, reason=f"tier {tier} has no warm_up")
            report = warm_tier(invocation, routes, tier, endpoint_name=endpoint_name)
    except Exception as error:
        return Answer(succeeded=True, reason=f"endpoint {endpoint_name} stays cold: {sentence(error)}")
    if old_endpoint and (why := _refusal(invocation, routes, tier, report, endpoint_name, old_endpoint)):
        return Answer(succeeded=False, reason=why)
    return warmed(f"endpoint {endpoint_name} is warmed up", report.counts)


def warmed(what: str, counts: Mapping[str, int]) -> Answer:
    """Success, with the counts in words and for Fn::GetAtt."""
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Answer(
        succeeded=True, reason=f"{what}: {shown}", data={name.capitalize(): count for name, count in counts.items()}
    )


def _wait(invocation: Invocation, request: Mapping[str, Any], run: int) -> Answer | Waiting | None:
    """None: the endpoint is in service with the configuration asked for. Waiting: the next run goes on."""
    result = gate.wait(
        request,
        cloudformation=invocation.aws.cloudformation,
        sagemaker=invocation.aws.sagemaker,
        most_seconds=invocation.seconds_left,
    )
    if not isinstance(result, Waiting):
        return result
    if run >= RUNS_OF_ONE_GATE - 1:
        return Answer(succeeded=False, reason=f"{result.reason} after {run * _RUN_MINUTES} minutes; {_TOO_LONG}")
    return _start_next_run(invocation, request, run, result)


def _start_next_run(invocation: Invocation, request: Mapping[str, Any], run: int, waiting: Waiting) -> Waiting:
    payload = json.dumps({**request, RUN_KEY: run + 1}).encode()
    # Event: a run that waited for the next one would reach Lambda's limit before it.
    invocation.aws.lambda_.invoke(FunctionName=invocation.function_arn, InvocationType="Event", Payload=payload)
    log("warm gate goes on in its next run", reason=waiting.reason, run=run + 1)
    return waiting


def _predecessor(invocation: Invocation, tier: str, endpoint_name: str) -> str | None:
    """The endpoint that serves the tier now, under another name. None if there is none or it cannot be read."""
    try:
        return predecessor(invocation.deployed_routes(), tier, endpoint_name)
    except NoRoutesDeployedError:
        return None
    except Exception as error:
        log("the deployed routes are not known", tier=tier, reason=sentence(error))
        return None


def _refusal(
    invocation: Invocation,
    routes: RouteDocument,
    tier: str,
    report: WarmUpReport,
    endpoint_name: str,
    old_endpoint: str,
) -> str | None:
    """Why the new endpoint must not get the routes, or None. No guardrail watches the switch to it."""

    def probe_old(tenants: Sequence[str]) -> WarmUpReport:
        plan = plan_warm_up(
            routes,
            tier,
            endpoint_name=old_endpoint,
            tenants=tenants,
            most_seconds=min(invocation.seconds_left, takeover.COMPARISON_SECONDS),
        )
        aws = invocation.aws
        old = warm(plan, runtime=aws.runtime, s3=aws.s3, models_bucket=invocation.settings.models_bucket)
        log("compared with the old endpoint", tier=tier, endpoint=old_endpoint, **old.counts, tenants=list(tenants))
        return old

    return takeover.refusal(report, endpoint_name=endpoint_name, old_endpoint=old_endpoint, probe_old=probe_old)


def _keep_logs(invocation: Invocation, endpoint_name: str, days: str | None) -> None:
    """Set how long the endpoint's logs are kept. A failure is logged and fails no deployment."""
    if days is None:
        return
    logs, group = invocation.aws.logs, f"/aws/sagemaker/Endpoints/{endpoint_name}"
    try:
        try:
            logs.put_retention_policy(logGroupName=group, retentionInDays=int(days))
        except logs.exceptions.ResourceNotFoundException:
            # SageMaker creates the group with the first line that a container writes.
            logs.create_log_group(logGroupName=group)
            logs.put_retention_policy(logGroupName=group, retentionInDays=int(days))
    except (ClientError, BotoCoreError) as error:
        log("the retention of the endpoint's logs is not set", group=group, reason=sentence(error))

"""Rules of a guardrail: it fits SageMaker's limits, and its alarms can fire while traffic moves."""

from collections.abc import Iterator
from math import ceil

from tierfleet.config.guardrail_time import BAKE_SECONDS, ROLLBACK_DATAPOINTS
from tierfleet.config.hosting.tier import Guardrail, Tier
from tierfleet.config.problems import Problem, Severity


def check_guardrail(where: str, tier: Tier, guardrail: Guardrail) -> Iterator[Problem]:
    """Every problem of one tier's guardrail; `where`: the tier's table."""
    where = f"{where}.guardrail"
    shift = guardrail.shift(tier.fewest_instances)
    if shift == "CANARY" and guardrail.canary_instances * 2 > tier.fewest_instances:
        message = f"a canary may be at most half of the instances, and there may be {tier.fewest_instances}"
        fix = 'raise the lower bounds, lower canary_instances or set type = "ALL_AT_ONCE"'
        yield Problem(where, "canary_instances", guardrail.canary_instances, message, fix)
    yield from _timeout(where, guardrail, shift)
    yield from _bakes(where, guardrail, shift, "error" if tier.fewest_instances > 1 else "warning")
    yield from _share(where, tier, guardrail, shift)


def _timeout(where: str, guardrail: Guardrail, shift: str) -> Iterator[Problem]:
    steps = ceil(100 / guardrail.linear_step_percent) if shift == "LINEAR" else 1
    waits = steps * guardrail.wait_interval_in_seconds + guardrail.termination_wait_in_seconds
    if guardrail.maximum_execution_timeout_in_seconds <= waits:
        message = f"must be above the sum of the waits, {waits} s ({steps} step{'s' * (steps > 1)} and the last wait)"
        fix = "raise it or shorten the waits"
        timeout = guardrail.maximum_execution_timeout_in_seconds
        yield Problem(where, "maximum_execution_timeout_in_seconds", timeout, message, fix)


def _bakes(where: str, guardrail: Guardrail, shift: str, severity: Severity) -> Iterator[Problem]:
    needed = (
        f"the rollback alarms need {BAKE_SECONDS} s to go off ({ROLLBACK_DATAPOINTS[0]} bad minutes, and the delay of "
        "their metrics)"
    )
    if shift != "ALL_AT_ONCE" and guardrail.wait_interval_in_seconds < BAKE_SECONDS:
        message = f"{needed}: a version that fails every call would get all traffic first"
        fix = f"set {BAKE_SECONDS} or more, or leave it out"
        yield Problem(where, "wait_interval_in_seconds", guardrail.wait_interval_in_seconds, message, fix, severity)
    if guardrail.termination_wait_in_seconds < BAKE_SECONDS:
        message = f"{needed}: the old instances would be gone before"
        fix = f"set {BAKE_SECONDS} or more, or leave it out"
        wait = guardrail.termination_wait_in_seconds
        yield Problem(where, "termination_wait_in_seconds", wait, message, fix, severity)


def _share(where: str, tier: Tier, guardrail: Guardrail, shift: str) -> Iterator[Problem]:
    """The alarms watch all calls of the endpoint, so the first step's share must be able to set them off."""
    most = tier.most_instances
    key, value, share = {
        "CANARY": ("canary_instances", guardrail.canary_instances, guardrail.canary_instances / most),
        "LINEAR": ("linear_step_percent", guardrail.linear_step_percent, guardrail.linear_step_percent / 100),
        "ALL_AT_ONCE": ("type", shift, 1.0),
    }[shift]
    if share <= tier.alarms.max_5xx_ratio:
        message = (
            f"of up to {most} instances the first step takes {share:.1%} of the calls: if all of them fail, the 5XX "
            f"ratio still does not pass alarms.max_5xx_ratio, {tier.alarms.max_5xx_ratio:g}"
        )
        yield Problem(where, key, value, message, "make the first step larger or lower alarms.max_5xx_ratio")
    elif share <= 0.01 and tier.endpoint_per_tenant:
        message = f"of up to {most} instances the first step takes {share:.1%} of the calls, too few for a p99 alarm"
        yield Problem(where, key, value, message, "make the first step larger")


def check_traffic(where: str, tier: Tier) -> Iterator[Problem]:
    """The 5XX alarm looks only at minutes with enough calls, and there must be such minutes."""
    calls = tier.scaling.max_requests_per_second * 60 * tier.most_instances
    needed = tier.alarms.min_requests / 5
    if needed > calls:
        message = (
            f"the 5XX alarm looks at minutes of {needed:g} calls or more, and {tier.most_instances} instances of "
            f"scaling.max_requests_per_second take {calls:g} a minute: it could never go off"
        )
        severity: Severity = "error" if tier.guardrail else "warning"
        yield Problem(f"{where}.alarms", "min_requests", tier.alarms.min_requests, message, "lower it", severity)

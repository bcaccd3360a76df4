"""Warms one tier, and reports the run in log lines and metrics."""

from collections.abc import Sequence
from typing import Final

from tierfleet.runtime import metrics
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.warm_up.invocation import Invocation
from tierfleet.runtime.warm_up.plan import plan_warm_up
from tierfleet.runtime.warm_up.report import WarmUpReport
from tierfleet.runtime.warm_up.run import warm
from tierfleet.runtime.warm_up.telemetry import emit, log

LONGEST_RUN_SECONDS: Final = 780
"""Less than the function's timeout of 15 minutes, which is Lambda's longest."""


def warm_tier(
    invocation: Invocation,
    routes: RouteDocument,
    tier: str,
    *,
    endpoint_name: str | None = None,
    tenants: Sequence[str] | None = None,
    most_seconds: float = LONGEST_RUN_SECONDS,
) -> WarmUpReport:
    """Warm the tier's list on its endpoint in `routes`, or `tenants` on `endpoint_name`. Raises botocore's errors."""
    settings = invocation.settings
    plan = plan_warm_up(
        routes,
        tier,
        endpoint_name=endpoint_name,
        tenants=tenants,
        most_seconds=min(invocation.seconds_left, most_seconds, LONGEST_RUN_SECONDS),
    )
    # Before the run, because the cache alarms stay silent while this metric has data.
    emit({metrics.WARM_UP_STARTED: 1}, settings=settings, tier=tier)
    aws = invocation.aws
    report = warm(plan, runtime=aws.runtime, s3=aws.s3, models_bucket=settings.models_bucket)
    log(
        "warm-up ended",
        tier=tier,
        endpoint=plan.endpoint_name,
        **report.counts,
        seconds=report.seconds,
        stopped=report.stopped,
    )
    for tenant, reason in report.failed.items():
        log("tenant not warmed", tier=tier, tenant=tenant, reason=reason)
    for outcome, concerned in (
        ("missing", report.missing),
        ("skipped", tuple(report.skipped)),
        ("left", report.left),
    ):
        if concerned:
            log(f"tenants {outcome}", tier=tier, tenants=concerned)
    emit(
        {
            metrics.WARM_UP_WARMED: len(report.warmed),
            metrics.WARM_UP_FAILED: len(report.failed),
            metrics.WARM_UP_MISSING: len(report.missing),
            metrics.WARM_UP_SKIPPED: len(report.skipped),
            metrics.WARM_UP_LEFT: len(report.left),
            metrics.WARM_UP_SECONDS: report.seconds,
        },
        settings=settings,
        tier=tier,
    )
    return report

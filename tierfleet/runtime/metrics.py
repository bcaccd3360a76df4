"""tierfleet's own CloudWatch metrics, written as Embedded Metric Format lines.

CloudWatch Logs turns one JSON line, such as a Lambda function's standard output, into metrics: no API call, and no
permission beyond the log group's. Format: CloudWatch user guide, "Embedded metric format specification".
"""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

NAMESPACE: Final = "tierfleet"

ROUTE_ERRORS: Final = "RouteErrors"
ROUTE_FALLBACK: Final = "RouteFallback"
CALL_STALE_POINTERS: Final = "StalePointers"
CALLS: Final = "Calls"
CALL_ERRORS: Final = "CallErrors"
CALL_LATENCY: Final = "CallLatency"
WARM_UP_STARTED: Final = "WarmUpStarted"
WARM_UP_WARMED: Final = "WarmUpWarmed"
WARM_UP_FAILED: Final = "WarmUpFailed"
WARM_UP_MISSING: Final = "WarmUpMissing"
WARM_UP_SKIPPED: Final = "WarmUpSkipped"
WARM_UP_LEFT: Final = "WarmUpLeft"
WARM_UP_SECONDS: Final = "WarmUpSeconds"

UNITS: Final[Mapping[str, str]] = {
    ROUTE_ERRORS: "Count",
    ROUTE_FALLBACK: "Count",
    CALL_STALE_POINTERS: "Count",
    CALLS: "Count",
    CALL_ERRORS: "Count",
    CALL_LATENCY: "Milliseconds",
    WARM_UP_STARTED: "Count",
    WARM_UP_WARMED: "Count",
    WARM_UP_FAILED: "Count",
    WARM_UP_MISSING: "Count",
    WARM_UP_SKIPPED: "Count",
    WARM_UP_LEFT: "Count",
    WARM_UP_SECONDS: "Seconds",
}


# The format's limit for values of one metric in one line.
MOST_VALUES: Final = 100


def emf_line(
    values: Mapping[str, float | list[float]],
    *,
    fleet: str,
    environment: str,
    tier: str | None = None,
    tenant: str | None = None,
    timestamp_milliseconds: int | None = None,
) -> str:
    """One line of JSON, without a newline, that CloudWatch turns into the given metrics.

    values: metric name (a key of UNITS, else KeyError) to a value, or up to 100 values, in that metric's unit.
    tier: adds the dimension set [Fleet, Environment, Tier] to [Fleet, Environment].
    tenant: makes [Fleet, Environment, Tenant] the only dimension set; the fleet's line counts those calls too.
    timestamp_milliseconds: since the Unix epoch; by default now.
    """
    dimensions = {"Fleet": fleet, "Environment": environment}
    dimension_sets = [list(dimensions)]
    if tier is not None:
        dimensions["Tier"] = tier
        dimension_sets.append(list(dimensions))
    if tenant is not None:
        dimensions["Tenant"] = tenant
        dimension_sets = [list(dimensions)]
    directive: dict[str, Any] = {
        "Namespace": NAMESPACE,
        "Dimensions": dimension_sets,
        "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in values],
    }
    if timestamp_milliseconds is None:
        timestamp_milliseconds = time.time_ns() // 1_000_000
    metadata = {"Timestamp": timestamp_milliseconds, "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": metadata, **dimensions, **values})

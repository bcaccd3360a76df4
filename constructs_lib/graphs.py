"""The graphs of a dashboard as data, and the rows that several hosting shapes have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from constructs_lib.endpoint_metrics import MICROSECONDS_PER_MILLISECOND, EndpointMetrics
from constructs_lib.metric import Metric

Row = list[Any]


@dataclass(frozen=True)
class Graph:
    """One graph over time."""

    title: str
    rows: list[Row]
    """Metrics and expressions, as CloudWatch's dashboard body has them."""
    limits: tuple[tuple[str, float], ...] = ()
    """Horizontal lines: label and value."""
    most: float | None = None
    """The upper end of the axis; None leaves it to CloudWatch."""


@dataclass(frozen=True)
class TenantEndpoint:
    """One tenant's endpoint."""

    tenant: str
    tier: Any
    """The tier's table of the fleet file."""
    metrics: EndpointMetrics


@dataclass(frozen=True)
class TenantGraphs:
    """What the dashboard shows of the tenants' endpoints of one hosting shape."""

    heading: str
    graphs: Callable[[Sequence[TenantEndpoint]], list[Graph]]
    """The graphs of at most 100 endpoints."""
    alarms: tuple[str, ...] = ("model-latency", "server-errors")
    """The words of the alarms in the dashboard's list, as EndpointMetrics.alarm_name takes them."""


def expression(math: str, label: str) -> Row:
    """A row of metric math."""
    return [{"expression": math, "label": label}]


def limits(label: str, values: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """A line for each different value."""
    return tuple((label, value) for value in sorted(set(values)))


def scaled(metrics_by_label: Mapping[str, Metric], divisor: int) -> list[Row]:
    """Metrics in a larger unit."""
    rows: list[Row] = []
    for index, (label, metric) in enumerate(metrics_by_label.items()):
        # Hidden: only its quotient is drawn. It counts towards the 500 metrics of a widget.
        rows.append(metric.row(id=f"m{index}", visible=False, period=60))
        rows.append(expression(f"m{index} / {divisor}", label))
    return rows


def model_latency(endpoints: Sequence[TenantEndpoint]) -> Graph:
    """ModelLatency p99 of each tenant, with the alarms' limits."""
    return Graph(
        "ModelLatency p99 (milliseconds)",
        scaled({each.tenant: each.metrics.latency_p99 for each in endpoints}, MICROSECONDS_PER_MILLISECOND),
        limits("alarm above", [each.tier.alarms.max_model_latency_p99_milliseconds for each in endpoints]),
    )


def calls_per_minute(endpoints: Sequence[TenantEndpoint]) -> Graph:
    """Calls of each tenant."""
    rows = [each.metrics.invocations.row(label=each.tenant, period=60) for each in endpoints]
    return Graph("Calls per minute", rows)


def calls_and_errors(endpoints: Sequence[EndpointMetrics]) -> Graph:
    """Calls, 4XX and 5XX of all endpoints together."""
    summed = {
        "calls": [endpoint.invocations for endpoint in endpoints],
        "4XX": [endpoint.errors_4xx for endpoint in endpoints],
        "5XX": [endpoint.errors_5xx for endpoint in endpoints],
    }
    rows: list[Row] = []
    for number, (label, parts) in enumerate(summed.items()):
        ids = [f"s{number}_{index}" for index in range(len(parts))]
        rows += [part.row(id=part_id, visible=False) for part_id, part in zip(ids, parts, strict=True)]
        rows.append(expression(f"SUM([{','.join(ids)}])", label))
    return Graph("Calls and errors", rows)


def instances(endpoints: Mapping[str, EndpointMetrics]) -> Graph:
    """SageMaker publishes no instance count. A call counts 1 in Invocations and 1/instances in the other metric."""
    rows: list[Row] = []
    for index, (label, endpoint) in enumerate(endpoints.items()):
        rows.append(endpoint.invocations.row(id=f"c{index}", visible=False))
        rows.append(endpoint.invocations_per_instance.row(id=f"p{index}", visible=False))
        rows.append(expression(f"c{index} / p{index}", label))
    return Graph("Instances", rows)


def of_instances(endpoints: Sequence[TenantEndpoint]) -> list[Graph]:
    """The graphs of endpoints with instances, one for each tenant, that answer calls."""
    return [
        model_latency(endpoints),
        calls_per_minute(endpoints),
        calls_and_errors([each.metrics for each in endpoints]),
        instances({each.tenant: each.metrics for each in endpoints}),
    ]

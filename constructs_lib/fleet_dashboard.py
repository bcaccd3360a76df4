"""The dashboard of a fleet."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib import arns
from constructs_lib.endpoint_metrics import (
    MICROSECONDS_PER_MILLISECOND,
    MICROSECONDS_PER_SECOND,
    MILLISECONDS_PER_SECOND,
    EndpointMetrics,
)
from constructs_lib.metric import Metric, fleet_metric
from constructs_lib.model_store import model_bytes_downloaded
from tierfleet.config import FleetConfig, MultiModelTier, routes
from tierfleet.runtime import metrics

# CloudWatch draws at most 500 metrics a widget and 100 alarms an alarm widget; an instance count takes three metrics.
_ENDPOINTS_A_WIDGET = 100
_GIB = 1024**3

_Row = list[Any]
_Item = TypeVar("_Item")


class FleetDashboard(Construct):
    """The dashboard of a fleet: cache, loads, latency, instances and alarms of each tier.

    `FleetDashboard(self, "Dashboard", config=config, cache_alarm_arns=arns)` defines one AWS::CloudWatch::Dashboard.
    The body is plain data instead of widget constructs, because its names are literal and a fleet of 150 dedicated
    endpoints would need thousands of jsii calls.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: FleetConfig, cache_alarm_arns: Sequence[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self._region = config.region
        self._widgets: list[dict[str, Any]] = []
        whales = {
            tenant: EndpointMetrics(routes.endpoint_name(config, name, tenant), tier.hosting)
            for name, tier in config.dedicated_tiers.items()
            for tenant in sorted(tier.tenants)
        }
        serverless = {
            tenant: EndpointMetrics(routes.endpoint_name(config, name, tenant), tier.hosting)
            for name, tier in config.serverless_tiers.items()
            for tenant in sorted(tier.tenants)
        }
        queues = {
            tenant: EndpointMetrics(routes.endpoint_name(config, name, tenant), tier.hosting)
            for name, tier in config.async_tiers.items()
            for tenant in sorted(tier.tenants)
        }
        own = [endpoint.endpoint_name for endpoint in (*whales.values(), *serverless.values(), *queues.values())]
        self._alarms(config, cache_alarm_arns, own)
        for name, tier in config.multi_model_tiers.items():
            self._shared_tier(name, tier, EndpointMetrics(routes.endpoint_name(config, name), tier.hosting))
        self._loads_from_s3(config)
        for chunk in _chunks(list(whales.items()), _ENDPOINTS_A_WIDGET):
            self._whales(config, dict(chunk))
        for chunk in _chunks(list(serverless.items()), _ENDPOINTS_A_WIDGET):
            self._serverless(config, dict(chunk))
        for chunk in _chunks(list(queues.items()), _ENDPOINTS_A_WIDGET):
            self._queues(config, dict(chunk))
        cloudwatch.CfnDashboard(
            self,
            "Dashboard",
            dashboard_name=f"{config.fleet}--{config.environment}",
            dashboard_body=json.dumps({"widgets": self._widgets}, separators=(",", ":")),
        )

    def _alarms(self, config: FleetConfig, cache_alarm_arns: Sequence[str], whales: Sequence[str]) -> None:
        shared = [routes.endpoint_name(config, name) for name in config.multi_model_tiers]
        alarm_names = [f"{name}--server-errors" for name in shared]
        alarm_names += [f"{name}--{alarm}" for name in whales for alarm in ("model-latency", "server-errors")]
        alarms = [*cache_alarm_arns, *(arns.alarm(config, name) for name in alarm_names)]
        for chunk in _chunks(alarms, 100):
            self._add("alarm", 24, 3, {"title": "Alarms", "alarms": chunk})

    def _shared_tier(self, name: str, tier: MultiModelTier, endpoint: EndpointMetrics) -> None:
        self._add("text", 24, 1, {"markdown": f"## Tier {name}: one multi-model endpoint"})
        self._graph(
            "Cache hit ratio",
            [
                endpoint.cache_hits.row(id="hits", visible=False),
                endpoint.cache_lookups.row(id="lookups", visible=False),
                _math("hits / lookups", "hit ratio"),
            ],
            ("alarm below", tier.alarms.min_cache_hit_ratio),
            most=1,
        )
        self._graph(
            "Longest wait for a model (seconds)",
            [
                endpoint.longest_loading_wait.row(id="wait", visible=False),
                _math(f"wait / {MICROSECONDS_PER_SECOND}", "ModelLoadingWaitTime"),
            ],
            ("alarm above", tier.alarms.max_loading_wait_seconds),
        )
        self._graph(
            "Models loaded, fetched from S3, unloaded (per hour)",
            [
                endpoint.loads.row(label="loaded", period=3600),
                endpoint.downloads.row(label="fetched from S3", period=3600),
                endpoint.unloads.row(label="unloaded", period=3600),
            ],
            ("alarm above", tier.alarms.max_unloads_per_hour),
        )
        self._graph("Models in memory", [endpoint.loaded_models.row(label="LoadedModelCount", period=60)])
        self._graph(
            "Memory and disk of the fullest instance (%)",
            [endpoint.memory.row(label="memory"), endpoint.disk.row(label="disk")],
            most=100,
        )
        self._graph(
            "Calls per minute and instance",
            [endpoint.invocations_per_instance.row(label="InvocationsPerInstance", period=60)],
            ("scaling target", tier.scaling.target_invocations_per_minute),
        )
        self._graph("Calls and errors", _calls_and_errors([endpoint]))
        self._graph("Instances", _instances({name: endpoint}))

    def _loads_from_s3(self, config: FleetConfig) -> None:
        self._graph(
            "GiB of models read from S3 (per hour)",
            [
                model_bytes_downloaded(config).row(id="bytes", visible=False, period=3600),
                _math(f"bytes / {_GIB}", "GiB"),
            ],
        )
        self._graph(
            "Warm-up and routes",
            [
                fleet_metric(config, name).row(label=name)
                for name in (
                    metrics.WARM_UP_WARMED,
                    metrics.WARM_UP_FAILED,
                    metrics.ROUTE_ERRORS,
                    metrics.ROUTE_FALLBACK,
                )
            ],
        )

    def _whales(self, config: FleetConfig, whales: dict[str, EndpointMetrics]) -> None:
        self._add("text", 24, 1, {"markdown": "## Dedicated tenants: an endpoint each"})
        limits = sorted({t.alarms.max_model_latency_p99_milliseconds for t in config.dedicated_tiers.values()})
        rows = _scaled({tenant: e.latency_p99 for tenant, e in whales.items()}, MICROSECONDS_PER_MILLISECOND)
        self._graph("ModelLatency p99 (milliseconds)", rows, *(("alarm above", limit) for limit in limits))
        self._graph("Calls per minute", [e.invocations.row(label=tenant, period=60) for tenant, e in whales.items()])
        self._graph("Calls and errors", _calls_and_errors(list(whales.values())))
        self._graph("Instances", _instances(whales))

    def _serverless(self, config: FleetConfig, endpoints: dict[str, EndpointMetrics]) -> None:
        tiers = config.serverless_tiers.values()
        self._add("text", 24, 1, {"markdown": "## Serverless tenants: an endpoint without instances each"})
        latencies = sorted({tier.alarms.max_model_latency_p99_milliseconds for tier in tiers})
        self._graph(
            "ModelLatency p99 (milliseconds)",
            _scaled({tenant: e.latency_p99 for tenant, e in endpoints.items()}, MICROSECONDS_PER_MILLISECOND),
            *(("alarm above", limit) for limit in latencies),
        )
        setups = {tenant: e.metric("ModelSetupTime", "p99") for tenant, e in endpoints.items()}
        self._graph(
            "ModelSetupTime p99: starts of containers (seconds)",
            _scaled(setups, MICROSECONDS_PER_SECOND),
            *(("alarm above", limit) for limit in sorted({tier.alarms.max_model_setup_seconds for tier in tiers})),
        )
        utilisation = "ServerlessConcurrentExecutionsUtilization"
        self._graph(
            "Calls under way as a share of max_concurrency",
            [e.metric(utilisation, "Maximum").row(label=tenant, period=60) for tenant, e in endpoints.items()],
            *(("alarm from", limit) for limit in sorted({tier.alarms.max_concurrency_utilization for tier in tiers})),
            most=1,
        )
        self._graph("Calls and errors", _calls_and_errors(list(endpoints.values())))

    def _queues(self, config: FleetConfig, endpoints: dict[str, EndpointMetrics]) -> None:
        tiers = config.async_tiers.values()
        self._add("text", 24, 1, {"markdown": "## Asynchronous tenants: an endpoint with a queue each"})
        self._graph(
            "Requests in the queue and at work",
            [e.metric("ApproximateBacklogSize", "Maximum").row(label=t, period=60) for t, e in endpoints.items()],
        )
        ages = sorted({tier.alarms.max_age_of_oldest_request_seconds for tier in tiers})
        self._graph(
            "Age of the oldest request (seconds)",
            [e.metric("ApproximateAgeOfOldestRequest", "Maximum").row(label=t) for t, e in endpoints.items()],
            *(("alarm above", age) for age in ages),
        )
        waits = {tenant: e.metric("TimeInBacklog", "Maximum") for tenant, e in endpoints.items()}
        self._graph("Longest wait in the queue (seconds)", _scaled(waits, MILLISECONDS_PER_SECOND))
        outcomes = ("InvocationsProcessed", "InvocationFailures", "ExpiredRequests")
        rows: list[_Row] = []
        for number, name in enumerate(outcomes):
            ids = [f"q{number}_{index}" for index in range(len(endpoints))]
            parts = [endpoint.metric(name, "Sum") for endpoint in endpoints.values()]
            rows += [part.row(id=part_id, visible=False) for part_id, part in zip(ids, parts, strict=True)]
            rows.append(_math(f"SUM([{','.join(ids)}])", name))
        self._graph("Requests and failures", rows)

    def _graph(self, title: str, rows: list[_Row], *limits: tuple[str, float], most: float | None = None) -> None:
        properties: dict[str, Any] = {
            "title": title,
            "region": self._region,
            "view": "timeSeries",
            "period": 300,
            "metrics": rows,
            "yAxis": {"left": {"min": 0} if most is None else {"min": 0, "max": most}},
        }
        if limits:
            lines = [{"label": label, "value": value} for label, value in limits]
            properties["annotations"] = {"horizontal": lines}
        self._add("metric", 6, 6, properties)

    def _add(self, kind: str, width: int, height: int, properties: dict[str, Any]) -> None:
        # Without x and y CloudWatch flows the widgets left to right and down.
        self._widgets.append({"type": kind, "width": width, "height": height, "properties": properties})


def _math(expression: str, label: str) -> _Row:
    return [{"expression": expression, "label": label}]


def _scaled(metrics_by_label: dict[str, Metric], divisor: int) -> list[_Row]:
    rows: list[_Row] = []
    for index, (label, metric) in enumerate(metrics_by_label.items()):
        rows.append(metric.row(id=f"m{index}", visible=False, period=60))
        rows.append(_math(f"m{index} / {divisor}", label))
    return rows


def _calls_and_errors(endpoints: Sequence[EndpointMetrics]) -> list[_Row]:
    summed = {
        "calls": [endpoint.invocations for endpoint in endpoints],
        "4XX": [endpoint.errors_4xx for endpoint in endpoints],
        "5XX": [endpoint.errors_5xx for endpoint in endpoints],
    }
    rows: list[_Row] = []
    for number, (label, parts) in enumerate(summed.items()):
        ids = [f"s{number}_{index}" for index in range(len(parts))]
        rows += [part.row(id=part_id, visible=False) for part_id, part in zip(ids, parts, strict=True)]
        rows.append(_math(f"SUM([{','.join(ids)}])", label))
    return rows


def _instances(endpoints: dict[str, EndpointMetrics]) -> list[_Row]:
    """SageMaker publishes no instance count. A call counts 1 in Invocations and 1/instances in the other metric."""
    rows: list[_Row] = []
    for index, (label, endpoint) in enumerate(endpoints.items()):
        rows.append(endpoint.invocations.row(id=f"c{index}", visible=False))
        rows.append(endpoint.invocations_per_instance.row(id=f"p{index}", visible=False))
        rows.append(_math(f"c{index} / p{index}", label))
    return rows


def _chunks(items: Sequence[_Item], size: int) -> Iterable[list[_Item]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))

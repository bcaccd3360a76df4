"""The dashboard of a fleet."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib import arns
from constructs_lib.endpoint_metrics import MICROSECONDS_PER_SECOND, EndpointMetrics
from constructs_lib.graphs import (
    Graph,
    TenantEndpoint,
    TenantGraphs,
    calls_and_errors,
    expression,
    instances,
)
from constructs_lib.hosting import (
    async_endpoint,
    dedicated_endpoint,
    multi_container_endpoint,
    pipeline_endpoint,
    serverless_endpoint,
)
from constructs_lib.metric import fleet_metric
from constructs_lib.model_store import model_bytes_downloaded
from tierfleet.config import FleetConfig, MultiModelTier, routes
from tierfleet.runtime import metrics

# CloudWatch draws at most 500 metrics a widget and 100 alarms an alarm widget; an instance count takes three metrics.
_ENDPOINTS_A_WIDGET = 100
_GIB = 1024**3

_TENANT_GRAPHS: dict[str, TenantGraphs] = {
    "dedicated": dedicated_endpoint.GRAPHS,
    "multi-container": multi_container_endpoint.GRAPHS,
    "serverless": serverless_endpoint.GRAPHS,
    "pipeline": pipeline_endpoint.GRAPHS,
    "async": async_endpoint.GRAPHS,
}
"""What is shown of the tenants' endpoints of each hosting shape, in the order of the dashboard."""

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
        own: dict[str, list[TenantEndpoint]] = {hosting: [] for hosting in _TENANT_GRAPHS}
        for name, tier in config.tenant_endpoint_tiers.items():
            own[tier.hosting] += [
                TenantEndpoint(tenant, tier, EndpointMetrics(routes.endpoint_name(config, name, tenant), tier.hosting))
                for tenant in sorted(tier.tenants)
            ]
        for name, pipeline in config.shared_pipeline_tiers.items():
            metrics_of = EndpointMetrics(routes.endpoint_name(config, name), pipeline.hosting)
            own[pipeline.hosting].append(TenantEndpoint(name, pipeline, metrics_of))
        self._alarms(config, cache_alarm_arns, own)
        for name, shared in config.multi_model_tiers.items():
            self._shared_tier(name, shared, EndpointMetrics(routes.endpoint_name(config, name), shared.hosting))
        self._loads_from_s3(config)
        for hosting, endpoints in own.items():
            for chunk in _chunks(endpoints, _ENDPOINTS_A_WIDGET):
                self._add("text", 24, 1, {"markdown": f"## {_TENANT_GRAPHS[hosting].heading}"})
                for graph in _TENANT_GRAPHS[hosting].graphs(chunk):
                    self._graph(graph)
        cloudwatch.CfnDashboard(
            self,
            "Dashboard",
            dashboard_name=f"{config.fleet}--{config.environment}",
            dashboard_body=json.dumps({"widgets": self._widgets}, separators=(",", ":")),
        )

    def _alarms(
        self, config: FleetConfig, cache_alarm_arns: Sequence[str], own: Mapping[str, Sequence[TenantEndpoint]]
    ) -> None:
        shared = [routes.endpoint_name(config, name) for name in config.multi_model_tiers]
        alarm_names = [f"{name}--server-errors" for name in shared]
        alarm_names += [
            each.metrics.alarm_name(word)
            for hosting, endpoints in own.items()
            for each in endpoints
            for word in _TENANT_GRAPHS[hosting].alarms
        ]
        alarms = [*cache_alarm_arns, *(arns.alarm(config, name) for name in alarm_names)]
        # CloudWatch's limit for an alarm widget.
        for chunk in _chunks(alarms, 100):
            self._add("alarm", 24, 3, {"title": "Alarms", "alarms": chunk})

    def _shared_tier(self, name: str, tier: MultiModelTier, endpoint: EndpointMetrics) -> None:
        self._add("text", 24, 1, {"markdown": f"## Tier {name}: one multi-model endpoint"})
        for graph in (
            Graph(
                "Cache hit ratio",
                [
                    endpoint.cache_hits.row(id="hits", visible=False),
                    endpoint.cache_lookups.row(id="lookups", visible=False),
                    expression("hits / lookups", "hit ratio"),
                ],
                (("alarm below", tier.alarms.min_cache_hit_ratio),),
                most=1,
            ),
            Graph(
                "Longest wait for a model (seconds)",
                [
                    endpoint.longest_loading_wait.row(id="wait", visible=False),
                    expression(f"wait / {MICROSECONDS_PER_SECOND}", "ModelLoadingWaitTime"),
                ],
                (("alarm above", tier.alarms.max_loading_wait_seconds),),
            ),
            Graph(
                "Models loaded, fetched from S3, unloaded (per hour)",
                [
                    endpoint.loads.row(label="loaded", period=3600),
                    endpoint.downloads.row(label="fetched from S3", period=3600),
                    endpoint.unloads.row(label="unloaded", period=3600),
                ],
                (("alarm above", tier.alarms.max_unloads_per_hour),),
            ),
            Graph("Models in memory", [endpoint.loaded_models.row(label="LoadedModelCount", period=60)]),
            Graph(
                "Memory and disk of the fullest instance (%)",
                [endpoint.memory.row(label="memory"), endpoint.disk.row(label="disk")],
                most=100,
            ),
            Graph(
                "Calls per minute and instance",
                [endpoint.invocations_per_instance.row(label="InvocationsPerInstance", period=60)],
                (("scaling target", tier.scaling.target_invocations_per_minute),),
            ),
            calls_and_errors([endpoint]),
            instances({name: endpoint}),
        ):
            self._graph(graph)

    def _loads_from_s3(self, config: FleetConfig) -> None:
        self._graph(
            Graph(
                "GiB of models read from S3 (per hour)",
                [
                    model_bytes_downloaded(config).row(id="bytes", visible=False, period=3600),
                    expression(f"bytes / {_GIB}", "GiB"),
                ],
            )
        )
        names = (metrics.WARM_UP_WARMED, metrics.WARM_UP_FAILED, metrics.ROUTE_ERRORS, metrics.ROUTE_FALLBACK)
        self._graph(Graph("Warm-up and routes", [fleet_metric(config, name).row(label=name) for name in names]))

    def _graph(self, graph: Graph) -> None:
        properties: dict[str, Any] = {
            "title": graph.title,
            "region": self._region,
            "view": "timeSeries",
            "period": 300,
            "metrics": graph.rows,
            "yAxis": {"left": {"min": 0} if graph.most is None else {"min": 0, "max": graph.most}},
        }
        if graph.limits:
            lines = [{"label": label, "value": value} for label, value in graph.limits]
            properties["annotations"] = {"horizontal": lines}
        self._add("metric", 6, 6, properties)

    def _add(self, kind: str, width: int, height: int, properties: dict[str, Any]) -> None:
        # Without x and y CloudWatch flows the widgets left to right and down.
        self._widgets.append({"type": kind, "width": width, "height": height, "properties": properties})


def _chunks(items: Sequence[_Item], size: int) -> Iterable[list[_Item]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))

"""The part of a fleet that may be replaced."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns
from constructs import Construct, IDependable

from constructs_lib import arns
from constructs_lib.alarms import AlarmAudience
from constructs_lib.capacity_events import CapacityEvents
from constructs_lib.endpoint_alarms import CacheAlarms
from constructs_lib.execution_role import ExecutionRole
from constructs_lib.fleet_dashboard import FleetDashboard
from constructs_lib.gates.compared_tenants import ComparedTenants
from constructs_lib.gates.moved_tenants import MovedTenants
from constructs_lib.gates.warm_gate import WarmGate
from constructs_lib.hosting.multi_model_endpoint import MultiModelEndpoint
from constructs_lib.routes.parts import RouteParts
from constructs_lib.routes.table import RouteDeployment, RouteGuard, RouteTable
from constructs_lib.serving_image import FleetImages
from constructs_lib.warm_up import WarmUp
from stacks.whale_stack import WhaleStack
from tierfleet.config import FleetConfig
from tierfleet.config.rules.fleet import least_bake_seconds


class FleetStack(cdk.Stack):
    """Roles, tiers, routes, warm-up, alarms and dashboard. The Deployment of the routes comes last."""

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(
            scope,
            construct_id,
            description=f"tierfleet: endpoints and routes of {config.fleet}-{config.environment}",
        )
        audience = AlarmAudience(topic_arn=arns.alarm_topic(config), runbook_url=config.runbook_url)
        # By its literal ARN: a reference would be an export that the Models stack could not drop (arns.py).
        topic = sns.Topic.from_topic_arn(self, "Topic", audience.topic_arn)
        images = FleetImages(self, "Image", config=config)
        shared_tiers = [tier for tier in config.tiers.values() if not tier.endpoint_per_tenant]
        execution_role = ExecutionRole(
            self,
            "ExecutionRole",
            config=config,
            image_repository_arns=[
                images.of(container).repository_arn
                for tier in shared_tiers
                for container in tier.containers(config.container)
            ],
        )
        route_table = RouteTable(self, "Routes", config=config, audience=audience)
        warm_up = WarmUp(self, "WarmUp", config=config, route_table=route_table, audience=audience)
        if route_table.hosted.parts:
            RouteParts(
                self,
                "RouteParts",
                config=config,
                parts=route_table.hosted.parts,
                function=warm_up.gate_function,
                document=route_table.document,
            )
        CapacityEvents(self, "Capacity", config=config, topic=topic)
        # Two guards, because AWS does not say in which order CloudFormation rolls updates back. One comes before every
        # endpoint and one after, so in either order one is rolled back before any nested stack. The later one waits.
        first_guard = RouteGuard(
            self, "FirstGuard", route_table=route_table, guard_function=warm_up.gate_function, wait_seconds=0
        )

        cache_alarm_arns: list[str] = []
        gates: list[IDependable] = []
        tiers = Construct(self, "Tiers")
        for name, tier in config.multi_model_tiers.items():
            shared = MultiModelEndpoint(
                tiers,
                name,
                config=config,
                tier_name=name,
                tier=tier,
                image_uri=images.of(config.container).uri,
                execution_role=execution_role.role,
                audience=audience,
            )
            # IAM permissions take a while to propagate. They are created before the endpoint, which takes minutes.
            shared.endpoint.node.add_dependency(warm_up.gate_function, first_guard)
            gate = WarmGate(
                shared,
                "Gate",
                gate_function=warm_up.gate_function,
                endpoint=shared.endpoint,
                endpoint_config_name=shared.endpoint_config_name,
                log_retention_days=config.log_retention_days,
                tier_name=name,
            )
            # The gate warms the list of the next route document. It may set the instance count, so the scaling bounds
            # must be registered before it runs.
            gate.node.add_dependency(route_table.document, shared.scaling.target)
            gates.append(gate)
            cache = CacheAlarms(
                shared,
                "Cache",
                metrics=shared.metrics,
                limits=tier.alarms,
                audience=audience,
                warm_up_running_alarm_arn=warm_up.running_alarm_arn if tier.warm_up else None,
            )
            cache.node.add_dependency(shared.endpoint)
            cache_alarm_arns.append(cache.composite_arn)
        pipelines = Construct(self, "Pipelines")
        for name, pipeline in config.shared_pipeline_tiers.items():
            stack = WhaleStack(
                pipelines,
                name,
                config=config,
                tier_name=name,
                tier=pipeline,
                tenant=None,
                images=images,
                gate_function=warm_up.gate_function,
                audience=audience,
            )
            stack.node.add_dependency(warm_up.gate_function, first_guard, route_table.document)
            gates.append(stack)
        MovedTenants(self, "Moved", gate_function=warm_up.gate_function, route_table=route_table, after=gates)

        whales = Construct(self, "Whales")
        for name, own in config.tenant_endpoint_tiers.items():
            for tenant in sorted(own.tenants):
                whale = WhaleStack(
                    whales,
                    tenant,
                    config=config,
                    tier_name=name,
                    tier=own,
                    tenant=tenant,
                    images=images,
                    gate_function=warm_up.gate_function,
                    audience=audience,
                )
                # The function's ARN alone would let the gate start before the function can be called.
                whale.node.add_dependency(warm_up.gate_function, first_guard)

        if config.compares_moves:
            ComparedTenants(
                self,
                "Compared",
                config=config,
                gate_function=warm_up.gate_function,
                route_table=route_table,
                after=[*gates, whales],
            )
        FleetDashboard(self, "Dashboard", config=config, cache_alarm_arns=cache_alarm_arns)
        everything = [child for child in self.node.children if child is not topic]
        last_guard = RouteGuard(
            self,
            "LastGuard",
            route_table=route_table,
            guard_function=warm_up.gate_function,
            wait_seconds=least_bake_seconds(config.routes.ttl_seconds, config.tiers),
        )
        last_guard.node.add_dependency(*everything)
        RouteDeployment(self, "Deployment", route_table=route_table, after=[last_guard])

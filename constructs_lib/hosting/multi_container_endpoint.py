"""A multi-container endpoint: one tenant with several models, a container for each, called by its hostname."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns, endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, AlarmSpec
from constructs_lib.endpoint_alarms import FIVE_MINUTES
from constructs_lib.endpoint_metrics import MICROSECONDS_PER_MILLISECOND, EndpointMetrics
from constructs_lib.graphs import Graph, TenantEndpoint, TenantGraphs, limits, of_instances, scaled
from constructs_lib.hosting.real_time_endpoint import LEAST_OUTSTANDING_REQUESTS, real_time_endpoint
from tierfleet.config import FleetConfig, routes
from tierfleet.config.hosting.multi_container import MultiContainerTier, TenantContainer
from tierfleet.instance_types import describe
from tierfleet.runtime.names import MODELS_PREFIX

_RUNBOOK_SECTION = "multi-container-endpoint"
# CloudWatch draws at most 500 metrics a graph, and a scaled one takes two rows.
_CONTAINERS_A_GRAPH = 100


def container_alarms(
    metrics: EndpointMetrics, tier: MultiContainerTier, containers: Sequence[TenantContainer]
) -> list[AlarmSpec]:
    """What each container is watched for: its latency and its share of the processors.

    An instance scales on the calls of all containers together, so a busy slow container shows in its CPU first.
    """
    vcpus, share = _vcpus(tier), tier.alarms.max_container_cpu_percent
    specs = []
    for container in containers:
        name = container.hostname
        latency = container.max_average_latency_milliseconds or tier.alarms.max_model_latency_p99_milliseconds
        specs += [
            AlarmSpec(
                id=f"Latency-{name}",
                name=metrics.alarm_name(f"container-latency-{name}"),
                # SageMaker publishes no percentiles of it.
                # docs.aws.amazon.com/sagemaker/latest/dg/multi-container-metrics.html
                watches=metrics.metric("ContainerLatency", "Average", container=name),
                threshold=latency * MICROSECONDS_PER_MILLISECOND,
                period_seconds=FIVE_MINUTES,
                datapoints=(2, 3),
                meaning=f"ContainerLatency of {name} is above {latency:g} ms on average.",
                section=_RUNBOOK_SECTION,
            ),
            AlarmSpec(
                id=f"Cpu-{name}",
                name=metrics.alarm_name(f"container-cpu-{name}"),
                watches=metrics.metric("CPUUtilization", "Average", container=name),
                # SageMaker counts 100 % for each vCPU: 4 of them can reach 400 %.
                threshold=share * vcpus,
                period_seconds=FIVE_MINUTES,
                datapoints=(3, 3),
                missing="missing",
                meaning=f"The container {name} uses more than {share:g} % of the {vcpus} vCPUs of its instance for 15 "
                "minutes: scaling.max_requests_per_second is too high for it.",
                section=_RUNBOOK_SECTION,
            ),
        ]
    return specs


def _graphs(endpoints: Sequence[TenantEndpoint]) -> list[Graph]:
    """Those of every endpoint with instances, then latency and CPU of each container."""
    containers = [
        (f"{each.tenant} {container.hostname}", each, container.hostname)
        for each in endpoints
        for container in each.tier.tenants[each.tenant].by_hostname
    ]
    graphs = of_instances(endpoints)
    for start in range(0, len(containers), _CONTAINERS_A_GRAPH):
        shown = containers[start : start + _CONTAINERS_A_GRAPH]
        latencies = {label: each.metrics.metric("ContainerLatency", "Average", container=c) for label, each, c in shown}
        cpus = [
            each.metrics.metric("CPUUtilization", "Average", container=hostname).row(label=label)
            for label, each, hostname in shown
        ]
        highest = [each.tier.alarms.max_container_cpu_percent * _vcpus(each.tier) for _, each, _ in shown]
        graphs += [
            Graph("ContainerLatency, average (milliseconds)", scaled(latencies, MICROSECONDS_PER_MILLISECOND)),
            Graph("CPU of each container (% of one vCPU)", cpus, limits("alarm above", highest)),
        ]
    return graphs


def _vcpus(tier: MultiContainerTier) -> int:
    return describe(tier.instance_type).vcpus


GRAPHS = TenantGraphs("Multi-container tenants: an endpoint with several containers each", _graphs)


class MultiContainerEndpoint(Construct):
    """An endpoint with 2 to 15 containers for one tenant, with scaling, alarms and a guardrail for updates.

    `[[tiers.trio.tenants.m09.containers]]` with `hostname = "velocity"`, a second such table and `primary` become one
    of these. Calls name a container (TargetContainerHostname).

    Defines AWS::SageMaker::Model (InferenceExecutionConfig.Mode Direct, with a pinned artefact for each container),
    EndpointConfig and Endpoint, the scaling of the endpoint, its alarms and two for each container.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/multi-container-direct.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: MultiContainerTier,
        tenant: str,
        image_uris: Sequence[str],
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        """image_uris: of `tier.containers(config.container, tenant)`, in that order."""
        super().__init__(scope, construct_id)
        self._config = config
        self.endpoint_name = routes.endpoint_name(config, tier_name, tenant)
        containers = tier.containers(config.container, tenant)
        model = endpoint_parts.model(
            self,
            config=config,
            execution_role=execution_role,
            containers=[
                sagemaker.CfnModel.ContainerDefinitionProperty(
                    container_hostname=container.hostname,
                    image=image_uri,
                    mode="SingleModel",
                    model_data_url=f"s3://{arns.models_bucket_name(config)}/{MODELS_PREFIX}{container.model}",
                    environment=dict(container.environment) or None,
                )
                for container, image_uri in zip(containers, image_uris, strict=True)
            ],
            # The default is Serial, which would make a pipeline of them.
            mode="Direct",
        )
        parts = real_time_endpoint(
            self,
            endpoint_name=self.endpoint_name,
            model=model,
            config=config,
            tier=tier,
            routing_strategy=LEAST_OUTSTANDING_REQUESTS,
            audience=audience,
            container_alarms=lambda metrics: container_alarms(metrics, tier, containers),
        )
        self.endpoint, self.metrics = parts.endpoint, parts.metrics
        self.endpoint_config_name = parts.endpoint_config_name

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets the grantee call every container of this tenant's endpoint, and of each earlier or later one of this
        tenant on this tier.

        The endpoint is one tenant's, so no condition names a container. Whether IAM knows a condition key for that is
        not proven (docs/aws-assumptions.md), and an unknown key would deny every call.
        """
        name = invoke_grants.any_generation(self.endpoint_name)
        return invoke_grants.grant_dedicated(grantee, self._config, name)

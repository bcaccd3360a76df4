"""A pipeline: one endpoint whose containers are called in order."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns, endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, AlarmSpec
from constructs_lib.endpoint_alarms import FIVE_MINUTES
from constructs_lib.endpoint_metrics import MICROSECONDS_PER_MILLISECOND, EndpointMetrics
from constructs_lib.graphs import Graph, TenantEndpoint, TenantGraphs, of_instances, scaled
from constructs_lib.hosting.real_time_endpoint import LEAST_OUTSTANDING_REQUESTS, real_time_endpoint
from tierfleet.config import FleetConfig, routes
from tierfleet.config.hosting.pipeline import PipelineTier, Stage
from tierfleet.runtime.names import MODELS_PREFIX

_STAGES_A_WIDGET = 250


def stage_alarms(metrics: EndpointMetrics, tier: PipelineTier) -> list[AlarmSpec]:
    """ContainerLatency of each stage that has a limit: it says which stage makes the pipeline slow."""
    return [
        AlarmSpec(
            id=f"{stage.name}Latency",
            # Not `<stage>-latency`: a stage may be called `model`.
            name=metrics.alarm_name(f"stage-{stage.name}-latency"),
            # SageMaker publishes no percentiles of it.
            watches=metrics.metric("ContainerLatency", "Average", container=stage.name),
            threshold=stage.max_average_latency_milliseconds * MICROSECONDS_PER_MILLISECOND,
            period_seconds=FIVE_MINUTES,
            datapoints=(2, 3),
            meaning=f"Stage {stage.name} takes more than {stage.max_average_latency_milliseconds:g} ms on average.",
            section="pipeline-stage",
        )
        for stage in tier.stages
        if stage.max_average_latency_milliseconds is not None
    ]


def _graphs(endpoints: Sequence[TenantEndpoint]) -> list[Graph]:
    """A dashboard takes 2,500 metrics, so only the stages with an alarm are shown: a stack takes fewer of these."""
    latencies = {
        f"{each.tenant} {stage.name}": each.metrics.metric("ContainerLatency", "Average", container=stage.name)
        for each in endpoints
        for stage in each.tier.stages
        if stage.max_average_latency_milliseconds is not None
    }
    labels = list(latencies)
    # CloudWatch draws at most 500 metrics a widget.
    chunks = [labels[start : start + _STAGES_A_WIDGET] for start in range(0, len(labels), _STAGES_A_WIDGET)]
    return [
        *of_instances(endpoints),
        *(
            Graph(
                "Average time of each stage (milliseconds)",
                scaled({label: latencies[label] for label in chunk}, MICROSECONDS_PER_MILLISECOND),
            )
            for chunk in chunks
        ),
    ]


GRAPHS = TenantGraphs("Pipelines: the stages of an endpoint in order", _graphs)


class PipelineEndpoint(Construct):
    """An endpoint whose stages a request passes in order, with scaling, alarms and a guardrail for updates.

    `[tiers.decided.tenants]` with the line `m11 = { model = "m11/2027-09-14.tar.gz" }`, on a tier with
    `hosting = "pipeline"`, becomes one of these. A tier with a `MultiModel` stage becomes one of them, for all tenants.

    Defines AWS::SageMaker::Model (its Containers in order, InferenceExecutionConfig Serial), EndpointConfig and
    Endpoint, the scaling of the endpoint, its alarms and those of single stages.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: PipelineTier,
        tenant: str | None,
        image_uris: Sequence[str],
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        """tenant: None for the endpoint that all tenants of the tier share. image_uris: of the stages, in order."""
        super().__init__(scope, construct_id)
        self._config = config
        self.endpoint_name = routes.endpoint_name(config, tier_name, tenant)
        model = endpoint_parts.model(
            self,
            config=config,
            execution_role=execution_role,
            containers=[
                _container(config, stage, tier.artefact(stage, tenant), image_uri)
                for stage, image_uri in zip(tier.stages, image_uris, strict=True)
            ],
            mode="Serial",
        )
        # CloudFormation compares Containers without their order (insertionOrder is false in its schema). Another
        # logical id makes it create a new Model all the same.
        model.override_logical_id(f"{cdk.Stack.of(self).get_logical_id(model)}{tier.order_id}")
        # None for an endpoint of all tenants: AWS does not document what LEAST_OUTSTANDING_REQUESTS does to model
        # affinity.
        strategy = None if tenant is None else LEAST_OUTSTANDING_REQUESTS
        parts = real_time_endpoint(
            self,
            endpoint_name=self.endpoint_name,
            model=model,
            config=config,
            tier=tier,
            routing_strategy=strategy,
            audience=audience,
            container_alarms=lambda metrics: stage_alarms(metrics, tier),
        )
        self.endpoint, self.metrics = parts.endpoint, parts.metrics
        self.endpoint_config_name = parts.endpoint_config_name

    def grant_invoke(self, grantee: iam.IGrantable, *, tenants: Sequence[str] | None = None) -> iam.Grant:
        """Lets the grantee call this endpoint and every earlier or later one of it.

        tenants: where they share the endpoint, whose models may be called.
        """
        name = invoke_grants.any_generation(self.endpoint_name)
        if tenants is not None:
            return invoke_grants.grant_shared(grantee, self._config, name, tenants)
        return invoke_grants.grant_dedicated(grantee, self._config, name)


def _container(
    config: FleetConfig, stage: Stage, artefact: str | None, image_uri: str
) -> sagemaker.CfnModel.ContainerDefinitionProperty:
    prefix = f"s3://{arns.models_bucket_name(config)}/{MODELS_PREFIX}"
    multi_model = stage.mode == "MultiModel"
    return sagemaker.CfnModel.ContainerDefinitionProperty(
        container_hostname=stage.name,
        image=image_uri,
        mode=stage.mode,
        # Of a MultiModel stage the prefix: SageMaker joins it and TargetModel as strings.
        model_data_url=prefix if multi_model else f"{prefix}{artefact}" if artefact else None,
        environment=dict(stage.environment) or None,
    )

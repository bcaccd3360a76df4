"""A pipeline: one endpoint whose containers are called in order."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns, endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, AlarmSpec, add_alarms
from constructs_lib.endpoint_alarms import (
    FIVE_MINUTES,
    EndpointAlarms,
    dedicated_rollback_alarms,
    instance_alarms,
)
from constructs_lib.endpoint_metrics import MICROSECONDS_PER_MILLISECOND, EndpointMetrics
from constructs_lib.graphs import Graph, TenantEndpoint, TenantGraphs, of_instances, scaled
from constructs_lib.variant_scaling import VariantScaling
from tierfleet.config import FleetConfig, routes
from tierfleet.config.generation import order_id
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
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=execution_role.role_arn,
            containers=[
                _container(config, stage, tier.artefact(stage, tenant), image_uri)
                for stage, image_uri in zip(tier.stages, image_uris, strict=True)
            ],
            inference_execution_config=sagemaker.CfnModel.InferenceExecutionConfigProperty(mode="Serial"),
            enable_network_isolation=config.network_isolation,
            vpc_config=endpoint_parts.vpc_config(config),
        )
        # CloudFormation compares Containers without their order (insertionOrder is false in its schema). Another
        # logical id makes it create a new Model all the same.
        model.override_logical_id(f"{cdk.Stack.of(self).get_logical_id(model)}{order_id(tier)}")
        # None for an endpoint of all tenants: AWS does not document what LEAST_OUTSTANDING_REQUESTS does to model
        # affinity.
        routing = sagemaker.CfnEndpointConfig.RoutingConfigProperty(routing_strategy="LEAST_OUTSTANDING_REQUESTS")
        endpoint_config = endpoint_parts.endpoint_config(
            self, model=model, config=config, tier=tier, routing=routing if tenant is not None else None
        )
        self.metrics = EndpointMetrics(self.endpoint_name, tier.hosting)
        self.endpoint = endpoint_parts.endpoint(
            self,
            endpoint_name=self.endpoint_name,
            endpoint_config=endpoint_config,
            tier=tier,
            rollback_alarms=add_alarms(self, dedicated_rollback_alarms(self.metrics, tier.alarms), audience),
        )
        self.endpoint_config_name = endpoint_config.attr_endpoint_config_name
        specs = [*instance_alarms(self.metrics, tier), *stage_alarms(self.metrics, tier)]
        alarms = EndpointAlarms(self, "Alarms", specs=specs, audience=audience)
        scaling = VariantScaling(
            self,
            "Scaling",
            endpoint=self.endpoint,
            metrics=self.metrics,
            tier=tier,
            scale_on_cache=None,
            audience=audience,
        )
        # Created after the endpoint and deleted before it. A reference alone would not wait until it is in service.
        for later in (alarms, scaling):
            later.node.add_dependency(self.endpoint)

    def grant_invoke(self, grantee: iam.IGrantable, *, tenants: Sequence[str] | None = None) -> iam.Grant:
        """Lets the grantee call this endpoint and every earlier or later one of it.

        tenants: where they share the endpoint, whose models may be called.
        """
        name = invoke_grants.whatever_it_is_made_of(self.endpoint_name)
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

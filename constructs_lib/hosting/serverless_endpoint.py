"""A serverless endpoint: one tenant, without instances."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, AlarmSpec
from constructs_lib.endpoint_alarms import (
    FIVE_MINUTES,
    EndpointAlarms,
    client_errors,
    memory,
    model_latency,
    server_errors,
)
from constructs_lib.endpoint_metrics import MICROSECONDS_PER_SECOND, EndpointMetrics
from constructs_lib.graphs import Graph, TenantEndpoint, TenantGraphs, calls_and_errors, limits, scaled
from constructs_lib.graphs import model_latency as model_latency_graph
from tierfleet.config import FleetConfig, routes
from tierfleet.config.hosting.serverless import ServerlessAlarmLimits, ServerlessTier
from tierfleet.runtime.names import VARIANT_NAME

_RUNBOOK_SECTION = "serverless-endpoint"


def serverless_alarms(metrics: EndpointMetrics, limits: ServerlessAlarmLimits) -> list[AlarmSpec]:
    """What a serverless endpoint is watched for: only what SageMaker publishes for one.

    It publishes no InvocationsPerInstance, CPU or disk, and an update of it has no guardrail that an alarm could stop.
    """
    setup, overhead = limits.max_model_setup_seconds, limits.max_overhead_latency_seconds
    concurrency = limits.max_concurrency_utilization
    return [
        server_errors(metrics, limits),
        client_errors(metrics, limits),
        model_latency(metrics, limits.max_model_latency_p99_milliseconds),
        memory(metrics, limits.max_memory_percent),
        AlarmSpec(
            id="Concurrency",
            name=metrics.alarm_name("concurrency"),
            watches=metrics.metric("ServerlessConcurrentExecutionsUtilization", "Maximum"),
            comparison="GreaterThanOrEqualToThreshold",
            # Calls above max_concurrency are throttled at once: there is no queue.
            threshold=concurrency,
            period_seconds=60,
            datapoints=(3, 5),
            meaning=f"Calls under way reach {100 * concurrency:g} % of max_concurrency in three of five minutes; calls "
            "above it are throttled.",
            section=_RUNBOOK_SECTION,
        ),
        AlarmSpec(
            id="ModelSetup",
            name=metrics.alarm_name("model-setup"),
            watches=metrics.metric("ModelSetupTime", "p99"),
            threshold=setup * MICROSECONDS_PER_SECOND,
            period_seconds=FIVE_MINUTES,
            datapoints=(2, 3),
            meaning=f"ModelSetupTime p99 is above {setup:g} s: containers start slowly.",
            section=_RUNBOOK_SECTION,
        ),
        AlarmSpec(
            id="OverheadLatency",
            name=metrics.alarm_name("overhead-latency"),
            # SageMaker lists no percentiles of it, and an average over warm calls would hide the cold start.
            watches=metrics.metric("OverheadLatency", "Maximum"),
            threshold=overhead * MICROSECONDS_PER_SECOND,
            period_seconds=FIVE_MINUTES,
            datapoints=(2, 3),
            meaning=f"Some caller waits more than {overhead:g} s beyond the model's own time, cold start included.",
            section=_RUNBOOK_SECTION,
        ),
    ]


def _graphs(endpoints: Sequence[TenantEndpoint]) -> list[Graph]:
    alarm_limits = [each.tier.alarms for each in endpoints]
    setups = {each.tenant: each.metrics.metric("ModelSetupTime", "p99") for each in endpoints}
    utilisation = "ServerlessConcurrentExecutionsUtilization"
    return [
        model_latency_graph(endpoints),
        Graph(
            "ModelSetupTime p99: starts of containers (seconds)",
            scaled(setups, MICROSECONDS_PER_SECOND),
            limits("alarm above", [each.max_model_setup_seconds for each in alarm_limits]),
        ),
        Graph(
            "Calls under way as a share of max_concurrency",
            [each.metrics.metric(utilisation, "Maximum").row(label=each.tenant, period=60) for each in endpoints],
            limits("alarm from", [each.max_concurrency_utilization for each in alarm_limits]),
            most=1,
        ),
        calls_and_errors([each.metrics for each in endpoints]),
    ]


GRAPHS = TenantGraphs("Serverless tenants: an endpoint without instances each", _graphs)


class ServerlessEndpoint(Construct):
    """A serverless endpoint for one tenant, with alarms.

    `[tiers.rare.tenants]` with the line `m07 = { model = "m07/2027-09-14.tar.gz" }`, on a tier with
    `hosting = "serverless"`, becomes one of these.

    Defines AWS::SageMaker::Model (Mode SingleModel, with the pinned artefact), EndpointConfig with a ServerlessConfig,
    Endpoint, and its alarms. Nothing scales by a policy: AWS starts containers for calls up to `max_concurrency`, and
    CloudFormation does not support scaling of provisioned concurrency.
    Source: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: ServerlessTier,
        tenant: str,
        image_uris: Sequence[str],
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.endpoint_name = routes.endpoint_name(config, tier_name, tenant)
        # Neither a VPC nor network isolation: SageMaker refuses both here, and so does the check of the fleet file.
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=execution_role.role_arn,
            primary_container=endpoint_parts.single_model_container(config, tier, tenant, *image_uris),
        )
        endpoint_config = sagemaker.CfnEndpointConfig(
            self,
            "EndpointConfig",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=VARIANT_NAME,
                    model_name=model.attr_model_name,
                    initial_variant_weight=1,
                    serverless_config=sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
                        memory_size_in_mb=tier.memory_size_in_mb,
                        max_concurrency=tier.max_concurrency,
                        provisioned_concurrency=tier.provisioned_concurrency,
                    ),
                )
            ],
            # Here it encrypts the copy of the image that SageMaker keeps.
            kms_key_id=config.encryption.volume_kms_key_arn,
        )
        # No RetainAllVariantProperties: an update does not keep a concurrency. No DeploymentConfig: no guardrails.
        self.endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=self.endpoint_name,
            endpoint_config_name=endpoint_config.attr_endpoint_config_name,
        )
        self.endpoint_config_name = endpoint_config.attr_endpoint_config_name
        self.metrics = EndpointMetrics(self.endpoint_name, tier.hosting)
        specs = serverless_alarms(self.metrics, tier.alarms)
        alarms = EndpointAlarms(self, "Alarms", specs=specs, audience=audience)
        # Created after the endpoint and deleted before it. A reference alone would not wait until it is in service.
        alarms.node.add_dependency(self.endpoint)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets the grantee call this tenant's endpoint and every earlier or later one of this tenant on this tier."""
        name = invoke_grants.any_generation(self.endpoint_name)
        return invoke_grants.grant_dedicated(grantee, self._config, name)

"""A dedicated endpoint: one tenant, with its model always in memory."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, add_alarms
from constructs_lib.endpoint_alarms import EndpointAlarms, dedicated_rollback_alarms, instance_alarms
from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.graphs import TenantGraphs, of_instances
from constructs_lib.variant_scaling import VariantScaling
from tierfleet.config import DedicatedTier, FleetConfig, routes

GRAPHS = TenantGraphs("Dedicated tenants: an endpoint each", of_instances)


class DedicatedEndpoint(Construct):
    """A single-model endpoint for one tenant, with scaling, alarms and a guardrail for updates.

    `[tiers.whale.tenants]` with the line `m01 = { model = "m01/2027-09-14.tar.gz" }` becomes one of these.

    Defines AWS::SageMaker::Model (Mode SingleModel, with the pinned artefact), EndpointConfig and Endpoint, the scaling
    of the endpoint and its alarms.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: DedicatedTier,
        tenant: str,
        image_uris: Sequence[str],
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.endpoint_name = routes.endpoint_name(config, tier_name, tenant)
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=execution_role.role_arn,
            primary_container=endpoint_parts.single_model_container(config, tier, tenant, *image_uris),
            enable_network_isolation=config.network_isolation,
            vpc_config=endpoint_parts.vpc_config(config),
        )
        endpoint_config = endpoint_parts.endpoint_config(
            self,
            model=model,
            config=config,
            tier=tier,
            routing=sagemaker.CfnEndpointConfig.RoutingConfigProperty(routing_strategy="LEAST_OUTSTANDING_REQUESTS"),
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
        alarms = EndpointAlarms(self, "Alarms", specs=instance_alarms(self.metrics, tier), audience=audience)
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

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets the grantee call this tenant's endpoint and every earlier or later one of this tenant on this tier."""
        name = invoke_grants.whatever_it_is_made_of(self.endpoint_name)
        return invoke_grants.grant_dedicated(grantee, self._config, name)

"""A dedicated endpoint: one tenant, with its model always in memory."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib import endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience
from constructs_lib.graphs import TenantGraphs, of_instances
from constructs_lib.hosting.real_time_endpoint import LEAST_OUTSTANDING_REQUESTS, real_time_endpoint
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
        model = endpoint_parts.model(
            self,
            config=config,
            execution_role=execution_role,
            containers=[endpoint_parts.single_model_container(config, tier, tenant, *image_uris)],
        )
        parts = real_time_endpoint(
            self,
            endpoint_name=self.endpoint_name,
            model=model,
            config=config,
            tier=tier,
            routing_strategy=LEAST_OUTSTANDING_REQUESTS,
            audience=audience,
        )
        self.endpoint, self.metrics = parts.endpoint, parts.metrics
        self.endpoint_config_name = parts.endpoint_config_name

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets the grantee call this tenant's endpoint and every earlier or later one of this tenant on this tier."""
        name = invoke_grants.any_generation(self.endpoint_name)
        return invoke_grants.grant_dedicated(grantee, self._config, name)

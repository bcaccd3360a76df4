"""One tenant's own endpoint as a nested stack: a change of it is one diff, and other tenants never move its ids."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from constructs_lib.alarms import AlarmAudience
from constructs_lib.dedicated_endpoint import DedicatedEndpoint
from constructs_lib.execution_role import ExecutionRole
from constructs_lib.gates.warm_gate import WarmGate
from tierfleet.config import DedicatedTier, FleetConfig


class WhaleStack(cdk.NestedStack):
    """A dedicated endpoint with its scaling and alarms, and the gate that checks what it runs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: DedicatedTier,
        image_uri: str,
        image_repository_arn: str,
        gate_function: lambda_.IFunction,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id, description=f"tierfleet: dedicated endpoint of {construct_id}")
        cdk.Tags.of(self).add("tier", tier_name)
        cdk.Tags.of(self).add("tenant", construct_id)
        execution_role = ExecutionRole(
            self, "ExecutionRole", config=config, image_repository_arn=image_repository_arn, tenant=construct_id
        )
        whale = DedicatedEndpoint(
            self,
            "Endpoint",
            config=config,
            tier_name=tier_name,
            tier=tier,
            tenant=construct_id,
            image_uri=image_uri,
            execution_role=execution_role.role,
            audience=audience,
        )
        WarmGate(
            self,
            "Gate",
            gate_function=gate_function,
            endpoint=whale.endpoint,
            endpoint_config_name=whale.endpoint_config_name,
            log_retention_days=config.log_retention_days,
            tier_name=None,
        )

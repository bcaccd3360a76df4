"""One tenant's own endpoint as a nested stack: a change of it is one diff, and other tenants never move its ids."""

from collections.abc import Callable
from typing import Protocol

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib.alarms import AlarmAudience
from constructs_lib.execution_role import ExecutionRole
from constructs_lib.gates.warm_gate import WarmGate
from constructs_lib.hosting.async_endpoint import AsyncEndpoint
from constructs_lib.hosting.async_rights import queue_statements
from constructs_lib.hosting.dedicated_endpoint import DedicatedEndpoint
from constructs_lib.hosting.serverless_endpoint import ServerlessEndpoint
from tierfleet.config import FleetConfig, HostedTier


class TenantEndpoint(Protocol):
    """What the stack needs of the construct of a shape."""

    endpoint: sagemaker.CfnEndpoint
    endpoint_config_name: str


_ENDPOINTS: dict[str, Callable[..., TenantEndpoint]] = {
    "dedicated": DedicatedEndpoint,
    "serverless": ServerlessEndpoint,
    "async": AsyncEndpoint,
}
"""The construct of each hosting shape with an endpoint for each tenant."""


class WhaleStack(cdk.NestedStack):
    """One tenant's own endpoint with its alarms, and the gate that checks what it runs.

    Its ids are the same for every hosting shape, so that a tenant that moves from one to another is a replacement: the
    new endpoint is created first, and the old one is deleted after the routes have changed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: HostedTier,
        image_uri: str,
        image_repository_arn: str,
        gate_function: lambda_.IFunction,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id, description=f"tierfleet: {tier.hosting} endpoint of {construct_id}")
        cdk.Tags.of(self).add("tier", tier_name)
        cdk.Tags.of(self).add("tenant", construct_id)
        execution_role = ExecutionRole(
            self,
            "ExecutionRole",
            config=config,
            image_repository_arn=image_repository_arn,
            tenant=construct_id,
            further_statements=() if tier.shape.request_response else queue_statements(config, construct_id),
        )
        whale = _ENDPOINTS[tier.hosting](
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

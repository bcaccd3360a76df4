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
from constructs_lib.hosting.multi_container_endpoint import MultiContainerEndpoint
from constructs_lib.hosting.pipeline_endpoint import PipelineEndpoint
from constructs_lib.hosting.serverless_endpoint import ServerlessEndpoint
from constructs_lib.serving_image import FleetImages
from tierfleet.config import FleetConfig, HostedTier


class TenantEndpoint(Protocol):
    """What the stack needs of the construct of a shape."""

    endpoint: sagemaker.CfnEndpoint
    endpoint_config_name: str


_ENDPOINTS: dict[str, Callable[..., TenantEndpoint]] = {
    "dedicated": DedicatedEndpoint,
    "multi-container": MultiContainerEndpoint,
    "serverless": ServerlessEndpoint,
    "pipeline": PipelineEndpoint,
    "async": AsyncEndpoint,
}
"""The construct of each hosting shape with an endpoint for each tenant."""


class WhaleStack(cdk.NestedStack):
    """One tenant's own endpoint with its alarms, and the gate that checks what it runs; or the endpoint that the
    tenants of a pipeline share.

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
        tenant: str | None,
        images: FleetImages,
        gate_function: lambda_.IFunction,
        audience: AlarmAudience,
    ) -> None:
        """tenant: None for an endpoint that all tenants of the tier share."""
        super().__init__(scope, construct_id, description=f"tierfleet: {tier.hosting} endpoint of {construct_id}")
        cdk.Tags.of(self).add("tier", tier_name)
        if tenant is not None:
            cdk.Tags.of(self).add("tenant", tenant)
        container_images = [images.of(container) for container in tier.containers(config.container, tenant)]
        execution_role = ExecutionRole(
            self,
            "ExecutionRole",
            config=config,
            image_repository_arns=[image.repository_arn for image in container_images],
            tenant=tenant,
            further_models=tier.shared_models,
            further_statements=queue_statements(config, tenant) if tenant and not tier.shape.request_response else (),
        )
        whale = _ENDPOINTS[tier.hosting](
            self,
            "Endpoint",
            config=config,
            tier_name=tier_name,
            tier=tier,
            tenant=tenant,
            image_uris=[image.uri for image in container_images],
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
            # The gate makes an endpoint of all tenants as large as the one that it replaces.
            tier_name=tier_name if tenant is None else None,
        )

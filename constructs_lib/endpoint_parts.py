"""What endpoints have in common: typed parts of their L1 resources."""

from collections.abc import Sequence
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns
from tierfleet.config import FleetConfig, Guardrail, HostedTier, InstanceTier
from tierfleet.config.generation import guardrail_id
from tierfleet.runtime.names import MODELS_PREFIX, VARIANT_NAME


def model(
    scope: Construct,
    *,
    config: FleetConfig,
    execution_role: iam.IRole,
    containers: Sequence[sagemaker.CfnModel.ContainerDefinitionProperty],
    mode: Literal["Direct", "Serial"] | None = None,
) -> sagemaker.CfnModel:
    """The Model of an endpoint with instances: in the fleet's VPC if it has one, and isolated if the fleet says so.

    mode: how several containers are called; None for a single one.
    """
    parts = sagemaker.CfnModel
    network = config.network
    return parts(
        scope,
        "Model",
        execution_role_arn=execution_role.role_arn,
        primary_container=None if mode else containers[0],
        containers=list(containers) if mode else None,
        inference_execution_config=parts.InferenceExecutionConfigProperty(mode=mode) if mode else None,
        enable_network_isolation=config.network_isolation,
        vpc_config=(
            parts.VpcConfigProperty(subnets=list(network.subnets), security_group_ids=list(network.security_group_ids))
            if network
            else None
        ),
    )


def single_model_container(
    config: FleetConfig, tier: HostedTier, tenant: str, image_uri: str
) -> sagemaker.CfnModel.ContainerDefinitionProperty:
    """The container of a tenant's own endpoint, with its pinned artefact."""
    return sagemaker.CfnModel.ContainerDefinitionProperty(
        image=image_uri,
        mode="SingleModel",
        model_data_url=f"s3://{arns.models_bucket_name(config)}/{MODELS_PREFIX}{tier.pinned_models(tenant)['model']}",
        environment=dict(config.container.environment) or None,
    )


def endpoint_config(
    scope: Construct,
    *,
    model: sagemaker.CfnModel,
    config: FleetConfig,
    tier: InstanceTier,
    routing: sagemaker.CfnEndpointConfig.RoutingConfigProperty | None = None,
    queue: sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty | None = None,
) -> sagemaker.CfnEndpointConfig:
    """The EndpointConfig of one variant.

    It has no physical name. Every property is create-only, so each change creates a new EndpointConfig before the old
    one is deleted, and a fixed name would forbid that.
    """
    resource = sagemaker.CfnEndpointConfig(
        scope,
        "EndpointConfig",
        production_variants=[
            sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                variant_name=VARIANT_NAME,
                model_name=model.attr_model_name,
                instance_type=tier.instance_type,
                initial_instance_count=tier.instances.initial,
                # One variant takes all traffic. Two versions side by side are two endpoints and a change of the routes.
                initial_variant_weight=1,
                volume_size_in_gb=tier.volume_size_in_gb,
                model_data_download_timeout_in_seconds=tier.model_data_download_timeout_in_seconds,
                container_startup_health_check_timeout_in_seconds=(
                    tier.container_startup_health_check_timeout_in_seconds
                ),
                routing_config=routing,
            )
        ],
        async_inference_config=queue,
        kms_key_id=config.encryption.volume_kms_key_arn,
        # Without it SageMaker turns detailed (paid) metrics on for new configurations.
        metrics_config=sagemaker.CfnEndpointConfig.MetricsConfigProperty(
            enable_detailed_observability=config.detailed_observability, enable_enhanced_metrics=False
        ),
    )
    if tier.endpoint_per_tenant:
        # "To update an endpoint, you must create a new EndpointConfig", also when only the guardrail changes.
        # docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
        resource.override_logical_id(f"{cdk.Stack.of(scope).get_logical_id(resource)}{guardrail_id(tier)}")
    return resource


def endpoint(
    scope: Construct,
    *,
    endpoint_name: str,
    endpoint_config: sagemaker.CfnEndpointConfig,
    tier: InstanceTier,
    rollback_alarms: Sequence[cloudwatch.CfnAlarm],
) -> sagemaker.CfnEndpoint:
    """The Endpoint, created after its rollback alarms.

    The guardrail names the alarms and the alarms name the endpoint. The alarms use its literal name, because a
    reference would make that a circle.
    """
    resource = sagemaker.CfnEndpoint(
        scope,
        "Endpoint",
        endpoint_name=endpoint_name,
        endpoint_config_name=endpoint_config.attr_endpoint_config_name,
        # Without it an update would set an endpoint that has scaled to 8 instances back to its initial count.
        retain_all_variant_properties=True,
        deployment_config=(
            deployment_config(tier.guardrail, tier.guardrail.shift(tier.fewest_instances), rollback_alarms)
            if tier.guardrail
            else None
        ),
    )
    for alarm in rollback_alarms:
        resource.add_resource_dependency(alarm)
    return resource


def deployment_config(
    guardrail: Guardrail, shift: str, rollback_alarms: Sequence[cloudwatch.CfnAlarm]
) -> sagemaker.CfnEndpoint.DeploymentConfigProperty:
    """Blue/green deployment with the alarms that roll an update back."""
    capacity = sagemaker.CfnEndpoint.CapacitySizeProperty
    return sagemaker.CfnEndpoint.DeploymentConfigProperty(
        blue_green_update_policy=sagemaker.CfnEndpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=sagemaker.CfnEndpoint.TrafficRoutingConfigProperty(
                type=shift,
                wait_interval_in_seconds=guardrail.wait_interval_in_seconds,
                canary_size=(
                    capacity(type="INSTANCE_COUNT", value=guardrail.canary_instances) if shift == "CANARY" else None
                ),
                linear_step_size=(
                    capacity(type="CAPACITY_PERCENT", value=guardrail.linear_step_percent)
                    if shift == "LINEAR"
                    else None
                ),
            ),
            termination_wait_in_seconds=guardrail.termination_wait_in_seconds,
            maximum_execution_timeout_in_seconds=guardrail.maximum_execution_timeout_in_seconds,
        ),
        auto_rollback_configuration=sagemaker.CfnEndpoint.AutoRollbackConfigProperty(
            alarms=[sagemaker.CfnEndpoint.AlarmProperty(alarm_name=str(alarm.alarm_name)) for alarm in rollback_alarms]
        ),
    )

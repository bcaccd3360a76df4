"""A multi-model endpoint: the memory of its instances is a cache of many tenants' models."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from constructs_lib import arns, endpoint_parts, invoke_grants
from constructs_lib.alarms import AlarmAudience, add_alarm
from constructs_lib.endpoint_alarms import EndpointAlarms, instance_alarms, server_errors
from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.variant_scaling import VariantScaling
from tierfleet.config import FleetConfig, MultiModelTier, routes
from tierfleet.runtime.names import MODELS_PREFIX


class MultiModelEndpoint(Construct):
    """One multi-model endpoint for all tenants of a tier, with scaling and alarms.

    `[tiers.tail]` with `hosting = "multi-model"` becomes one of these.

    Defines AWS::SageMaker::Model (Mode MultiModel), EndpointConfig and Endpoint, the scaling of the endpoint and its
    alarms. The tenants' models are not resources. They are objects below one S3 prefix, loaded when they are called.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: FleetConfig,
        tier_name: str,
        tier: MultiModelTier,
        image_uri: str,
        execution_role: iam.IRole,
        audience: AlarmAudience,
    ) -> None:
        super().__init__(scope, construct_id)
        cdk.Tags.of(self).add("tier", tier_name)
        self._config = config
        self.endpoint_name = routes.endpoint_name(config, tier_name)
        container = sagemaker.CfnModel.ContainerDefinitionProperty(
            image=image_uri,
            mode="MultiModel",
            # The slash matters: SageMaker joins prefix and TargetModel as strings.
            model_data_url=f"s3://{arns.models_bucket_name(config)}/{MODELS_PREFIX}",
            environment=dict(config.container.environment) or None,
            multi_model_config=sagemaker.CfnModel.MultiModelConfigProperty(model_cache_setting=tier.model_cache),
        )
        model = endpoint_parts.model(self, config=config, execution_role=execution_role, containers=[container])
        # CreateModel fails while the role does not exist with its policy.
        model.node.add_dependency(execution_role)
        # No routing strategy: AWS does not document what LEAST_OUTSTANDING_REQUESTS does to model affinity.
        endpoint_config = endpoint_parts.endpoint_config(self, model=model, config=config, tier=tier)
        self.metrics = EndpointMetrics(self.endpoint_name, tier.hosting)
        alarm = add_alarm(self, server_errors(self.metrics, tier.alarms), audience)
        self.endpoint = endpoint_parts.endpoint(
            self,
            endpoint_name=self.endpoint_name,
            endpoint_config=endpoint_config,
            tier=tier,
            rollback_alarms=[alarm],
        )
        self.endpoint_config_name = endpoint_config.attr_endpoint_config_name
        alarms = EndpointAlarms(self, "Alarms", specs=instance_alarms(self.metrics, tier), audience=audience)
        self.scaling = VariantScaling(
            self,
            "Scaling",
            endpoint=self.endpoint,
            metrics=self.metrics,
            tier=tier,
            scale_on_cache=tier.scale_on_cache,
            audience=audience,
        )
        # Created after the endpoint and deleted before it. A reference alone would not wait until it is in service.
        for later in (alarms, self.scaling):
            later.node.add_dependency(self.endpoint)

    def grant_invoke(self, grantee: iam.IGrantable, *, tenants: Sequence[str] | None = None) -> iam.Grant:
        """Lets the grantee call this endpoint, and every earlier or later one of this tier, for the models of
        `tenants`. None means every model."""
        name = invoke_grants.any_generation(self.endpoint_name)
        return invoke_grants.grant_shared(grantee, self._config, name, tenants)

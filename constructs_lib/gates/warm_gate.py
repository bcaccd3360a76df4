"""The gate between a new endpoint and the change of the routes."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct


class WarmGate(Construct):
    """Holds a deployment until an endpoint runs its new configuration and, for a multi-model tier, its models are warm.

    `WarmGate(self, "Gate", gate_function=function, endpoint=endpoint, endpoint_config_name=name,
    log_retention_days=30, tier_name="tail")`

    It fails if SageMaker has rolled the update back by itself. CloudFormation would count that as success and delete
    the configuration that is in use.

    Defines a custom resource of type Custom::WarmGate.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        gate_function: lambda_.IFunction,
        endpoint: sagemaker.CfnEndpoint,
        endpoint_config_name: str,
        log_retention_days: int,
        tier_name: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        properties = {
            "EndpointName": endpoint.attr_endpoint_name,
            "EndpointConfigName": endpoint_config_name,
            # SageMaker creates the log group and keeps it after the endpoint. As a resource of the stack it would make
            # the next endpoint of that name fail, or its logs would be deleted with the endpoint.
            "LogRetentionDays": str(log_retention_days),
        }
        self.resource = cdk.CustomResource(
            self,
            "Gate",
            service_token=gate_function.function_arn,
            resource_type="Custom::WarmGate",
            # CloudFormation's maximum. The handler answers sooner, or starts another run if one is not enough.
            service_timeout=cdk.Duration.hours(1),
            properties=properties if tier_name is None else {**properties, "Tier": tier_name},
        )
        # A reference alone lets CloudFormation start the gate while the endpoint is still being created
        # (CONFIGURATION_COMPLETE); DependsOn waits for its end. The same for the function and its permissions.
        self.node.add_dependency(endpoint, gate_function)

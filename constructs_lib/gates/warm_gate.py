"""What stands between a new endpoint and the flip of the routes."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct


class WarmGate(Construct):
    """Holds a deployment until a new endpoint really runs the configuration asked for and, for a shared tier, until
    its models are warm. Fails when SageMaker's guardrail took the update back by itself: CloudFormation would count
    that as success and delete the configuration in use.

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
            # The group is SageMaker's and outlives its endpoint. As a resource it would fail the next endpoint of that
            # name, or its logs would go with the endpoint.
            "LogRetentionDays": str(log_retention_days),
        }
        self.resource = cdk.CustomResource(
            self,
            "Gate",
            service_token=gate_function.function_arn,
            resource_type="Custom::WarmGate",
            # CloudFormation's longest. The handler answers sooner, or starts its next run when one is not enough.
            service_timeout=cdk.Duration.hours(1),
            properties=properties if tier_name is None else {**properties, "Tier": tier_name},
        )
        # A reference alone lets CloudFormation start the gate while the endpoint is still being created
        # (CONFIGURATION_COMPLETE); DependsOn waits for its end. The same for the function and its permissions.
        self.node.add_dependency(endpoint, gate_function)

"""The warm gate's check: does the endpoint run the configuration that CloudFormation asked for?

SageMaker's deployment guardrail rolls an endpoint back by itself; a route must not be deployed to such a one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tierfleet.runtime.custom_resource import Answer
from tierfleet.runtime.errors import Kind, classify

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.client import SageMakerClient


def check(request: Mapping[str, Any], *, cloudformation: Any, sagemaker: "SageMakerClient") -> Answer | None:
    """The gate's answer, or None: the endpoint runs what was asked for and may be warmed.

    request: a Create or Update with properties EndpointName and EndpointConfigName. A stack that rolls back
    and an endpoint that does not exist succeed at once: the gate never holds up the way back.
    Raises botocore's errors.
    """
    stack_status = cloudformation.describe_stacks(StackName=request["StackId"])["Stacks"][0]["StackStatus"]
    if "ROLLBACK" in stack_status:
        return Answer(succeeded=True, reason=f"the stack is {stack_status}: nothing to hold up")
    properties = request["ResourceProperties"]
    endpoint_name, asked_config = properties["EndpointName"], properties["EndpointConfigName"]
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=endpoint_name)
    except ClientError as error:
        if classify(error).kind is Kind.UNKNOWN_ENDPOINT:
            return Answer(succeeded=True, reason=f"endpoint {endpoint_name} does not exist: nothing to warm")
        raise
    running_config = endpoint["EndpointConfigName"]
    # Two names never differ by case alone, and one taken from an ARN is lower case.
    if running_config.lower() == asked_config.lower():
        return None
    return Answer(
        succeeded=False,
        reason=(
            f"endpoint {endpoint_name} runs configuration {running_config}, not {asked_config}: SageMaker's "
            "deployment guardrail rolled the update back; look at the endpoint's rollback alarms, at the "
            f"log group /aws/sagemaker/Endpoints/{endpoint_name} and at the endpoint's failure reason: "
            f"{endpoint.get('FailureReason', 'none given')}"
        ),
    )

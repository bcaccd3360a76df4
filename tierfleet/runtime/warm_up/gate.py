"""The warm gate's check: is the endpoint in service, with the configuration that CloudFormation asked for?

CloudFormation may start a resource while the endpoint it refers to is still being created (CONFIGURATION_COMPLETE).
The template's DependsOn prevents that; the gate does not rely on it and waits for the endpoint itself.
SageMaker's deployment guardrail rolls an endpoint back by itself; a route must not be deployed to such a one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.warm_up.custom_resource import Answer

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.client import SageMakerClient

# DescribeEndpoint's EndpointStatus: in service, or on the way there. Every other status ends the wait.
# SystemUpdating: SageMaker patches the instances, and the endpoint serves meanwhile.
# docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
SERVING_STATUSES: Final = frozenset({"InService", "SystemUpdating"})
CHANGING_STATUSES: Final = frozenset({"Creating", "Updating", "RollingBack"})
# Calls of the control plane are rate-limited for the whole account, and several gates may poll at the same time.
FIRST_POLL_SECONDS: Final = 1.0
LONGEST_POLL_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Waiting:
    """The endpoint is not in service yet; reason: one sentence."""

    reason: str


def wait(
    request: Mapping[str, Any],
    *,
    cloudformation: Any,
    sagemaker: "SageMakerClient",
    most_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer | Waiting | None:
    """As `check`, again and again while the endpoint changes, for up to `most_seconds`.

    A stack that begins to roll back meanwhile ends the wait. Raises botocore's errors.
    """
    end = clock() + most_seconds
    pause = FIRST_POLL_SECONDS
    while True:
        result = check(request, cloudformation=cloudformation, sagemaker=sagemaker)
        if not isinstance(result, Waiting) or clock() + pause > end:
            return result
        sleep(pause)
        pause = min(2 * pause, LONGEST_POLL_SECONDS)


def check(request: Mapping[str, Any], *, cloudformation: Any, sagemaker: "SageMakerClient") -> Answer | Waiting | None:
    """The gate's answer; Waiting while the endpoint changes; None: it runs what was asked for and may be warmed.

    request: a Create or Update with properties EndpointName and EndpointConfigName. A stack that rolls back
    and an endpoint that does not exist succeed at once: the gate never holds up the way back.
    Raises botocore's errors.
    """
    if (answer := answer_of_a_rollback(request, cloudformation)) is not None:
        return answer
    properties = request["ResourceProperties"]
    endpoint_name, asked_config = properties["EndpointName"], properties["EndpointConfigName"]
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=endpoint_name)
    except ClientError as error:
        if classify(error).kind is Kind.UNKNOWN_ENDPOINT:
            return Answer(succeeded=True, reason=f"endpoint {endpoint_name} does not exist: nothing to warm")
        raise
    status: str = endpoint["EndpointStatus"]
    if status in CHANGING_STATUSES:
        return Waiting(f"endpoint {endpoint_name} is {status}")
    look = (
        "look at the endpoint's rollback alarms, at the log group "
        f"/aws/sagemaker/Endpoints/{endpoint_name} and at the endpoint's failure reason: "
        f"{endpoint.get('FailureReason', 'none given')}"
    )
    if status not in SERVING_STATUSES:
        return Answer(succeeded=False, reason=f"endpoint {endpoint_name} is {status}, not InService; {look}")
    running_config = endpoint["EndpointConfigName"]
    # Two names never differ by case alone, and one taken from an ARN is lower case.
    if running_config.lower() == asked_config.lower():
        return None
    return Answer(
        succeeded=False,
        reason=(
            f"endpoint {endpoint_name} runs configuration {running_config}, not {asked_config}: SageMaker's "
            f"deployment guardrail rolled the update back; {look}"
        ),
    )


def answer_of_a_rollback(request: Mapping[str, Any], cloudformation: Any) -> Answer | None:
    """Success at once while the stack rolls back, else None. Raises botocore's errors."""
    stack_status = cloudformation.describe_stacks(StackName=request["StackId"])["Stacks"][0]["StackStatus"]
    if "ROLLBACK" not in stack_status:
        return None
    return Answer(succeeded=True, reason=f"the stack is {stack_status}: nothing to hold up")

"""The endpoint that a new multi-model endpoint replaces; it may have scaled out."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.names import VARIANT_NAME
from tierfleet.runtime.route_document import RouteDocument

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.client import SageMakerClient


def predecessor(deployed: RouteDocument, tier: str, endpoint_name: str) -> str | None:
    """The multi-model endpoint that the deployed routes name for a tier; None if it is this one or there is none."""
    route = deployed.tiers.get(tier)
    return route.endpoint if route and route.endpoint != endpoint_name else None


def grow_like(old_endpoint: str, endpoint_name: str, *, sagemaker: "SageMakerClient") -> int | None:
    """Ask for as many instances as the old endpoint has, where it has more; None where nothing was asked for.

    The endpoint is Updating until they serve. An old endpoint that is gone has none. Raises botocore's errors.
    """
    try:
        wanted = _instances(old_endpoint, sagemaker)
    except ClientError as error:
        if classify(error).kind is Kind.UNKNOWN_ENDPOINT:
            return None
        raise
    if wanted <= _instances(endpoint_name, sagemaker):
        return None
    # Not UpdateEndpoint, which would replace the new fleet by another one.
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint_name,
        DesiredWeightsAndCapacities=[{"VariantName": VARIANT_NAME, "DesiredInstanceCount": wanted}],
    )
    return wanted


def _instances(endpoint_name: str, sagemaker: "SageMakerClient") -> int:
    """What scaling wants of the one variant, whether all of them serve yet or not."""
    variants = sagemaker.describe_endpoint(EndpointName=endpoint_name).get("ProductionVariants", [])
    return max((variant.get("DesiredInstanceCount", 0) for variant in variants), default=0)

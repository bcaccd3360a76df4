"""Image URIs: AWS's stock images by framework and version, or whatever the fleet file names in full."""

import re
import tomllib
from functools import cache
from importlib.resources import files

# Hosting versions published for every region of the table. Source: SageMaker Python SDK 2.257.7, image URI tables.
STOCK_VERSIONS = {
    "sagemaker-xgboost": ("1.2-1", "1.2-2", "1.3-1", "1.5-1", "1.7-1", "3.0-5"),
    "sagemaker-scikit-learn": ("1.0-1", "1.2-1"),
}
# The stock images that also exist for Graviton instances. Same source.
GRAVITON_VERSIONS = {"sagemaker-xgboost": ("1.3-1", "1.5-1"), "sagemaker-scikit-learn": ("1.0-1",)}
# Our own dense server, built from container/.
TIERFLEET_IMAGE = "tierfleet"

_ECR_URI = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))"
)


@cache
def publishing_accounts() -> dict[str, str]:
    """Account id by region of the stock images."""
    return tomllib.loads((files("tierfleet") / "data/image_accounts.toml").read_text(encoding="utf-8"))


def stock_image_uri(image: str, version: str, region: str) -> str:
    """The URI of a stock image, such as `141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1`.

    Raises KeyError for a region without published images. Tags of scikit-learn carry a processor suffix.
    """
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    tag = f"{version}-cpu-py3" if image == "sagemaker-scikit-learn" else version
    return f"{publishing_accounts()[region]}.dkr.ecr.{region}.{suffix}/{image}:{tag}"


def is_ecr_uri(image: str) -> bool:
    """Whether `image` is a full ECR URI with a tag or digest."""
    return _ECR_URI.fullmatch(image) is not None


def repository_arn(uri: str, partition: str) -> str:
    """ARN of the ECR repository an image URI names, for a pull permission. Raises ValueError for no ECR URI."""
    match = _ECR_URI.fullmatch(uri)
    if not match:
        raise ValueError(f"not an ECR image URI: {uri}")
    return f"arn:{partition}:ecr:{match['region']}:{match['account']}:repository/{match['repository']}"


def ecr_parts(uri: str) -> tuple[str, str, dict[str, str]]:
    """Registry account, repository and ECR's ImageIdentifier of an image URI. Raises ValueError for no ECR URI."""
    match = _ECR_URI.fullmatch(uri)
    if not match:
        raise ValueError(f"not an ECR image URI: {uri}")
    image_id = {"imageTag": match["tag"]} if match["tag"] else {"imageDigest": match["digest"]}
    return match["account"], match["repository"], image_id


def partition_of(region: str) -> str:
    """The ARN partition of a region: aws, aws-cn or aws-us-gov."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"

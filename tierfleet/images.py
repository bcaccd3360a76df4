"""Image URIs: AWS's stock images by framework and version, or the full URI in the fleet file."""

import difflib
import re
import tomllib
from functools import cache
from importlib.resources import files

from tierfleet.instance_types import hosting_regions

# Hosting versions published for every region of the table. Source: SageMaker Python SDK 2.257.7, image URI tables.
STOCK_VERSIONS = {
    "sagemaker-xgboost": ("1.2-1", "1.2-2", "1.3-1", "1.5-1", "1.7-1", "3.0-5"),
    "sagemaker-scikit-learn": ("1.0-1", "1.2-1"),
}
# The stock images that also exist for Graviton instances. Same source.
GRAVITON_VERSIONS = {"sagemaker-xgboost": ("1.3-1", "1.5-1"), "sagemaker-scikit-learn": ("1.0-1",)}
# Our own dense server, built from container/.
TIERFLEET_IMAGE = "tierfleet"

# Source of the repository's pattern: ecr CreateRepository.
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_ECR_URI = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com(\.cn)?)/"
    rf"(?P<repository>(?=[^:@]{{2,256}}[:@]){_PATH}(/{_PATH})*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))"
)


@cache
def publishing_accounts() -> dict[str, str]:
    """Account id by region of the stock images."""
    return tomllib.loads((files("tierfleet") / "data/image_accounts.toml").read_text(encoding="utf-8"))


def stock_image_uri(image: str, version: str, region: str) -> str:
    """The URI of a stock image, such as `141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1`.

    Raises KeyError for a region without published images. Tags of scikit-learn carry a processor suffix.
    """
    tag = f"{version}-cpu-py3" if image == "sagemaker-scikit-learn" else version
    return f"{publishing_accounts()[region]}.dkr.ecr.{region}.{dns_suffix(region)}/{image}:{tag}"


def is_ecr_uri(image: str) -> bool:
    """Whether `image` is a full ECR URI with a tag or digest."""
    return _ECR_URI.fullmatch(image) is not None


def image_place(uri: str) -> tuple[str, str]:
    """Region and DNS suffix of an ECR URI, such as `eu-west-1`, `amazonaws.com`. Raises ValueError for no ECR URI."""
    match = _ECR_URI.fullmatch(uri)
    if not match:
        raise ValueError(f"not an ECR image URI: {uri}")
    return match["region"], match["suffix"]


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


def check_region(region: str) -> str:
    """Return the region. Raises ValueError for a region in which SageMaker does not host models."""
    if region not in hosting_regions():
        near = difflib.get_close_matches(region, sorted(hosting_regions()), n=1)
        hint = f"did you mean {near[0]}?" if near else "use one such as eu-west-1"
        raise ValueError(f"not a region that SageMaker hosts models in; {hint}")
    return region


def dns_suffix(region: str) -> str:
    """The ending of AWS's host names in a region."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def partition_of(region: str) -> str:
    """The ARN partition of a region: aws, aws-cn or aws-us-gov."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"

"""The images of the fleet's containers, and who may pull them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from tierfleet import images
from tierfleet.config.container import Container
from tierfleet.preflight.finding import Account, Finding

AREA = "image"
_DOCKER_SECONDS = 20
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_SAGEMAKER = "sagemaker.amazonaws.com"
# Of the CDK's default bootstrap, which has the images that `cdk deploy` builds.
_ASSETS = "cdk-hnb659fds-container-assets-{account}-{region}"


def check(account: Account) -> Iterator[Finding]:
    """Every image exists and may be pulled; for our own server, Docker is there to build it. The repository of an own
    image in a pipeline with images of AWS lets SageMaker pull it."""
    for container in account.config.every_container:
        if container.image == images.TIERFLEET_IMAGE:
            yield _docker()
        else:
            yield _pulled(account, container)
    for name, tier in sorted(account.config.tiers.items()):
        for registry, repository in sorted({_repository(account, each) for each in tier.pulled_by_policy}):
            yield _policy(account, name, registry, repository)


def _pulled(account: Account, container: Container) -> Finding:
    uri = container.image
    if uri in images.STOCK_VERSIONS:
        uri = images.stock_image_uri(uri, str(container.version), account.config.region)
    registry, repository, image_id = images.ecr_parts(uri)
    try:
        answer = account.client("ecr").batch_get_image(
            registryId=registry, repositoryName=repository, imageIds=[image_id]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "RepositoryNotFoundException":
            raise
        answer = {"failures": [{"failureReason": "there is no such repository"}]}
    if answer.get("images"):
        return Finding(area=AREA, status="ok", message=f"{uri} can be pulled")
    reason = next((failure["failureReason"] for failure in answer.get("failures", [])), "it was not found")
    return Finding(
        area=AREA,
        status="problem",
        message=f"{uri} cannot be pulled: {reason}",
        remedy="correct the image in the fleet file, or push it",
    )


def _repository(account: Account, container: Container) -> tuple[str, str]:
    """Registry account and repository of an own image."""
    config = account.config
    if container.image == images.TIERFLEET_IMAGE:
        return config.account, _ASSETS.format(account=config.account, region=config.region)
    registry, repository, _ = images.ecr_parts(container.image)
    return registry, repository


def _policy(account: Account, tier: str, registry: str, repository: str) -> Finding:
    """Source: docs.aws.amazon.com/sagemaker/latest/dg/inference-pipeline-troubleshoot.html"""
    try:
        text = account.client("ecr").get_repository_policy(registryId=registry, repositoryName=repository)["policyText"]
    except ClientError as error:
        if not error.response["Error"]["Code"].endswith("NotFoundException"):
            raise
        text = "{}"
    missing = not_allowed(text)
    if not missing:
        return Finding(area=AREA, status="ok", message=f"the policy of {repository} lets SageMaker pull")
    return Finding(
        area=AREA,
        status="problem",
        message=f"tier {tier} mixes own and AWS's images, and the policy of {repository} does not allow {_SAGEMAKER} "
        f"{', '.join(missing)}",
        remedy="set the repository policy of docs/pipeline.md",
    )


def not_allowed(policy: str) -> list[str]:
    """The actions of a pull that a repository policy does not allow SageMaker. It reads neither Deny nor conditions."""
    patterns = [action for each in _statements(policy) if _allows_sagemaker(each) for action in _actions(each)]
    return [action for action in _PULL if not any(fnmatchcase(action.lower(), pattern) for pattern in patterns)]


def _statements(text: str) -> list[dict[str, Any]]:
    statements = json.loads(text).get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def _allows_sagemaker(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else principal
    named = [services] if isinstance(services, str) else services
    return statement.get("Effect") == "Allow" and bool({_SAGEMAKER, "*"} & set(named))


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement.get("Action", [])
    return [action.lower() for action in ([actions] if isinstance(actions, str) else actions)]


def _docker() -> Finding:
    remedy = "start Docker where cdk deploy runs, or build once and name the image's URI (docs/container.md)"
    docker = shutil.which("docker")
    if docker is None:
        message = "an image is tierfleet, which cdk deploy builds with Docker; there is no docker command here"
        return Finding(area=AREA, status="problem", message=message, remedy=remedy)
    try:
        ready = subprocess.run([docker, "info"], capture_output=True, timeout=_DOCKER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        message = f"docker info did not answer within {_DOCKER_SECONDS} s"
        return Finding(area=AREA, status="problem", message=message, remedy=remedy)
    if ready.returncode:
        message = "the docker command cannot reach a Docker daemon"
        return Finding(area=AREA, status="problem", message=message, remedy=remedy)
    return Finding(area=AREA, status="ok", message="Docker is ready to build the image")

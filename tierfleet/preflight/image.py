"""The image of the fleet's containers."""

import shutil
import subprocess
from collections.abc import Iterator

from botocore.exceptions import ClientError

from tierfleet import images
from tierfleet.preflight.finding import Account, Finding

AREA = "image"
_DOCKER_SECONDS = 20


def check(account: Account) -> Iterator[Finding]:
    """The image exists and may be pulled; for our own server, Docker is there to build it."""
    config = account.config
    if config.container.image == images.TIERFLEET_IMAGE:
        yield _docker()
        return
    uri = config.container.image
    if uri in images.STOCK_VERSIONS:
        uri = images.stock_image_uri(uri, str(config.container.version), config.region)
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
        yield Finding(area=AREA, status="ok", message=f"{uri} can be pulled")
        return
    reason = next((failure["failureReason"] for failure in answer.get("failures", [])), "it was not found")
    yield Finding(
        area=AREA,
        status="problem",
        message=f"{uri} cannot be pulled: {reason}",
        remedy="correct container.image in the fleet file, or push the image",
    )


def _docker() -> Finding:
    remedy = "start Docker where cdk deploy runs, or build once and name the image's URI (docs/container.md)"
    docker = shutil.which("docker")
    if docker is None:
        message = "container.image is tierfleet, which cdk deploy builds with Docker; there is no docker command here"
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

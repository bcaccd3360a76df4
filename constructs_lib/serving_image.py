"""The image of a fleet's containers."""

from pathlib import Path

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from tierfleet import images
from tierfleet.config import FleetConfig

_CONTAINER = Path(__file__).resolve().parent.parent / "container"


class ServingImage(Construct):
    """The image that `container.image` names.

    A stock image becomes the URI of the region, `tierfleet` becomes an ECR image asset, and a URI stays as it is.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(scope, construct_id)
        container, region = config.container, config.region
        if container.image == images.TIERFLEET_IMAGE:
            asset = ecr_assets.DockerImageAsset(
                self, "Server", directory=str(_CONTAINER), platform=ecr_assets.Platform.LINUX_AMD64
            )
            self.uri = asset.image_uri
            self.repository_arn = asset.repository.repository_arn
            return
        self.uri = container.image
        if container.image in images.STOCK_VERSIONS:
            self.uri = images.stock_image_uri(container.image, str(container.version), region)
        self.repository_arn = images.repository_arn(self.uri, images.partition_of(region))

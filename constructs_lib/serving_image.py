"""The images of a fleet's containers."""

from pathlib import Path

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from tierfleet import images
from tierfleet.config import Container, FleetConfig

_CONTAINER = Path(__file__).resolve().parent.parent / "container"


class ServingImage(Construct):
    """The image that a container's `image` names.

    `ServingImage(self, "Image", container=config.container, region=config.region).uri`

    A stock image becomes the URI of the region, `tierfleet` becomes an ECR image asset, and a URI stays as it is.
    """

    def __init__(self, scope: Construct, construct_id: str, *, container: Container, region: str) -> None:
        super().__init__(scope, construct_id)
        if container.image == images.TIERFLEET_IMAGE:
            asset = ecr_assets.DockerImageAsset(
                self,
                "Server",
                directory=str(_CONTAINER),
                # Whatever machine builds it: an image for Arm would not start on these instance types.
                platform=ecr_assets.Platform.LINUX_AMD64,
            )
            self.uri = asset.image_uri
            self.repository_arn = asset.repository.repository_arn
            return
        self.uri = container.image
        if container.image in images.STOCK_VERSIONS:
            self.uri = images.stock_image_uri(container.image, str(container.version), region)
        self.repository_arn = images.repository_arn(self.uri, images.partition_of(region))


class FleetImages(Construct):
    """Every image of a fleet, each once.

    `FleetImages(self, "Image", config=config).of(config.container).uri` is the image of `[container]`. A tier whose
    endpoints have several containers names further ones.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig) -> None:
        super().__init__(scope, construct_id)
        self._region = config.region
        self._images: dict[str, ServingImage] = {}

    def of(self, container: Container) -> ServingImage:
        """The image of this container."""
        name = f"{container.image}:{container.version}".replace("/", "|")
        if name not in self._images:
            self._images[name] = ServingImage(self, name, container=container, region=self._region)
        return self._images[name]

"""The image that is to read a model, and what packaging has to know of it."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierfleet_server.publishing.versions import IMAGE_XGBOOST, Version, dotted

if TYPE_CHECKING:
    from tierfleet_server.publishing.served_model import Forest

    from tierfleet.config import Container, FleetConfig

_STOCK_IMAGE = "sagemaker-xgboost"
# AWS's images and the XGBoost in each. Source: docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html and the
# Dockerfiles of aws/sagemaker-xgboost-container.
STOCK_VERSIONS: dict[str, Version] = {
    "1.0-1": (1, 0, 0), "1.2-1": (1, 2, 0), "1.2-2": (1, 2, 0), "1.3-1": (1, 3, 3), "1.5-1": (1, 5, 2),
    "1.7-1": (1, 7, 4), "3.0-5": (3, 0, 5), "3.2-0": (3, 2, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """An image: `reader` is the XGBoost in it, `stock` whether it is AWS's.

    `forest` is what it is given unless a user says otherwise: a flat forest alone where every instance reads them.
    """

    reader: Version = IMAGE_XGBOOST
    stock: bool = False
    forest: "Forest" = "none"

    @property
    def name(self) -> str:
        """For sentences."""
        return f"the stock image of XGBoost {dotted(self.reader)}" if self.stock else "the dense server"


DENSE = Target(forest="alone")
# Of an image that is not known: it may be an older dense server, which reads no forests.
_UNKNOWN = Target()


def target_of(fleet: "FleetConfig | None") -> Target:
    """The image of a fleet; the dense server's where there is no fleet.

    Of an image that is not known what the dense server reads, without flat forests.
    """
    return DENSE if fleet is None else target_of_container(fleet.container)


def target_of_container(container: "Container") -> Target:
    """The image of a container, as `target_of` knows the fleet's."""
    if container.image == "tierfleet":
        return DENSE
    if container.image != _STOCK_IMAGE:
        return _UNKNOWN
    return stock_target(container.version or "") or DENSE


def stock_target(tag: str) -> Target | None:
    """The stock image of a tag such as `1.7-1`; for a tag that is not listed its numbers decide. None for others."""
    match = re.match(r"(\d+)\.(\d+)(?:-(\d+))?", tag)
    if match is None:
        return None
    listed = STOCK_VERSIONS.get(re.sub(r"-cpu-py3$", "", tag))
    return Target(listed or (int(match[1]), int(match[2]), int(match[3] or 0)), stock=True)


def named_target(name: str) -> Target:
    """`tierfleet`, a stock tag such as `1.7-1`, or an XGBoost version such as `1.7`; raises ValueError."""
    if name == "tierfleet":
        return DENSE
    if name in STOCK_VERSIONS or re.fullmatch(r"\d+\.\d+-\d+", name):
        target = stock_target(name)
        assert target is not None  # noqa: S101 - the pattern is the same
        return target
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", name)
    if match is None:
        raise ValueError(
            f"{name!r} is no image: give tierfleet, a tag of the stock image ({', '.join(STOCK_VERSIONS)}) or an "
            "XGBoost version such as 3.0"
        )
    return Target((int(match[1]), int(match[2]), int(match[3] or 0)), stock=True)

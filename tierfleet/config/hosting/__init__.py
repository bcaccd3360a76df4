"""The hosting shapes of a fleet file: one module each, and this table."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from tierfleet.config.hosting.asynchronous import AsyncTier
from tierfleet.config.hosting.dedicated import DedicatedTier
from tierfleet.config.hosting.multi_container import MultiContainerTier
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.pipeline import PipelineTier
from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.config.hosting.tier import HostedTier

TIERS: Final[Mapping[str, type[HostedTier]]] = {
    "multi-model": MultiModelTier,
    "dedicated": DedicatedTier,
    "multi-container": MultiContainerTier,
    "serverless": ServerlessTier,
    "pipeline": PipelineTier,
    "async": AsyncTier,
}
"""The table of a tier by the word of `hosting`."""

AnyTier = Annotated[
    MultiModelTier
    | DedicatedTier
    | MultiContainerTier
    | ServerlessTier
    | PipelineTier
    | AsyncTier,
    Field(discriminator="hosting"),
]  # fmt: skip
"""The same shapes as a type, which pydantic and mypy need written out."""

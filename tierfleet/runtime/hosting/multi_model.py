"""multi-model: one endpoint for many tenants. The memory of its instances is a cache of models."""

from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

MULTI_MODEL: Final = HostingShape(hosting="multi-model", name_word="mme", shared=True)

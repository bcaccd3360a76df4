"""Which instance has which model. SageMaker keeps sending a model's requests to the instance that loaded it."""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

AnyInstance: Final = -1


def instance_by_hash(tenants: tuple[str, ...], instances: int) -> NDArray[np.int16]:
    """A stable instance per tenant, int16, that depends on its name alone; shares are even only on average."""
    return np.array([zlib.crc32(tenant.encode()) % instances for tenant in tenants], np.int16)

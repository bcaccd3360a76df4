"""Which instance has which model. SageMaker keeps sending a model's requests to the instance that loaded it."""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

AnyInstance: Final = -1


def instance_by_hash(tenants: tuple[str, ...], instances: int) -> NDArray[np.int16]:
    """A stable instance per tenant, int16, that depends on its name alone; shares are even only on average."""
    return np.array([zlib.crc32(tenant.encode()) % instances for tenant in tenants], np.int16)


def instance_least_loaded(load: NDArray[np.float64], instances: int) -> NDArray[np.int16]:
    """Tenants in falling order of load, each to the instance with the least load so far: nearly even shares.

    load: any measure, such as requests, or resident MiB. Graham's longest-processing-time rule; at most 4/3 of the
    best possible largest share.
    """
    assigned = np.zeros(len(load), np.int16)
    sums = np.zeros(instances)
    for tenant in np.argsort(-load, kind="stable"):
        assigned[tenant] = np.argmin(sums)
        sums[assigned[tenant]] += load[tenant]
    return assigned

"""The density of the stock stack, through the data plane like everything else."""

import sys
from pathlib import Path

import numpy as np

from benchmarks.cache import fleet
from benchmarks.cache.models import Models
from benchmarks.cache.results import Density
from benchmarks.cache.traffic import SHAPE, Client
from tierfleet.instance_types import describe

_INSTANCE_TYPE = "ml.m6i.large"
_MOST_MODELS = 60
_ROOT = Path(__file__).resolve().parents[2]


async def stock_density(models: Models, budget_mib: int) -> Density:
    """Ask one instance for one tenant after the other until it evicts. Needs Java 17."""
    command = f"env PYTHONPATH={_ROOT} {sys.executable} -m benchmarks.cache.stock {{port}} {budget_mib}"
    tenants = list(SHAPE.tenants[:_MOST_MODELS])
    whole_mib = describe(_INSTANCE_TYPE).memory_gib * 1024 * fleet.MODELS_SHARE_OF_MEMORY
    seconds: list[float] = []
    # The instance has more, so that it is the container that refuses.
    with fleet.stand(models, tenants, scale=4 * budget_mib / whole_mib, command=command) as stand:
        stand.create("stock", _INSTANCE_TYPE, 1)
        stand.wait("stock")
        client = Client(stand.port, fleet.ACCOUNT, models)
        for tenant in tenants:
            sent = await client.send("stock", [tenant])
            if sent.wrong:
                raise RuntimeError(f"stock stack: {sent.wrong[0]}")
            (row,) = stand.rows("stock")
            if row["counters"]["refusals_for_memory"]:
                break
            seconds += sent.seconds
        else:
            raise RuntimeError(f"the stock stack holds all {len(tenants)} models in {budget_mib} MiB; give it less")
        stand.delete("stock")
    return Density(budget_mib, len(seconds), 1000 * float(np.median(seconds)))

"""What a cache of given size does with given traffic: the figure to hold a measurement against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.che import che_per_instance
from tierfleet.planning.cache.lru import CacheFleet, WarmUp, instance_by_hash, simulate
from tierfleet.planning.traffic.rates import Rates
from tierfleet.planning.traffic.requests import Requests


@dataclass(frozen=True)
class Prediction:
    """hit_ratio: model in memory. cold_share: calls that wait for a load, from disk or S3; both make 1.

    disk_share, s3_share: the parts of cold_share. loads_per_hour: over all instances; NaN if the counted requests
    are a single instant. exact: every request was followed; otherwise Che's approximation of the steady state.
    """

    hit_ratio: float
    cold_share: float
    disk_share: float
    s3_share: float
    loads_per_hour: float
    exact: bool


def predict(
    traffic: Requests | Rates,
    resident_mib: NDArray[np.float64],
    fleet: CacheFleet,
    *,
    artefact_mib: NDArray[np.float64] | None = None,
    instance_of: NDArray[np.int16] | None = None,
    warm_up: WarmUp | None = None,
    counted_from_seconds: float | None = None,
    seed: int = 0,
) -> Prediction:
    """Predict one fleet of caches from a trace, request by request, or from rates and burstiness.

    resident_mib: memory of each tenant's loaded model, in the order of `traffic.tenants`; artefact_mib: its room on
    disk, the same if not given. instance_of: the instance of each tenant, a hash of its name if not given.
    warm_up, counted_from_seconds, seed: of a trace only, as `lru.simulate` has them. From rates, routing is by
    affinity and nothing spills. Raises ValueError for bad arguments.
    """
    if len(resident_mib) != len(traffic.tenants):
        raise ValueError(f"{len(resident_mib)} model sizes for {len(traffic.tenants)} tenants")
    if isinstance(traffic, Requests):
        outcome = simulate(
            traffic,
            resident_mib,
            fleet,
            artefact_mib=artefact_mib,
            instance_of=instance_of,
            warm_up=warm_up,
            counted_from_seconds=counted_from_seconds,
            seed=seed,
        )
        cold = outcome.disk_share + outcome.s3_share
        hours = outcome.duration_seconds / 3600
        loads = cold * outcome.counted / hours if hours else float("nan")
        return Prediction(outcome.hit_ratio, cold, outcome.disk_share, outcome.s3_share, loads, exact=True)
    if fleet.routing != "affinity" or fleet.spill_share or fleet.most_in_flight is not None:
        raise ValueError("rates are predicted under affinity without spill; give a trace for anything else")
    if instance_of is None:
        instance_of = instance_by_hash(traffic.tenants, fleet.instances)
    hits = che_per_instance(traffic, resident_mib, fleet.memory_mib, instance_of)
    on_disk = resident_mib if artefact_mib is None else artefact_mib
    reached = max(che_per_instance(traffic, on_disk, fleet.disk_mib, instance_of), hits) if fleet.disk_mib else hits
    loads = float(traffic.requests_per_day.sum()) / 24 * (1 - hits)
    return Prediction(hits, 1 - hits, reached - hits, 1 - reached, loads, exact=False)

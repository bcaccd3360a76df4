"""Hit ratios of the shared tier at any instance count and memory, with one pass over the trace for each count."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.planning.cache.che import che, che_per_instance
from tierfleet.planning.cache.miss_ratio_curve import MissRatioCurve, miss_ratio_curve
from tierfleet.planning.traffic.rates import steady_rates
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import Workload

Array = NDArray[np.float64]

# AWS does not document which instance SageMaker loads a model on, so as many random placements are evaluated.
PLACEMENTS: Final = 5


@dataclass(frozen=True)
class LevelShares:
    """Shares of the calls by where their model is. Each 0 to 1, together 1."""

    memory: float
    disk: float
    s3: float


@dataclass
class TailCache:
    """The caches of the shared tier's instances. Every tenant is on one instance (model affinity).

    A placement says on which: one of PLACEMENTS, drawn for the tenants in order of their calls, independent of their
    names. From a trace the hit ratios are those of LRU, exactly; from rates they are Che's approximation.
    """

    workload: Workload
    _curves: dict[tuple[int, bytes], MissRatioCurve] = field(default_factory=dict)
    _placed: dict[tuple[int, int], NDArray[np.int16]] = field(default_factory=dict)

    def busier(self, factor: float) -> "TailCache":
        """The same calls in a shorter time; LRU hit ratios depend on their order alone, so passes are shared."""
        return TailCache(self.workload.busier(factor), self._curves, self._placed)

    def shares(
        self,
        resident_mib: Array,
        disk_mib: Array,
        *,
        memory_mib: float,
        disk_room_mib: float,
        instances: int,
        placement: int = 0,
    ) -> LevelShares:
        """Where calls find their model. resident_mib, disk_mib: of each model. memory_mib, disk_room_mib: per instance.

        The disk is a cache like the memory. A model that is on disk and not in memory is loaded from there.
        """
        in_memory = self.hit_ratio(resident_mib, memory_mib, instances, placement)
        reached = in_memory
        if disk_room_mib:
            reached = max(self.hit_ratio(disk_mib, disk_room_mib, instances, placement), in_memory)
        return LevelShares(in_memory, reached - in_memory, 1 - reached)

    def hit_ratio(self, sizes_mib: Array, capacity_mib: float, instances: int, placement: int = 0) -> float:
        """The share of calls whose model is in a cache of `capacity_mib` on its instance; 1 without tenants.

        From a trace, other placements than the first are approximated.
        """
        if not len(sizes_mib) or not self.workload.calls_per_day.any():
            return 1.0
        if capacity_mib <= 0:
            return 0.0
        requests = self.workload.requests
        if requests is None or placement:
            instance_of = self.instance_of(instances, placement)
            # Sums of shares may end a rounding above 1.
            return min(che_per_instance(self.workload.rates, sizes_mib, capacity_mib, instance_of), 1.0)
        if (sizes_mib == sizes_mib[0]).all():
            # With models of one size one pass serves all sizes, counted in models.
            return self._curve(requests, np.ones(len(sizes_mib)), instances).hit_ratio(
                capacity_mib / float(sizes_mib[0])
            )
        return self._curve(requests, sizes_mib, instances).hit_ratio(capacity_mib)

    def tenant_hit_ratios(self, sizes_mib: Array, capacity_mib: float, instances: int) -> Array:
        """The hit ratio of each tenant, always by Che's approximation: a trace has too few calls of most tenants."""
        rates, ratios = self.workload.rates, np.zeros(len(sizes_mib))
        instance_of = self.instance_of(instances)
        for instance in range(instances):
            own = instance_of == instance
            if rates.requests_per_day[own].any():
                ratios[own] = che(rates.of(own), sizes_mib[own], capacity_mib).tenant_hit_ratios
        return ratios

    def loads_per_day(self, sizes_mib: Array, capacity_mib: float, instances: int) -> Array:
        """Loads of each tenant, by Che's approximation at its mean rate."""
        rates, loads = self.workload.rates, np.zeros(len(sizes_mib))
        steady = steady_rates(rates.tenants, rates.requests_per_day, rates.model_bytes, rates.sessions)
        instance_of = self.instance_of(instances)
        for instance in range(instances):
            own = instance_of == instance
            if rates.requests_per_day[own].any():
                hits = che(steady.of(own), sizes_mib[own], capacity_mib).tenant_hit_ratios
                loads[own] = rates.requests_per_day[own] * np.maximum(1 - hits, 0.0)
        return loads

    def all_fit(self, sizes_mib: Array, capacity_mib: float, instances: int) -> bool:
        """Whether every model fits in every placement, so that more memory has no effect."""
        if not len(sizes_mib):
            return True
        placements = range(PLACEMENTS) if instances > 1 else (0,)
        return all(
            np.bincount(self.instance_of(instances, placement), weights=sizes_mib).max() <= capacity_mib
            for placement in placements
        )

    def instance_of(self, instances: int, placement: int = 0) -> NDArray[np.int16]:
        """The instance of each tenant."""
        key = (instances, placement)
        if key not in self._placed:
            calls = self.workload.calls_per_day
            # Seeded, so that the same traffic gives the same plan.
            drawn = np.random.default_rng([placement, instances]).integers(instances, size=len(calls), dtype=np.int16)
            self._placed[key] = np.empty_like(drawn)
            self._placed[key][np.argsort(-calls, kind="stable")] = drawn
        return self._placed[key]

    def _curve(self, requests: Requests, sizes_mib: Array, instances: int) -> MissRatioCurve:
        key = (instances, sizes_mib.tobytes())
        if key not in self._curves:
            self._curves[key] = miss_ratio_curve(
                requests,
                sizes_mib,
                # With few tenants no call may be left to count; then all of them count.
                counted_from_seconds=min(self.workload.counted_from_seconds, float(requests.seconds[-1])),
                instance_of=self.instance_of(instances),
            )
        return self._curves[key]

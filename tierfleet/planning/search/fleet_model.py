"""What comes of one fleet: hit ratio, call times, cost, and what it fails to meet."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import FleetConfig
from tierfleet.instance_types import describe
from tierfleet.planning.cache.load_events import LoadEvents, simulate_loads
from tierfleet.planning.cache.lru import CacheFleet
from tierfleet.planning.profiles.latency import Latency, Network, Shares, latency, latency_of_events, load_steps
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.call_times import (
    always_in_memory,
    container_p99,
    container_times,
    dedicated_failures,
    loads_percentile,
    shared_failures,
    tier_latency,
)
from tierfleet.planning.search.dedicated_limits import dedicated_failures_under_load
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.plan import FleetOption, TierLatency
from tierfleet.planning.search.proposed import instances_for_peak, proposed_tail
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.tail_cache import PLACEMENTS, LevelShares, TailCache
from tierfleet.planning.search.tiering import TailShare
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import dollars, milliseconds, percent, points

Array = NDArray[np.float64]

MIB_PER_MB: Final = 1e6 / 2**20
# Of a volume, for models; the rest is the file system, the image and logs. An assumption.
DISK_SHARE_FOR_MODELS: Final = 0.9


@dataclass
class FleetModel:
    """One container's profile under one workload.

    workload: of the tenants of the default tier and of the dedicated tiers. tails: caches by who is dedicated; may be
    shared by models of one workload, since a pass over the trace takes long.
    """

    config: FleetConfig
    workload: Workload
    profile: Profile
    prices: OptionPrices
    requirements: Requirements
    network: Network
    tails: dict[frozenset[str], TailCache]
    _sizes: dict[frozenset[str], tuple[Array, Array]] = field(default_factory=dict)
    _events: dict[tuple[str, int, frozenset[str], int], LoadEvents] = field(default_factory=dict)
    _failures: dict[frozenset[str], list[str]] = field(default_factory=dict)

    def tail(self, dedicated: frozenset[str]) -> TailCache:
        """The shared tier without those."""
        if dedicated not in self.tails:
            chosen = np.array([name not in dedicated for name in self.workload.tenants], np.bool_)
            self.tails[dedicated] = TailCache(self.workload.only(chosen))
        return self.tails[dedicated]

    def sizes(self, dedicated: frozenset[str]) -> tuple[Array, Array]:
        """Of the shared tier's models: MiB in memory, MiB on disk (the packed artefact and what is in it)."""
        if dedicated not in self._sizes:
            model_mb = self.tail(dedicated).workload.model_mb
            packed = _by_size(self.profile.artefact_mb, model_mb)
            self._sizes[dedicated] = (_by_size(self.profile.resident_mib, model_mb), (model_mb + packed) * MIB_PER_MB)
        return self._sizes[dedicated]

    def memory_mib(self, instance_type: str) -> float:
        """For models, on one instance."""
        return self.profile.model_memory_mib(describe(instance_type).memory_gib)

    def fits(self, instance_type: str, dedicated: frozenset[str]) -> bool:
        """Whether one instance holds the biggest model."""
        return float(self.sizes(dedicated)[0].max(initial=1.0)) <= self.memory_mib(instance_type)

    def everything_fits(self, instance_type: str, instances: int, dedicated: frozenset[str]) -> bool:
        """Whether no model is ever evicted."""
        return self.tail(dedicated).all_fit(self.sizes(dedicated)[0], self.memory_mib(instance_type), instances)

    def least_instances(self, instance_type: str, dedicated: frozenset[str]) -> int:
        """Instances that the calls of the busiest hour need, whatever the cache."""
        tier = proposed_tail(self.config.multi_model_tiers[self.config.default_tier], instance_type, 1)
        return instances_for_peak(tier, self.tail(dedicated).workload.peak_together_per_second)

    def option(self, instance_type: str, instances: int, dedicated: frozenset[str]) -> FleetOption:
        """Hit ratio and cost; call times are left to `judged`."""
        return self._option(
            instance_type, instances, dedicated, 0, self._shares(instance_type, instances, dedicated, 0)
        )

    def _option(
        self, instance_type: str, instances: int, dedicated: frozenset[str], placement: int, shares: LevelShares
    ) -> FleetOption:
        tail, (resident, _) = self.tail(dedicated), self.sizes(dedicated)
        memory = self.memory_mib(instance_type)
        calls_per_day = float(tail.workload.calls_per_day.sum())
        return FleetOption(
            profile=self.profile.name,
            prototype=self.profile.prototype,
            instance_type=instance_type,
            instances=instances,
            dedicated=tuple(sorted(dedicated)),
            usd=self.prices.usd(instance_type, instances, dedicated, shares.s3),
            models_per_instance=int(memory / float(resident.mean())) if len(resident) else 0,
            model_memory_mib=memory * instances,
            hit_ratio=shares.memory,
            disk_share=shares.disk,
            cold_share=shares.s3,
            loads_per_hour=calls_per_day / 24 * (1 - shares.memory),
            placement=placement,
        )

    def _shares(self, instance_type: str, instances: int, dedicated: frozenset[str], placement: int) -> LevelShares:
        resident, on_disk = self.sizes(dedicated)
        return self.tail(dedicated).shares(
            resident,
            on_disk,
            memory_mib=self.memory_mib(instance_type),
            disk_room_mib=self._disk_room_mib(instance_type),
            instances=instances,
            placement=placement,
        )

    def in_every_placement(self, option: FleetOption) -> FleetOption:
        """A judged option as it is in the placement that serves worst, with the range of its hit ratio."""
        tail = self.tail(frozenset(option.dedicated))
        if option.instances == 1 or not len(tail.workload.tenants):
            return option
        each = [option, *(self._elsewhere(option, placement) for placement in range(1, PLACEMENTS))]
        worst = max(each, key=lambda one: (len(one.failures), -one.hit_ratio))
        ratios = [one.hit_ratio for one in each]
        return replace(worst, hit_ratio_range=(min(ratios), max(ratios)))

    def _elsewhere(self, option: FleetOption, placement: int) -> FleetOption:
        """The option, judged in another placement."""
        fleet = option.instance_type, option.instances, frozenset(option.dedicated)
        requests = self.tail(frozenset(option.dedicated)).workload.requests
        if requests is None:
            shares = self._shares(*fleet, placement)
        else:
            met = self._load_events(requests, *fleet, placement).shares
            shares = LevelShares(met.warm + met.waiting, met.disk, met.cold)
        return self.judged(self._option(*fleet, placement, shares))

    def judged(self, option: FleetOption, *, call_by_call: bool = True) -> FleetOption:
        """The same with its call times, and with what it fails to meet.

        call_by_call: from a trace, by a pass over it; else as from rates, which takes no time.
        """
        required, failures = self.requirements, []
        times = self.tail_times(option) if call_by_call else self._times_by_rates(option)
        warm, cold = float(np.percentile(times.warm, 95)), loads_percentile(times, 95)
        busy = times.load_wait.utilisation
        if required.min_hit_ratio is not None and option.hit_ratio < required.min_hit_ratio:
            failures.append(f"hit ratio {points(option.hit_ratio)}, required {points(required.min_hit_ratio)}")
        if required.warm_p95_seconds is not None and warm > required.warm_p95_seconds:
            failures.append(f"warm p95 {milliseconds(warm)}, required {milliseconds(required.warm_p95_seconds)}")
        if busy >= 1:
            failures.append(f"loads need {percent(busy)} of the time there is in the busiest hour")
        elif required.cold_p95_seconds is not None and cold is not None and cold > required.cold_p95_seconds:
            failures.append(f"cold p95 {milliseconds(cold)}, required {milliseconds(required.cold_p95_seconds)}")
        dedicated = frozenset(option.dedicated)
        failures += self._dedicated_failures(dedicated)
        failures += shared_failures(required, self.on_tail(option.instance_type, option.instances, dedicated))
        if required.usd is not None and option.usd > required.usd:
            failures.append(f"{dollars(option.usd)} a month, budget {dollars(required.usd)}")
        return replace(
            option, warm_p95_seconds=warm, cold_p95_seconds=cold, busy_loading=busy, failures=tuple(failures)
        )

    def _dedicated_failures(self, dedicated: frozenset[str]) -> list[str]:
        """The same whatever the shared tier, so looked at once."""
        if dedicated not in self._failures:
            self._failures[dedicated] = [
                *dedicated_failures(self.requirements, self.profile, self.workload, dedicated),
                *dedicated_failures_under_load(
                    self.config, self.workload, self.profile, self.prices.new_tier, dedicated, self._p99_of(dedicated)
                ),
            ]
        return self._failures[dedicated]

    def _p99_of(self, dedicated: frozenset[str]) -> dict[str, float]:
        """What is required of each in the container."""
        every = self.requirements.whale_p99_seconds
        of_all = {} if every is None else dict.fromkeys(dedicated, every)
        return {**of_all, **self.requirements.tenant_p99_seconds}

    def latencies(self, option: FleetOption, dedicated_tier: str) -> tuple[TierLatency, ...]:
        """Call times of the shared tier and, if anybody has an endpoint, of the dedicated ones together."""
        dedicated = frozenset(option.dedicated)
        tail, found = self.tail(dedicated).workload, []
        if len(tail.tenants):
            p99 = container_p99(self.profile, tail.model_mb, tail.calls_per_day)
            times = self.tail_times(option)
            found.append(tier_latency(self.config.default_tier, times, p99, self._outside(times)))
        own = self._own(dedicated)
        if own.any():
            sizes, calls = self.workload.model_mb[own], self.workload.calls_per_day[own]
            times = always_in_memory(self.profile, sizes, calls, self.network)
            inside, limit = container_times(self.profile, sizes, calls), self.requirements.whale_p99_seconds
            outside = None if limit is None else inside.outside(warm_seconds=limit, cold_seconds=limit)
            found.append(tier_latency(dedicated_tier, times, inside.percentile(99), outside))
        return tuple(found)

    def _outside(self, times: Latency) -> float | None:
        """Of the calls to the shared tier, those slower than what is required; None where nothing is."""
        warm, cold = self.requirements.warm_p95_seconds, self.requirements.cold_p95_seconds
        if warm is None and cold is None:
            return None
        return times.outside(
            warm_seconds=math.inf if warm is None else warm, cold_seconds=math.inf if cold is None else cold
        )

    def on_tail(self, instance_type: str, instances: int, dedicated: frozenset[str]) -> dict[str, TailShare]:
        """How the shared tier would treat each tenant with a required p99, as far as it is there."""
        tail, (resident, _) = self.tail(dedicated), self.sizes(dedicated)
        wanted = [name for name in self.requirements.tenant_p99_seconds if name in tail.workload.tenants]
        if not wanted:
            return {}
        hits = tail.tenant_hit_ratios(resident, self.memory_mib(instance_type), instances)
        found = {}
        for name in wanted:
            index = tail.workload.tenants.index(name)
            size = tail.workload.model_mb[index : index + 1]
            found[name] = TailShare(
                load_share=1 - float(hits[index]),
                warm_p99_seconds=container_p99(self.profile, size, np.ones(1)),
                load_seconds=self.profile.load_seconds(float(size[0])),
            )
        return found

    def tail_times(self, option: FleetOption) -> Latency:
        """Of the shared tier: over the counted part of the trace, call by call; from rates, in its busiest hour."""
        dedicated = frozenset(option.dedicated)
        tail = self.tail(dedicated).workload
        if tail.requests is None:
            return self._times_by_rates(option)
        events = self._load_events(tail.requests, option.instance_type, option.instances, dedicated, option.placement)
        calls = tail.calls_per_day if tail.calls_per_day.any() else None
        vcpus = describe(option.instance_type).vcpus
        return latency_of_events(self.profile, tail.model_mb, events, vcpus=vcpus, network=self.network, weights=calls)

    def _times_by_rates(self, option: FleetOption) -> Latency:
        tail = self.tail(frozenset(option.dedicated)).workload
        if not len(tail.tenants):
            return always_in_memory(self.profile, np.ones(1), np.ones(1), self.network)
        return latency(
            self.profile,
            tail.model_mb,
            Shares(option.hit_ratio, option.disk_share, option.cold_share),
            vcpus=describe(option.instance_type).vcpus,
            loads_per_second=tail.peak_together_per_second * (1 - option.hit_ratio) / option.instances,
            network=self.network,
            weights=tail.calls_per_day if tail.calls_per_day.any() else None,
            load_weights=self._load_weights(option),
        )

    def too_slow_without_waits(self, option: FleetOption) -> bool:
        """Whether loads alone take longer than is required, so that nothing about waits can help."""
        limit, tail = self.requirements.cold_p95_seconds, self.tail(frozenset(option.dedicated)).workload
        return limit is not None and self.profile.load_seconds(float(tail.model_mb.min(initial=math.inf))) > limit

    def burst_seconds(self, option: FleetOption) -> float:
        """How long the last call waits if every tenant of the shared tier calls at once and nothing is in memory.

        An upper bound for any burst of one call a tenant: the loads of the instance that has most to load, one after
        the other in its places, behind the slowest fetch (its 95th percentile).
        """
        dedicated = frozenset(option.dedicated)
        cache = self.tail(dedicated)
        if not len(cache.workload.tenants):
            return 0.0
        vcpus = describe(option.instance_type).vcpus
        steps = load_steps(self.profile, cache.workload.model_mb, vcpus=vcpus, network=self.network)
        slow = np.percentile(steps.first_byte, 95) + steps.fetch * np.percentile(steps.slowdown, 95) + steps.extract
        each = np.bincount(cache.instance_of(option.instances), weights=steps.load)
        # List scheduling ends at most one load after an even split (Graham 1969).
        return float(slow.max() + each.max() / steps.loads_at_once + steps.load.max())

    def _load_events(
        self, requests: Requests, instance_type: str, instances: int, dedicated: frozenset[str], placement: int
    ) -> LoadEvents:
        key = (instance_type, instances, dedicated, placement)
        if key not in self._events:
            tail, (resident, on_disk) = self.tail(dedicated).workload, self.sizes(dedicated)
            vcpus = describe(instance_type).vcpus
            self._events[key] = simulate_loads(
                requests,
                resident,
                CacheFleet(
                    memory_mib=max(self.memory_mib(instance_type), 1e-6),
                    disk_mib=self._disk_room_mib(instance_type),
                    instances=instances,
                ),
                load_steps(self.profile, tail.model_mb, vcpus=vcpus, network=self.network),
                on_disk_mib=on_disk,
                instance_of=self.tail(dedicated).instance_of(instances, placement),
                # Nothing of a few tenants may be left to count; then all of it counts.
                counted_from_seconds=min(tail.counted_from_seconds, float(requests.seconds[-1])),
            )
        return self._events[key]

    def _load_weights(self, option: FleetOption) -> Array | None:
        """Who loads; None where it does not matter or nobody does, as far as the approximation tells."""
        dedicated = frozenset(option.dedicated)
        tail, (resident, _) = self.tail(dedicated), self.sizes(dedicated)
        if (resident == resident[0]).all():
            return None
        loads = tail.loads_per_day(resident, self.memory_mib(option.instance_type), option.instances)
        return loads if loads.any() else None

    def _own(self, dedicated: frozenset[str]) -> NDArray[np.bool_]:
        return np.array([name in dedicated for name in self.workload.tenants], np.bool_)

    def _disk_room_mib(self, instance_type: str) -> float:
        tail = proposed_tail(self.config.multi_model_tiers[self.config.default_tier], instance_type, 1)
        return 0.0 if tail.volume_size_in_gb is None else tail.volume_size_in_gb * 1024 * DISK_SHARE_FOR_MODELS


def _by_size(of: Callable[[float], float], model_mb: Array) -> Array:
    """A function of the size for each model, computed once a size."""
    sizes, index = np.unique(model_mb, return_inverse=True)
    found: Array = np.array([of(float(size)) for size in sizes])[index]
    return found

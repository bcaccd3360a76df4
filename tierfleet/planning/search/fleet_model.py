"""One fleet of one container: hit ratio, cost, call times, and the requirements that it misses.

option = model.evaluate(model.option(instance_type, 3, frozenset({"m01"})))
option.hit_ratio, option.usd, option.cold_p95_seconds, option.failures
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import FleetConfig
from tierfleet.instance_types import InstanceType
from tierfleet.planning.cache.load_events import LoadEvents, simulate_loads
from tierfleet.planning.cache.lru import CacheFleet
from tierfleet.planning.profiles.latency import Latency, Network, Shares, latency, latency_of_events, load_steps
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.call_times import always_in_memory, container_p99, loads_percentile
from tierfleet.planning.search.dedicated_limits import dedicated_failures, shared_failures
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.proposed import instances_for_peak, proposed_tail
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.tail_cache import PLACEMENTS, LevelShares, TailCache
from tierfleet.planning.search.tiering import TailShare
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import dollars, milliseconds, percent, points

Array = NDArray[np.float64]

MIB_PER_MB: Final = 1e6 / 2**20
# Share of a volume that holds models; the file system, the image and logs take the rest. An assumption.
DISK_SHARE_FOR_MODELS: Final = 0.9


@dataclass
class FleetModel:
    """One container's profile under one workload."""

    config: FleetConfig
    workload: Workload
    """Of the tenants on the default tier and on the dedicated tiers."""
    profile: Profile
    prices: OptionPrices
    requirements: Requirements
    network: Network
    tails: dict[frozenset[str], TailCache]
    """Caches of the shared tier by dedicated tenants; models of one workload share them, since a pass is slow."""
    _sizes: dict[frozenset[str], tuple[Array, Array]] = field(default_factory=dict)
    _events: dict[tuple[str, int, frozenset[str], int], LoadEvents] = field(default_factory=dict)
    _failures: dict[frozenset[str], list[str]] = field(default_factory=dict)

    def tail(self, dedicated: frozenset[str]) -> TailCache:
        """The shared tier without the dedicated tenants."""
        if dedicated not in self.tails:
            chosen = np.array([name not in dedicated for name in self.workload.tenants], np.bool_)
            self.tails[dedicated] = TailCache(self.workload.only(chosen))
        return self.tails[dedicated]

    def sizes(self, dedicated: frozenset[str]) -> tuple[Array, Array]:
        """MiB of the shared tier's models in memory, and on disk (the packed artefact and its contents)."""
        if dedicated not in self._sizes:
            model_mb = self.tail(dedicated).workload.model_mb
            packed = _by_size(self.profile.artefact_mb, model_mb)
            self._sizes[dedicated] = (_by_size(self.profile.resident_mib, model_mb), (model_mb + packed) * MIB_PER_MB)
        return self._sizes[dedicated]

    def memory_mib(self, instance_type: InstanceType) -> float:
        """Memory for models on one instance, MiB."""
        return self.profile.model_memory_mib(instance_type.memory_gib)

    def fits(self, instance_type: InstanceType, dedicated: frozenset[str]) -> bool:
        """Whether one instance holds the biggest model."""
        return float(self.sizes(dedicated)[0].max(initial=1.0)) <= self.memory_mib(instance_type)

    def everything_fits(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]) -> bool:
        """Whether no model is ever evicted."""
        return self.tail(dedicated).all_fit(self.sizes(dedicated)[0], self.memory_mib(instance_type), instances)

    def models_in_memory(self, option: FleetOption) -> int:
        """How many models the instances hold in the option's placement; all of them only if none is ever evicted."""
        resident, _ = self.sizes(frozenset(option.dedicated))
        instance_of = self.tail(frozenset(option.dedicated)).instance_of(option.instances, option.placement)
        memory, held = self.memory_mib(option.instance_type), 0
        for instance in range(option.instances):
            sizes = resident[instance_of == instance]
            fits = sizes.sum() <= memory
            # One less than all, at most: by the mean size they might seem to fit.
            held += len(sizes) if fits else min(int(memory / sizes.mean()), len(sizes) - 1)
        return held

    def min_instances(self, instance_type: InstanceType, dedicated: frozenset[str]) -> int:
        """Instances that the calls of the busiest hour need, whatever the hit ratio."""
        tier = proposed_tail(self.config.multi_model_tiers[self.config.default_tier], instance_type, 1)
        return instances_for_peak(tier, self.tail(dedicated).workload.peak_together_per_second)

    def option(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]) -> FleetOption:
        """Hit ratio and cost, in the first placement; `evaluate` adds call times and failures."""
        return self._option(
            instance_type, instances, dedicated, 0, self._shares(instance_type, instances, dedicated, 0)
        )

    def _option(
        self,
        instance_type: InstanceType,
        instances: int,
        dedicated: frozenset[str],
        placement: int,
        shares: LevelShares,
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

    def _shares(
        self, instance_type: InstanceType, instances: int, dedicated: frozenset[str], placement: int
    ) -> LevelShares:
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
        """An evaluated option in its worst placement, with the ranges of its hit ratio and cold p95."""
        tail = self.tail(frozenset(option.dedicated))
        if option.instances == 1 or not len(tail.workload.tenants):
            return option
        each = [option, *(self._elsewhere(option, placement) for placement in range(1, PLACEMENTS))]
        worst = max(each, key=lambda one: (len(one.failures), -round(one.hit_ratio, 3), one.cold_p95_seconds or 0.0))
        ratios = [one.hit_ratio for one in each]
        cold = [one.cold_p95_seconds for one in each if one.cold_p95_seconds is not None]
        return replace(
            worst,
            hit_ratio_range=(min(ratios), max(ratios)),
            cold_p95_range=(min(cold), max(cold)) if len(cold) == len(each) else None,
        )

    def _elsewhere(self, option: FleetOption, placement: int) -> FleetOption:
        """The option, evaluated in another placement."""
        fleet = option.instance_type, option.instances, frozenset(option.dedicated)
        followed = self.tail(frozenset(option.dedicated)).workload.followed
        if followed is None:
            shares = self._shares(*fleet, placement)
        else:
            met = self._load_events(followed, *fleet, placement).shares
            shares = LevelShares(met.warm + met.waiting, met.disk, met.cold)
        return self.evaluate(self._option(*fleet, placement, shares))

    def evaluate(self, option: FleetOption, *, call_by_call: bool = True) -> FleetOption:
        """The same option with its call times and failures.

        call_by_call: True simulates each call of a trace; False estimates from rates, which takes no time.
        """
        required, failures = self.requirements, []
        times = self.tail_times(option) if call_by_call else self._times_by_rates(option)
        warm, cold = float(np.percentile(times.warm, 95)), loads_percentile(times, 95)
        busy = times.load_wait.utilisation
        if required.min_hit_ratio is not None and option.hit_ratio < required.min_hit_ratio:
            failures.append(f"hit ratio {points(option.hit_ratio)}, required {points(required.min_hit_ratio)}")
        if required.warm_p95_seconds is not None and warm > required.warm_p95_seconds:
            failures.append(f"warm p95 {milliseconds(warm)}, required {milliseconds(required.warm_p95_seconds)}")
        # The queue of loads grows without end then, so a percentile of the wait means nothing.
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
        """The same for every size of the shared tier, so computed once."""
        if dedicated not in self._failures:
            self._failures[dedicated] = dedicated_failures(
                self.config, self.workload, self.profile, self.requirements, self.prices.new_tier, dedicated
            )
        return self._failures[dedicated]

    def busier(self, factor: float) -> "FleetModel":
        """The same fleet with the same calls in a shorter time."""
        tails = {dedicated: tail.busier(factor) for dedicated, tail in self.tails.items()}
        return replace(self, workload=self.workload.busier(factor), tails=tails, _sizes={}, _events={}, _failures={})

    def with_workload(self, workload: Workload) -> "FleetModel":
        """The same fleet with other traffic."""
        return replace(self, workload=workload, tails={}, _sizes={}, _events={}, _failures={})

    def on_tail(self, instance_type: InstanceType, instances: int, dedicated: frozenset[str]) -> dict[str, TailShare]:
        """How the shared tier treats each tenant with a required p99 that is on it."""
        tail, (resident, _) = self.tail(dedicated), self.sizes(dedicated)
        wanted = [name for name in self.requirements.tenant_p99_seconds if name in tail.workload.tenants]
        if not wanted:
            return {}
        hits = tail.tenant_hit_ratios(resident, self.memory_mib(instance_type), instances)
        shares = {}
        for name in wanted:
            index = tail.workload.tenants.index(name)
            size = tail.workload.model_mb[index : index + 1]
            shares[name] = TailShare(
                load_share=1 - float(hits[index]),
                warm_p99_seconds=container_p99(self.profile, size, np.ones(1)),
                load_seconds=self.profile.load_seconds(float(size[0])),
            )
        return shares

    def tail_times(self, option: FleetOption) -> Latency:
        """Call times of the shared tier: over the counted part of a trace, or from rates in its busiest hour."""
        dedicated = frozenset(option.dedicated)
        tail = self.tail(dedicated).workload
        if tail.followed is None:
            return self._times_by_rates(option)
        events = self._load_events(tail.followed, option.instance_type, option.instances, dedicated, option.placement)
        calls = tail.calls_per_day if tail.calls_per_day.any() else None
        vcpus = option.instance_type.vcpus
        return latency_of_events(self.profile, tail.model_mb, events, vcpus=vcpus, network=self.network, weights=calls)

    def _times_by_rates(self, option: FleetOption) -> Latency:
        tail = self.tail(frozenset(option.dedicated)).workload
        if not len(tail.tenants):
            return always_in_memory(self.profile, np.ones(1), np.ones(1), self.network)
        return latency(
            self.profile,
            tail.model_mb,
            Shares(option.hit_ratio, option.disk_share, option.cold_share),
            vcpus=option.instance_type.vcpus,
            loads_per_second=tail.peak_together_per_second * (1 - option.hit_ratio) / option.instances,
            network=self.network,
            weights=tail.calls_per_day if tail.calls_per_day.any() else None,
            load_weights=self._load_weights(option),
        )

    def _load_events(
        self,
        followed: tuple[Requests, float],
        instance_type: InstanceType,
        instances: int,
        dedicated: frozenset[str],
        placement: int,
    ) -> LoadEvents:
        key = (instance_type.name, instances, dedicated, placement)
        if key not in self._events:
            tail, (resident, on_disk) = self.tail(dedicated).workload, self.sizes(dedicated)
            requests, counted_from = followed
            self._events[key] = simulate_loads(
                requests,
                resident,
                CacheFleet(
                    memory_mib=max(self.memory_mib(instance_type), 1e-6),
                    disk_mib=self._disk_room_mib(instance_type),
                    instances=instances,
                ),
                load_steps(self.profile, tail.model_mb, vcpus=instance_type.vcpus, network=self.network),
                on_disk_mib=on_disk,
                instance_of=self.tail(dedicated).instance_of(instances, placement),
                counted_from_seconds=counted_from,
            )
        return self._events[key]

    def _load_weights(self, option: FleetOption) -> Array | None:
        """Loads a day of each tenant; None if they have no effect or Che's approximation expects none."""
        dedicated = frozenset(option.dedicated)
        tail, (resident, _) = self.tail(dedicated), self.sizes(dedicated)
        if (resident == resident[0]).all():
            return None
        loads = tail.loads_per_day(resident, self.memory_mib(option.instance_type), option.instances)
        return loads if loads.any() else None

    def _disk_room_mib(self, instance_type: InstanceType) -> float:
        tail = proposed_tail(self.config.multi_model_tiers[self.config.default_tier], instance_type, 1)
        return 0.0 if tail.volume_size_in_gb is None else tail.volume_size_in_gb * 1024 * DISK_SHARE_FOR_MODELS


def _by_size(of: Callable[[float], float], model_mb: Array) -> Array:
    """A function of the size for each model, computed once for each size."""
    sizes, index = np.unique(model_mb, return_inverse=True)
    values: Array = np.array([of(float(size)) for size in sizes])[index]
    return values

"""What the ways to host a fleet are computed from: bills, memory, call times and pauses between calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import DedicatedTenant, DedicatedTier, FleetConfig
from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.cost.items import DAYS_PER_MONTH
from tierfleet.cost.monthly_cost import FleetCost, monthly_cost
from tierfleet.cost.prices import PriceTable
from tierfleet.cost.usage import Traffic, Usage
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.reference_fleets.fleets import ReferenceFleet
from tierfleet.planning.request import ResolvedRequest
from tierfleet.planning.search.call_times import always_in_memory
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.proposed import new_dedicated_tier

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
    """One fleet with its planner, its prices and its container, and what every way to host it is computed from."""

    fleet: ReferenceFleet
    prices: PriceTable
    profiles: Mapping[str, Profile]
    own: str
    resolved: ResolvedRequest

    @property
    def config(self) -> FleetConfig:
        return self.fleet.config

    @property
    def profile(self) -> Profile:
        return self.profiles[self.own]

    @property
    def model(self) -> FleetModel:
        return self.resolved.models[self.own]

    @property
    def tenants(self) -> tuple[str, ...]:
        return self.fleet.workload.tenants

    @property
    def dedicated_tier(self) -> DedicatedTier:
        """The fleet's own dedicated tier, or the one that a plan proposes."""
        return next(iter(self.config.dedicated_tiers.values()), new_dedicated_tier(1000.0))

    def cost_of(self, groups: Mapping[str, Sequence[str]], tier: DedicatedTier) -> FleetCost:
        """The fleet with an endpoint for each group, and none that is shared."""
        pins = {name: DedicatedTenant.model_construct(model=f"{name}/1.tar.gz") for name in groups}
        return self.cost(tier.model_copy(update={"tenants": pins}), self.usage(groups))

    def cost(self, tier: DedicatedTier | ServerlessTier, usage: Usage) -> FleetCost:
        tail = self.config.default_tier
        tiers = {tail: self.config.tiers[tail], "own": tier}
        cost = monthly_cost(self.config.model_copy(update={"tiers": tiers}), self.prices, usage)
        return replace(cost, lines=tuple(line for line in cost.lines if line.tier != tail))

    def usage(self, groups: Mapping[str, Sequence[str]]) -> Usage:
        hours = self.fleet.workload.traffic()
        sizes = self.fleet.workload.model_mb
        packed = float(np.mean([self.profile.artefact_mb(float(size)) for size in sizes]))
        calls = {name: hours.together(list(tenants)) for name, tenants in groups.items()}
        # The time in the container at the median: what a serverless call is billed for.
        mean_mb = float(np.average(sizes, weights=self.fleet.workload.calls_per_day))
        milliseconds = self.profile.predict_ms(mean_mb).p50
        return Usage(traffic=Traffic(calls), artefact_megabytes=packed, milliseconds_per_call=milliseconds)

    def groups(self, tenants: int) -> dict[str, list[str]]:
        """Groups of so many tenants, each with busy and quiet ones."""
        order = np.argsort(-self.fleet.workload.calls_per_day, kind="stable")
        names = [self.tenants[index] for index in order.tolist()]
        count = -(-len(names) // tenants)
        return {f"g{number}": names[number::count] for number in range(count)}

    def cheapest(
        self, groups: Mapping[str, Sequence[str]], needed_mib: float, profile: Profile | None = None
    ) -> tuple[DedicatedTier, FleetCost]:
        """Of the types that hold so much, the one whose fleet costs least."""
        candidates = []
        for kind in self.resolved.bounds.types:
            memory = kind.memory_gib * 1024 - self.profile.reserve_mib
            if profile is not None:
                memory = profile.model_memory_mib(kind.memory_gib)
            if memory >= needed_mib:
                hour = self.prices.hourly_price(kind.name, self.config.region).usd
                candidates.append((hour, kind.name))
        tiers = [self.dedicated_tier.model_copy(update={"instance_type": name}) for _, name in sorted(candidates)[:3]]
        costs = [(self.cost_of(groups, tier), tier) for tier in tiers]
        cost, tier = min(costs, key=lambda pair: pair[0].usd)
        return tier, cost

    def footprints(self) -> Array:
        """MiB of a container of its own for each tenant."""
        sizes = self.fleet.workload.model_mb
        return np.array([self.profile.fixed_mib + self.profile.resident_mib(float(size)) for size in sizes])

    def containers_mib(self, groups: Mapping[str, Sequence[str]]) -> list[float]:
        """MiB of the containers of each group."""
        footprints = dict(zip(self.tenants, self.footprints().tolist(), strict=True))
        return [float(sum(footprints[tenant] for tenant in tenants)) for tenants in groups.values()]

    def warm_p95(self, profile: Profile) -> float:
        workload = self.fleet.workload
        times = always_in_memory(profile, workload.model_mb, workload.calls_per_day, self.model.network)
        return float(np.percentile(times.warm, 95))

    def fetch_and_load_seconds(self) -> float:
        """Of a mean model on an idle container: first byte, fetch, extraction and load."""
        size = float(self.fleet.workload.model_mb.mean())
        network = self.model.network
        fetch = self.profile.artefact_mb(size) / network.s3_megabytes_per_second * network.s3_slowdown_p95
        return (
            network.s3_first_byte_p95_ms / 1000
            + fetch
            + self.profile.extract_seconds(size)
            + self.profile.load_seconds(size)
        )

    def per_second(self) -> Array:
        """[tenant, period]"""
        return self.fleet.workload.rates.per_second

    def period_share(self) -> Array:
        return self.fleet.workload.rates.period_share

    def idle_share(self, kept_seconds: float) -> float:
        """Share of the calls that come so long after the one before them, as independent calls do."""
        rates = self.per_second()
        calls = rates * self.period_share()
        return float((calls * np.exp(-rates * kept_seconds)).sum() / calls.sum())

    def calls_per_month(self) -> float:
        return float(self.fleet.workload.calls_per_day.sum()) * DAYS_PER_MONTH

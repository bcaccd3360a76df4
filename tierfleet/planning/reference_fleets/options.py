"""One fleet hosted in every way: endpoints, what a month costs, how long calls take.

for option in options(fleet, load_prices(), load_profiles()):
    print(option.name, option.usd, option.warm_p95_seconds)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierfleet.config.hosting.serverless import ServerlessAlarmLimits, ServerlessTenant, ServerlessTier
from tierfleet.cost.ec2_prices import HOSTING_OVER_EC2
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.cost.prices import HOURS_PER_MONTH, PriceTable
from tierfleet.instance_types import InstanceType, describe
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.reference_fleets import assumptions as given
from tierfleet.planning.reference_fleets.basis import Array, Basis
from tierfleet.planning.reference_fleets.fleets import ReferenceFleet
from tierfleet.planning.request import PlanRequest, ResolvedRequest, own_profile, resolve
from tierfleet.planning.search.call_times import always_in_memory
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.proposed import instances_for_peak
from tierfleet.planning.search.requirements import requirements_of
from tierfleet.planning.search.search import Tiering, search
from tierfleet.text import counted


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to host a fleet."""

    name: str
    endpoints: int
    made_of: str
    """What is paid for, such as `2 x ml.r5.large`."""
    usd: float
    """US dollars a month for the whole fleet."""
    warm_p95_seconds: float
    """Of calls whose model is in memory, as callers see them."""
    waiting_share: float = 0.0
    """Share of calls that wait until a model is loaded or a container or instance is started, 0 to 1."""
    waiting_p95_seconds: float | None = None
    """Of those calls; None without such calls."""


def options(fleet: ReferenceFleet, prices: PriceTable, profiles: Mapping[str, Profile]) -> Iterator[Option]:
    """Every way, the file's own first."""
    own = own_profile(fleet.config) or "stock"
    resolved = {
        name: resolve(
            PlanRequest(
                config=fleet.config,
                workload=fleet.workload,
                source=fleet.name,
                days=None,
                requirements=requirements_of(fleet.config),
                prices=prices,
                profiles=profiles,
                profile=name,
            )
        )
        for name in (own, "tierfleet")
    }
    ways = _Ways(fleet, prices, profiles, own, resolved[own])
    yield ways.as_configured()
    shared = ways.best(resolved[own], own)
    yield _shared_option("multi-model", shared)
    yield _shared_option("multi-model, tierfleet server", ways.best(resolved["tierfleet"], "tierfleet"))
    yield ways.own_endpoints("dedicated")
    yield ways.multi_container()
    yield ways.pipeline()
    yield ways.serverless()
    yield ways.asynchronous()
    yield ways.groups_behind_shared_code()
    yield ways.one_shared_model()
    yield ways.inference_components()
    yield ways.eks(shared)


def _shared_option(name: str, best: FleetOption) -> Option:
    return Option(
        name=name,
        endpoints=1 + len(best.dedicated),
        made_of=best.name + (f" + {len(best.dedicated)} dedicated" if best.dedicated else ""),
        usd=best.usd,
        warm_p95_seconds=best.warm_p95_seconds or 0.0,
        waiting_share=1 - best.hit_ratio,
        waiting_p95_seconds=best.cold_p95_seconds,
    )


@dataclass(frozen=True)
class _Ways(Basis):
    """The ways that are no choice of the planner, and the planner's."""

    def as_configured(self) -> Option:
        tail = self.config.multi_model_tiers[self.config.default_tier]
        today = frozenset(tenant for tier in self.config.dedicated_tiers.values() for tenant in tier.tenants)
        option = self.model.option(describe(tail.instance_type), tail.instances.min, today)
        return _shared_option("as its file has it", self.model.evaluate(option, call_by_call=False))

    def best(self, resolved: ResolvedRequest, profile: str) -> FleetOption:
        """The cheapest fleet without dedicated tenants that meets the file's alarm limits, else the nearest."""
        result = search(resolved.models[profile], _none_dedicated(resolved.tiering), resolved.bounds, name="fleet")
        best = result.best or result.nearest
        if best is None:
            raise ValueError(f"no fleet of {profile} was found for {self.fleet.name}")
        return best

    def own_endpoints(self, name: str, extra_seconds: float = 0.0) -> Option:
        """An endpoint for each tenant."""
        tier = self.dedicated_tier
        cost = self.cost_of({tenant: [tenant] for tenant in self.tenants}, tier)
        return Option(
            name=name,
            endpoints=len(self.tenants),
            made_of=_made_of(cost, tier.instance_type),
            usd=cost.usd,
            warm_p95_seconds=self.warm_p95(self.profile) + extra_seconds,
        )

    def multi_container(self) -> Option:
        """15 tenants an endpoint, a container each."""
        groups = self.groups(given.CONTAINERS_PER_ENDPOINT)
        needed = self.containers_mib(groups)
        tier, cost = self.cheapest(groups, max(needed))
        return Option(
            name=f"multi-container, {given.CONTAINERS_PER_ENDPOINT} models each",
            endpoints=len(groups),
            made_of=_made_of(cost, tier.instance_type),
            usd=cost.usd,
            warm_p95_seconds=self.warm_p95(self.profile),
        )

    def pipeline(self) -> Option:
        """A stage before the model, on the same instances."""
        smallest = self.profile.predict_ms(min(size for size, _ in self.profile.predict))
        return self.own_endpoints("pipeline", smallest.p95 / 1000)

    def serverless(self) -> Option:
        """An endpoint without instances for each tenant; pays for the seconds of calls."""
        tier = ServerlessTier(
            hosting="serverless",
            memory_size_in_mb=given.SERVERLESS_MEMORY_MB,
            max_concurrency=10,
            tenants={tenant: ServerlessTenant.model_construct(model=f"{tenant}/1.tar.gz") for tenant in self.tenants},
            alarms=ServerlessAlarmLimits(max_model_latency_p99_milliseconds=1000),
        )
        cost = self.cost(tier, self.usage({tenant: [tenant] for tenant in self.tenants}))
        waiting = given.SERVERLESS_START_SECONDS + self.fetch_and_load_seconds()
        return Option(
            name="serverless",
            endpoints=len(self.tenants),
            made_of=f"{self.calls_per_month():,.0f} calls a month",
            usd=cost.usd,
            warm_p95_seconds=self.warm_p95(self.profile),
            waiting_share=self.idle_share(given.SERVERLESS_KEPT_SECONDS),
            waiting_p95_seconds=waiting,
        )

    def asynchronous(self) -> Option:
        """An endpoint for each tenant that sleeps without instances between calls."""
        tier = self.dedicated_tier
        kept = given.ASYNC_AWAKE_SECONDS + given.ASYNC_WAKE_SECONDS
        awake = float((1 - np.exp(-self.per_second() * kept) @ self.period_share()).sum())
        cost = self.cost_of({tenant: [tenant] for tenant in self.tenants}, tier)
        hour = self.prices.hourly_price(tier.instance_type, self.config.region).usd
        return Option(
            name="async",
            endpoints=len(self.tenants),
            made_of=f"{awake:,.0f} x {tier.instance_type} awake",
            usd=_without_instances(cost) + awake * hour * HOURS_PER_MONTH,
            warm_p95_seconds=self.warm_p95(self.profile),
            waiting_share=self.idle_share(kept),
            waiting_p95_seconds=given.ASYNC_WAKE_SECONDS + self.fetch_and_load_seconds(),
        )

    def groups_behind_shared_code(self) -> Option:
        """An endpoint for 100 tenants, whose models one process holds."""
        groups, profile = self.groups(given.GROUP_TENANTS), self.profiles["booster"]
        sizes = dict(zip(self.tenants, self.fleet.workload.model_mb.tolist(), strict=True))
        needed = [sum(profile.resident_mib(sizes[tenant]) for tenant in tenants) for tenants in groups.values()]
        tier, cost = self.cheapest(groups, max(needed), profile)
        return Option(
            name=f"{counted(len(groups), 'group')} of {_most(groups)}, shared code",
            endpoints=len(groups),
            made_of=_made_of(cost, tier.instance_type),
            usd=cost.usd,
            warm_p95_seconds=self.warm_p95(profile),
        )

    def one_shared_model(self) -> Option:
        """One model for every tenant."""
        tier = self.dedicated_tier
        cost = self.cost_of({"all": list(self.tenants)}, tier)
        largest = self.fleet.workload.model_mb.max(keepdims=True)
        times = always_in_memory(self.profile, largest, np.ones(1), self.model.network)
        return Option(
            name="one shared model",
            endpoints=1,
            made_of=_made_of(cost, tier.instance_type),
            usd=cost.usd,
            warm_p95_seconds=float(np.percentile(times.warm, 95)),
        )

    def inference_components(self) -> Option:
        """One endpoint, on whose instances each tenant has a copy of the container with its model."""
        each = np.maximum(self.footprints(), given.COMPONENT_MIB)
        peak = self.fleet.workload.peak_together_per_second
        best: tuple[float, InstanceType, int] | None = None
        for kind in self.resolved.bounds.types:
            memory = max(kind.memory_gib * 1024 - self.profile.reserve_mib, 0.0)
            if memory < each.max():
                continue
            fitting = _packed(each, memory)
            tier = self.dedicated_tier.model_copy(update={"instance_type": kind.name})
            count = max(fitting, instances_for_peak(tier, peak), 2)
            usd = count * self.prices.hourly_price(kind.name, self.config.region).usd * HOURS_PER_MONTH
            if best is None or usd < best[0]:
                best = (usd, kind, count)
        if best is None:
            raise ValueError("no instance type holds one inference component")
        usd, kind, count = best
        return Option(
            name="inference components",
            endpoints=1,
            made_of=f"{count} x {kind.name}",
            usd=usd,
            warm_p95_seconds=self.warm_p95(self.profile),
        )

    def eks(self, shared: FleetOption) -> Option:
        """The instances of the multi-model fleet, rented from EC2."""
        hosted = self.model.prices.cost(shared.instance_type, shared.instances, frozenset(), shared.cold_share)
        by_item: dict[str, float] = {}
        for line in hosted.lines:
            by_item[line.item] = by_item.get(line.item, 0.0) + line.usd
        fixed = given.EKS_CLUSTER_USD_PER_HOUR + given.EKS_BALANCER_USD_PER_HOUR
        usd = by_item["instances"] / float(HOSTING_OVER_EC2)
        usd += by_item.get("volumes", 0.0) * given.EBS_OVER_HOSTING + fixed * HOURS_PER_MONTH
        return replace(
            _shared_option("self-hosted on EKS", shared),
            endpoints=1,
            made_of=f"{shared.instances} x {shared.instance_type.name.removeprefix('ml.')} + cluster",
            usd=usd,
        )


def _most(groups: Mapping[str, Sequence[str]]) -> int:
    return max(map(len, groups.values()))


def _none_dedicated(tiering: Tiering) -> Tiering:
    fixed = tuple(replace(tier, dedicated=False) for tier in tiering.assigned)
    return replace(
        tiering,
        assigned=fixed,
        keep=frozenset(tier.tenant for tier in fixed),
        dedicated_without_traffic=frozenset(),
    )


def _made_of(cost: FleetCost, instance_type: str) -> str:
    count = sum(float(line.detail.split(" ")[0]) for line in cost.lines if line.item == "instances")
    return f"{count:,.0f} x {instance_type}"


def _without_instances(cost: FleetCost) -> float:
    return sum(line.usd for line in cost.lines if line.item != "instances")


def _packed(each: Array, memory: float) -> int:
    """Instances that hold all components, the largest first."""
    room: list[float] = []
    for size in np.sort(each)[::-1].tolist():
        place = next((index for index, left in enumerate(room) if left >= size), None)
        if place is None:
            room.append(memory - size)
        else:
            room[place] -= size
    return len(room)

"""Find the cheapest fleet that meets the requirements: every priced type, every count, exhaustive but pruned.

result = search(model, tiering, Bounds(types=types, min_instances=2, max_instances=20))
result.best           # a FleetOption, or None
result.nearest        # without a best one: the option that misses the requirements by least

Pruned without evaluation: counts that the calls of the busiest hour outgrow; types whose memory cannot hold the biggest
model; more instances of a type once every model fits; options above three times the budget; and options that cost no
less than another with as much memory and as many vCPUs in no more instances. (Under model affinity each instance caches
its own tenants, so the same memory in fewer pieces hits as much or more.) Call times are computed by rising cost, only
until the answer is known. A fleet meets the requirements only if it does so in every placement of the tenants on the
instances. Of fleets within 2 % of the cheapest, the one with the highest hit ratio wins, then the one with the fewest
instances.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tierfleet.instance_types import InstanceType
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.tiering import TenantTier, promoted_for_p99

_MAX_MULTIPLE_OF_BUDGET: Final = 3.0
# Fleets whose prices differ by less than this share count as equally cheap: the better service wins.
_TIE: Final = 0.02
# How many failing options get rough call times to find the nearest one.
_NEAREST_ESTIMATED: Final = 40
# How many of those are then simulated call by call, which takes a pass over the trace each.
_NEAREST_SIMULATED: Final = 3

# Called with the phase, how many steps are done, and how many there are; with 0 of them: how many more are done.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the search may choose for the shared tier."""

    types: tuple[InstanceType, ...]
    """Each has a price."""
    min_instances: int
    max_instances: int


@dataclass(frozen=True, kw_only=True)
class Tiering:
    """The tier of each tenant by its traffic, and which tenants may move where a required p99 is missed."""

    assigned: tuple[TenantTier, ...]
    dedicated_today: frozenset[str]
    keep: frozenset[str]
    """Tenants that stay on their tier."""
    dedicated_without_traffic: frozenset[str]
    """Tenants with a dedicated endpoint that the traffic does not name; they keep it."""
    band: float
    """Hysteresis of a demotion, 0 to 1; see TieringRules."""

    @property
    def dedicated(self) -> frozenset[str]:
        """Dedicated tenants by traffic alone."""
        return frozenset(tier.tenant for tier in self.assigned if tier.dedicated) | self.dedicated_without_traffic

    def for_size(self, model: FleetModel, instance_type: InstanceType, instances: int) -> tuple[TenantTier, ...]:
        """With the tenants promoted whose required p99 a shared tier of this size misses."""
        required = model.requirements.tenant_p99_seconds
        if not required:
            return self.assigned
        on_tail = model.on_tail(instance_type, instances, self.dedicated)
        return promoted_for_p99(
            self.assigned, required, on_tail, band=self.band, dedicated_today=self.dedicated_today, keep=self.keep
        )

    def dedicated_for_size(self, model: FleetModel, instance_type: InstanceType, instances: int) -> frozenset[str]:
        """All dedicated tenants next to a shared tier of this size."""
        assigned = self.for_size(model, instance_type, instances)
        return frozenset(tier.tenant for tier in assigned if tier.dedicated) | self.dedicated_without_traffic


@dataclass(frozen=True)
class _Size:
    instance_type: InstanceType
    instances: int
    usd: float
    memory_mib: float
    vcpus: int


@dataclass(frozen=True)
class SearchResult:
    """The outcome for one container."""

    best: FleetOption | None
    """The cheapest fleet that meets the requirements, or nearly as cheap with better service."""
    nearest: FleetOption | None
    """Without a best one: the option that misses the requirements by least."""
    runner_up: FleetOption | None
    """The next cheapest that meets the requirements."""
    cheaper: FleetOption | None
    """Of the cheaper options, which all miss a requirement, the one with the highest hit ratio."""
    possible: int
    """How many options there are within the bounds."""
    options: tuple[FleetOption, ...]
    """The options that were not pruned, by rising cost."""
    front: tuple[FleetOption, ...]
    """The options that no other beats in both cost and hit ratio."""


def search(
    model: FleetModel,
    tiering: Tiering,
    bounds: Bounds,
    *,
    name: str = "fleets",
    progress: Progress = lambda *_: None,
) -> SearchResult:
    """Search the options of one container. name: of the search, for `progress`."""
    sizes = [size for instance_type in bounds.types for size in _of_type(model, tiering, bounds, instance_type)]
    candidates = _undominated(sizes)
    options: list[FleetOption] = []
    for done, size in enumerate(candidates, 1):
        dedicated = tiering.dedicated_for_size(model, size.instance_type, size.instances)
        if model.fits(size.instance_type, dedicated):
            options.append(model.option(size.instance_type, size.instances, dedicated))
        progress(name, done, len(candidates))
    options.sort(key=lambda option: (option.usd, -option.hit_ratio))

    def simulated() -> None:
        progress(f"{name}: call times", 1, 0)

    best, runner_up, failing = _cheapest(model, options, simulated)
    affordable = [
        option for option in options if model.requirements.usd is None or option.usd <= model.requirements.usd
    ]
    nearest = None if best else _nearest(model, affordable or options, simulated)
    cheaper = failing if best is not None else None
    return SearchResult(best, nearest, runner_up, cheaper, len(sizes), tuple(options), pareto_front(options))


def pareto_front(options: Collection[FleetOption]) -> tuple[FleetOption, ...]:
    """The options whose hit ratio no cheaper option reaches, by rising cost."""
    front: list[FleetOption] = []
    for option in sorted(options, key=lambda option: (option.usd, -option.hit_ratio)):
        if not front or option.hit_ratio > front[-1].hit_ratio + 1e-9:
            front.append(option)
    return tuple(front)


def _of_type(model: FleetModel, tiering: Tiering, bounds: Bounds, instance_type: InstanceType) -> Iterator[_Size]:
    """Every count of one type that can be worth its price."""
    limit, dedicated = model.requirements.usd, tiering.dedicated
    if not model.fits(instance_type, dedicated):
        return
    first = max(bounds.min_instances, model.min_instances(instance_type, dedicated))
    for instances in range(first, max(bounds.max_instances, first) + 1):
        usd = model.prices.usd(instance_type, instances, dedicated, 0.0)
        if limit is not None and usd > limit * _MAX_MULTIPLE_OF_BUDGET and instances > first:
            return
        memory = model.memory_mib(instance_type) * instances
        yield _Size(instance_type, instances, usd, memory, instance_type.vcpus * instances)
        if not model.requirements.tenant_p99_seconds and model.everything_fits(instance_type, instances, dedicated):
            return


def _undominated(sizes: list[_Size]) -> list[_Size]:
    """By rising cost, without the sizes that another one beats or equals in every respect."""
    kept: list[_Size] = []
    for size in sorted(sizes, key=lambda size: (size.usd, -size.memory_mib, size.instances, size.instance_type.name)):
        if not any(
            other.memory_mib >= size.memory_mib and other.vcpus >= size.vcpus and other.instances <= size.instances
            for other in kept
        ):
            kept.append(size)
    return kept


def _cheapest(
    model: FleetModel, options: list[FleetOption], simulated: Callable[[], None] = lambda: None
) -> tuple[FleetOption | None, FleetOption | None, FleetOption | None]:
    """The best option, the next one that meets the requirements, and the cheaper one with the highest hit ratio."""
    met: list[FleetOption] = []
    failing: list[FleetOption] = []
    required = model.requirements
    for option in options:
        if required.usd is not None and option.usd > required.usd:
            break
        if len(met) > 1 and option.usd > _tie_limit(met[0]):
            break
        # Before the call times: the hit ratio is known, and call times take a pass over the trace.
        if required.min_hit_ratio is not None and option.hit_ratio < required.min_hit_ratio:
            if not met:
                failing.append(option)
            continue
        evaluated = model.evaluate(option, call_by_call=not _load_is_too_slow(model, option))
        if evaluated.meets:
            evaluated = model.in_every_placement(evaluated)
        simulated()
        if evaluated.meets:
            met.append(evaluated)
        elif not met:
            failing.append(evaluated)
    tied = [option for option in met if option.usd <= _tie_limit(met[0])]
    best = min(tied, key=_service, default=None)
    runner_up = next((option for option in met if option is not best), None)
    closest = max(failing, key=lambda option: option.hit_ratio, default=None)
    if closest is not None and closest.hit_ratio_range is None:
        closest = model.evaluate(closest)
    return best, runner_up, closest


def _load_is_too_slow(model: FleetModel, option: FleetOption) -> bool:
    """Whether a load alone takes longer than required, so that a simulation of waits cannot change the answer."""
    limit, tail = model.requirements.cold_p95_seconds, model.tail(frozenset(option.dedicated)).workload
    return limit is not None and model.profile.load_seconds(float(tail.model_mb.min(initial=math.inf))) > limit


def _tie_limit(option: FleetOption) -> float:
    """US dollars up to which another fleet counts as equally cheap."""
    return option.usd * (1 + _TIE)


def _service(option: FleetOption) -> tuple[float, int, float]:
    """Sorts the best service first: hit ratio to a tenth of a point, then fewer instances, then the price."""
    return (-round(option.hit_ratio, 3), option.instances, option.usd)


def _nearest(model: FleetModel, options: list[FleetOption], simulated: Callable[[], None]) -> FleetOption | None:
    """The option that misses the fewest requirements, and among those the one with the smallest excess."""
    likely = sorted(options, key=lambda option: -option.hit_ratio)[:_NEAREST_ESTIMATED]

    def far(option: FleetOption) -> tuple[int, float, float]:
        return len(option.failures), distance(model, option), option.usd

    estimated = sorted((model.evaluate(option, call_by_call=False) for option in likely), key=far)
    nearest = []
    for option in estimated[:_NEAREST_SIMULATED]:
        nearest.append(model.evaluate(option))
        simulated()
    return min(nearest, key=far, default=None)


def distance(model: FleetModel, option: FleetOption) -> float:
    """How far an option is from the requirements: the sum of the relative excesses, from 0."""
    required, total = model.requirements, 0.0
    if required.min_hit_ratio is not None:
        # Relative to the loads that are allowed.
        total += max((1 - option.hit_ratio) / max(1 - required.min_hit_ratio, 1e-3) - 1, 0.0)
    for limit, value in (
        (required.warm_p95_seconds, option.warm_p95_seconds),
        (required.cold_p95_seconds, option.cold_p95_seconds),
        (required.usd, option.usd),
    ):
        if limit is not None and value is not None:
            total += max(value / limit - 1, 0.0)
    return total

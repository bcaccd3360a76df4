"""The cheapest fleet that meets what is required: every type with a price, every count, exhaustive but pruned.

Cut off without a look: counts that the calls of the busiest hour outgrow; types whose memory cannot hold the biggest
model; more instances of a type once every model has its room; what costs more than three times the budget; and what
costs no less than another option that has as much memory and as many vCPUs in no more instances. (Under affinity each
instance caches its own tenants, so the same memory in fewer pieces hits as much or more.) Call times are computed in
rising order of cost, only until the answer is known; what meets everything must do so in every placement of the tenants
on the instances. Of fleets that cost within 2 % of the cheapest the one with the
highest hit ratio is the answer, then the one with the fewest instances.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tierfleet.instance_types import describe
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.plan import FleetOption
from tierfleet.planning.search.tiering import TenantTier, promoted_for_p99

_MOST_OF_BUDGET: Final = 3.0
# Of fleets whose prices differ by less than this share the one with the better service is chosen.
_HARDLY_MORE: Final = 0.02
# How many options that do not meet everything are timed to find the nearest.
_NEAREST_LOOKED_AT: Final = 40
# And of how many of those each call is followed, which takes a pass over the trace.
_NEAREST_FOLLOWED: Final = 3

Step = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the search may choose. types: with a price; least, most: instances of the shared tier."""

    types: tuple[str, ...]
    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Tiering:
    """The tier of each tenant by its traffic, and what may change it where a required p99 breaks.

    anyway: tenants with an endpoint of their own that the traffic does not name.
    """

    assigned: tuple[TenantTier, ...]
    now: frozenset[str]
    keep: frozenset[str]
    anyway: frozenset[str]
    band: float

    @property
    def dedicated(self) -> frozenset[str]:
        """By traffic alone."""
        return frozenset(tier.tenant for tier in self.assigned if tier.dedicated) | self.anyway

    def beside(self, model: FleetModel, instance_type: str, instances: int) -> tuple[TenantTier, ...]:
        """With those promoted whose p99 a shared tier of this size breaks."""
        required = model.requirements.tenant_p99_seconds
        if not required:
            return self.assigned
        on_tail = model.on_tail(instance_type, instances, self.dedicated)
        return promoted_for_p99(
            self.assigned, required, on_tail, band=self.band, dedicated_now=self.now, keep=self.keep
        )


@dataclass(frozen=True)
class _Size:
    instance_type: str
    instances: int
    usd: float
    memory_mib: float
    vcpus: int


@dataclass(frozen=True)
class Found:
    """The outcome. possible: how many options there are; options: those that were looked at, in rising cost.

    front: those that no other option beats in both cost and hit ratio.
    """

    best: FleetOption | None
    nearest: FleetOption | None
    runner_up: FleetOption | None
    cheaper: FleetOption | None
    possible: int
    options: tuple[FleetOption, ...]
    front: tuple[FleetOption, ...]


def search(
    model: FleetModel, tiering: Tiering, bounds: Bounds, *, total: Step | None = None, step: Step | None = None
) -> Found:
    """Look at the options of one container. total: told how many they are; step: called with 1 after each."""
    sizes = [size for name in bounds.types for size in _of_type(model, tiering, bounds, name)]
    looked_at = _undominated(sizes)
    if total is not None:
        total(len(looked_at))
    options: list[FleetOption] = []
    for size in looked_at:
        dedicated = _dedicated_beside(model, tiering, size.instance_type, size.instances)
        if model.fits(size.instance_type, dedicated):
            options.append(model.option(size.instance_type, size.instances, dedicated))
        if step is not None:
            step(1)
    options.sort(key=lambda option: (option.usd, -option.hit_ratio))
    best, runner_up, failing = _cheapest(model, options)
    affordable = [
        option for option in options if model.requirements.usd is None or option.usd <= model.requirements.usd
    ]
    nearest = None if best else _nearest(model, affordable or options)
    cheaper = failing if best is not None else None
    return Found(best, nearest, runner_up, cheaper, len(sizes), tuple(options), pareto_front(options))


def pareto_front(options: Collection[FleetOption]) -> tuple[FleetOption, ...]:
    """Those that no cheaper option equals in hit ratio, in rising cost."""
    front: list[FleetOption] = []
    for option in sorted(options, key=lambda option: (option.usd, -option.hit_ratio)):
        if not front or option.hit_ratio > front[-1].hit_ratio + 1e-9:
            front.append(option)
    return tuple(front)


def _of_type(model: FleetModel, tiering: Tiering, bounds: Bounds, instance_type: str) -> Iterator[_Size]:
    """Every count of one type that is worth a thought."""
    limit, dedicated = model.requirements.usd, tiering.dedicated
    if not model.fits(instance_type, dedicated):
        return
    about = describe(instance_type)
    first = max(bounds.least, model.least_instances(instance_type, dedicated))
    for instances in range(first, max(bounds.most, first) + 1):
        usd = model.prices.usd(instance_type, instances, dedicated, 0.0)
        if limit is not None and usd > limit * _MOST_OF_BUDGET and instances > first:
            return
        memory = model.memory_mib(instance_type) * instances
        yield _Size(instance_type, instances, usd, memory, about.vcpus * instances)
        if not model.requirements.tenant_p99_seconds and model.everything_fits(instance_type, instances, dedicated):
            return


def _undominated(sizes: list[_Size]) -> list[_Size]:
    """In rising cost, without those that another beats or equals in every respect."""
    kept: list[_Size] = []
    for size in sorted(sizes, key=lambda size: (size.usd, -size.memory_mib, size.instances, size.instance_type)):
        if not any(
            other.memory_mib >= size.memory_mib and other.vcpus >= size.vcpus and other.instances <= size.instances
            for other in kept
        ):
            kept.append(size)
    return kept


def _dedicated_beside(model: FleetModel, tiering: Tiering, instance_type: str, instances: int) -> frozenset[str]:
    assigned = tiering.beside(model, instance_type, instances)
    return frozenset(tier.tenant for tier in assigned if tier.dedicated) | tiering.anyway


def _cheapest(
    model: FleetModel, options: list[FleetOption]
) -> tuple[FleetOption | None, FleetOption | None, FleetOption | None]:
    """The one to choose, the next best that meets everything, and the cheaper one that comes closest in hit ratio.

    The cheapest is chosen, or the one with the better service of those that cost hardly more.
    """
    met: list[FleetOption] = []
    failing: list[FleetOption] = []
    required = model.requirements
    for option in options:
        if required.usd is not None and option.usd > required.usd:
            break
        if len(met) > 1 and option.usd > _as_cheap_as(met[0]):
            break
        if required.min_hit_ratio is not None and option.hit_ratio < required.min_hit_ratio:
            if not met:
                failing.append(option)
            continue
        judged = model.judged(option, call_by_call=not model.too_slow_without_waits(option))
        if judged.meets:
            judged = model.in_every_placement(judged)
        if judged.meets:
            met.append(judged)
        elif not met:
            failing.append(judged)
    tied = [option for option in met if option.usd <= _as_cheap_as(met[0])]
    best = min(tied, key=_service, default=None)
    runner_up = next((option for option in met if option is not best), None)
    closest = max(failing, key=lambda option: option.hit_ratio, default=None)
    if closest is not None and closest.hit_ratio_range is None:
        closest = model.judged(closest)
    return best, runner_up, closest


def _as_cheap_as(option: FleetOption) -> float:
    """US dollars: up to here another fleet costs hardly more."""
    return option.usd * (1 + _HARDLY_MORE)


def _service(option: FleetOption) -> tuple[float, int, float]:
    """The best first: hit ratio to a tenth of a point, then fewer instances, then the price."""
    return (-round(option.hit_ratio, 3), option.instances, option.usd)


def _nearest(model: FleetModel, options: list[FleetOption]) -> FleetOption | None:
    """What fails fewest requirements, and among those by least."""
    likely = sorted(options, key=lambda option: -option.hit_ratio)[:_NEAREST_LOOKED_AT]

    def far(option: FleetOption) -> tuple[int, float, float]:
        return len(option.failures), distance(model, option), option.usd

    roughly = sorted((model.judged(option, call_by_call=False) for option in likely), key=far)
    return min((model.judged(option) for option in roughly[:_NEAREST_FOLLOWED]), key=far, default=None)


def distance(model: FleetModel, option: FleetOption) -> float:
    """How far an option is from what is required: the sum of the relative excesses."""
    required, total = model.requirements, 0.0
    if required.min_hit_ratio is not None:
        # Of the loads that are allowed, so many times too many.
        total += max((1 - option.hit_ratio) / max(1 - required.min_hit_ratio, 1e-3) - 1, 0.0)
    for limit, found in (
        (required.warm_p95_seconds, option.warm_p95_seconds),
        (required.cold_p95_seconds, option.cold_p95_seconds),
        (required.usd, option.usd),
    ):
        if limit is not None and found is not None:
            total += max(found / limit - 1, 0.0)
    return total

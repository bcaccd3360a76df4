"""One fleet that the search can choose, with its figures; and how fleets compare. Plain values, no computation."""

from dataclasses import dataclass
from typing import Final

from tierfleet.instance_types import InstanceType


@dataclass(frozen=True, kw_only=True)
class FleetOption:
    """The shared tier's instance type and count, the dedicated tenants, and what this fleet does and costs.

    FleetModel.option fills the cache and the cost; FleetModel.evaluate adds call times and failures.
    """

    profile: str
    """The container's profile, such as `stock`."""
    prototype: bool
    """Whether that container is a prototype which nothing ships."""
    instance_type: InstanceType
    """Of the shared tier."""
    instances: int
    """Of the shared tier: its lower bound, from 1."""
    dedicated: tuple[str, ...]
    """Tenants with a dedicated endpoint, by name."""
    usd: float
    """US dollars a month for the whole fleet."""
    models_per_instance: int
    """Models of the mean size that fit the memory of one instance."""
    model_memory_mib: float
    """Memory for models over all instances of the shared tier, MiB."""
    hit_ratio: float
    """Share of the shared tier's calls whose model is in memory, 0 to 1."""
    disk_share: float
    """Share of the shared tier's calls whose model is on the instance's disk, 0 to 1."""
    cold_share: float
    """Share of the shared tier's calls whose model comes from S3, 0 to 1. The three shares add up to 1."""
    loads_per_hour: float
    """Loads on the shared tier, over all instances."""
    busy_loading: float | None = None
    """Share of time that an instance's loading slots are busy in the busiest hour; None before evaluation."""
    warm_p95_seconds: float | None = None
    """Of calls whose model is in memory; None before evaluation."""
    cold_p95_seconds: float | None = None
    """Of calls that wait for a load; None before evaluation, or without such calls."""
    placement: int = 0
    """Which of the placements of tenants on instances the figures are for."""
    hit_ratio_range: tuple[float, float] | None = None
    """Lowest and highest hit ratio over all placements, this one being the worst; None if only one was evaluated."""
    failures: tuple[str, ...] = ()
    """The requirements that it misses, a sentence each; empty if it meets all."""
    cold_p95_range: tuple[float, float] | None = None
    """Lowest and highest cold p95 over all placements; None if only one was evaluated, or if one has next to no cold
    call."""

    @property
    def meets(self) -> bool:
        """Whether it misses no requirement."""
        return not self.failures

    @property
    def name(self) -> str:
        """Such as `6 x ml.r5.2xlarge`."""
        return f"{self.instances} x {self.instance_type.name}"


# Placements whose cold p95 differs by more than this factor get a range.
_COLD_APART: Final = 1.1


def cold_p95_depends(option: FleetOption) -> bool:
    """Whether the cold p95 depends much on which instance holds a model."""
    return option.cold_p95_range is not None and option.cold_p95_range[1] > _COLD_APART * option.cold_p95_range[0]


@dataclass(frozen=True)
class Comparison:
    """The cheapest fleet with another container or with other dedicated tenants."""

    name: str
    title: str
    prototype: bool
    best: FleetOption | None
    """The cheapest that meets all requirements."""
    nearest: FleetOption | None
    """Without a best one: the fleet within the budget that misses the requirements by least."""


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Seconds of one class of calls, as callers see them."""

    share: float
    """Of the tier's calls, 0 to 1."""
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class TierLatency:
    """Call times of one tier."""

    tier: str
    every: Percentiles
    warm: Percentiles
    """Calls whose model is in memory."""
    loads: Percentiles | None
    """Calls that wait for a load, from disk or S3; None if there are next to none."""
    container_p99_seconds: float
    """Of warm calls in the container (ModelLatency), without network and SageMaker's routing."""
    outside_share: float | None
    """Share of all its calls that are slower than required of their class, 0 to 1; None if nothing is required."""


@dataclass(frozen=True)
class Sensitivity:
    """The planned fleet under another circumstance, such as one lost instance."""

    what: str
    hit_ratio: float
    change: float
    """Difference to the planned fleet's hit ratio by the same method, -1 to 1."""
    cold_p95_seconds: float | None
    meets: bool
    failures: tuple[str, ...]
    exact: bool
    """Whether a pass over the trace gave the figures; otherwise Che's approximation did."""

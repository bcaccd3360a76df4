"""A plan: what the terminal, --json and the report read. Plain values only; nothing here computes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Seconds of one class of calls, as callers see them. share: of the tier's calls, 0 to 1."""

    share: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class TierLatency:
    """Call times of one tier. loads: calls that wait for a load, from disk or S3; None where nothing of a class comes.

    container_p99_seconds: of warm calls, without what lies between caller and container (ModelLatency).
    outside_share: of all its calls, those slower than what is required of their class; None where nothing is.
    """

    tier: str
    every: Percentiles
    warm: Percentiles
    loads: Percentiles | None
    container_p99_seconds: float
    outside_share: float | None


@dataclass(frozen=True, kw_only=True)
class FleetOption:
    """One fleet that could be: the shared tier's type and count, who is dedicated, and what comes of it.

    models_per_instance: of the mean size. hit_ratio, disk_share, cold_share: of the shared tier's calls; they make 1.
    loads_per_hour: of the shared tier, over all instances. model_memory_mib: room for models over all its instances.
    busy_loading: share of the time that an instance's places for loading are taken, in the busiest hour.
    warm_p95_seconds, cold_p95_seconds: None where it was not looked at, or no such call comes.
    placement: which of the placements of the tenants on the instances this is. hit_ratio_range: the lowest and the
    highest over all of them, this one being the one that serves worst; None where only one was looked at.
    failures: what it does not meet; empty where it meets all.
    """

    profile: str
    prototype: bool
    instance_type: str
    instances: int
    dedicated: tuple[str, ...]
    usd: float
    models_per_instance: int
    model_memory_mib: float
    hit_ratio: float
    disk_share: float
    cold_share: float
    loads_per_hour: float
    busy_loading: float | None = None
    warm_p95_seconds: float | None = None
    cold_p95_seconds: float | None = None
    placement: int = 0
    hit_ratio_range: tuple[float, float] | None = None
    failures: tuple[str, ...] = ()

    @property
    def meets(self) -> bool:
        return not self.failures

    @property
    def name(self) -> str:
        """Such as 6 x ml.r5.2xlarge."""
        return f"{self.instances} x {self.instance_type}"


@dataclass(frozen=True)
class Comparison:
    """What comes of another container, or of another tiering. best: the cheapest that meets everything, else None.

    nearest: what comes nearest within the budget where none does.
    """

    name: str
    title: str
    prototype: bool
    best: FleetOption | None
    nearest: FleetOption | None


@dataclass(frozen=True)
class Move:
    """A tenant that changes its tier."""

    tenant: str
    from_tier: str
    to_tier: str
    reason: str


@dataclass(frozen=True)
class Decision:
    """A tenant with its own endpoint, or one that nearly has. usd: a month, of its own endpoint; None on the tail."""

    tenant: str
    tier: str
    share: float
    calls_per_day: float
    reason: str
    usd: float | None


@dataclass(frozen=True)
class Sensitivity:
    """The chosen fleet in other circumstances. change: against the planned one by the same method, in hit ratio.

    exact: by the pass over the trace; else by Che's approximation.
    """

    what: str
    hit_ratio: float
    change: float
    cold_p95_seconds: float | None
    meets: bool
    failures: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class CurvePoint:
    """One cache that holds `models` of one size.

    lru: exact, None without a trace. che: the approximation, None where the exact ratio stands alone. belady: None
    where it was not computed.
    """

    models: float
    lru: float | None
    che: float | None
    static: float
    belady: float | None

    @property
    def hit_ratio(self) -> float:
        """The exact one, else the approximation."""
        found = self.che if self.lru is None else self.lru
        return 0.0 if found is None else found


@dataclass(frozen=True)
class Claim:
    """A published point beside what is computed for a cache of so many models.

    claimed: hit ratio; None where none was published. memory_mib, cheapest, usd: by profile; the fleet of the shared
    tier that holds so many models, instances alone; None where none of the types with a price does.
    """

    models: int
    claimed: float | None
    point: CurvePoint
    memory_mib: Mapping[str, float]
    cheapest: Mapping[str, str | None]
    usd: Mapping[str, float | None]


@dataclass(frozen=True)
class Edit:
    """One changed value of the fleet file, in words."""

    where: str
    before: str
    after: str


@dataclass(frozen=True)
class QuotaNeed:
    """A quota of AWS that the proposed fleet needs raised, in instances."""

    name: str
    needed: int
    default: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything about one planning run.

    chosen: the cheapest fleet that meets the requirements; None where none does, then `nearest` comes nearest.
    today: the fleet file as it is, in its own container. runner_up: the next cheapest that meets them.
    cheaper: of those that cost less and do not meet them, the one with the best hit ratio.
    kept_as_today: today's type and count are good enough. options_possible: how many there are; options: those that
    were looked at; front: of them, those that none beats in both cost and hit ratio; fronts: the same by container.
    hours_by_tier: mean calls a second in each hour of a day (UTC) by tier. tail_tenants: how many share the tail.
    """

    fleet: str
    region: str
    source: str
    container: str
    requirements: str
    required_usd: float | None
    required_hit_ratio: float | None
    tenants: int
    tail_tenants: int
    calls_per_day: float
    days: float | None
    calls_per_session: float
    mean_gap_seconds: float
    model_megabytes: tuple[float, float]
    today: FleetOption
    chosen: FleetOption | None
    nearest: FleetOption | None
    runner_up: FleetOption | None
    why_runner_up_lost: str | None
    cheaper: FleetOption | None
    kept_as_today: bool
    options_possible: int
    options: tuple[FleetOption, ...]
    front: tuple[FleetOption, ...]
    fronts: Mapping[str, tuple[FleetOption, ...]]
    containers: tuple[Comparison, ...]
    tierings: tuple[Comparison, ...]
    tiering_rule: str
    decisions: tuple[Decision, ...]
    moves: tuple[Move, ...]
    edits: tuple[Edit, ...]
    latencies: tuple[TierLatency, ...]
    sensitivity: tuple[Sensitivity, ...]
    quotas: tuple[QuotaNeed, ...]
    curve: tuple[CurvePoint, ...]
    claims: tuple[Claim, ...]
    claimed_usd: float | None
    hours_by_tier: Mapping[str, tuple[float, ...]]
    cost_by_tier: Mapping[str, float]
    notices: tuple[str, ...]
    assumptions: tuple[str, ...]
    prices_of: tuple[str, ...]

    @property
    def shown(self) -> FleetOption:
        """The fleet the plan is about: the chosen one, else what comes nearest, else today's."""
        return self.chosen or self.nearest or self.today

    def to_json(self) -> dict[str, Any]:
        """Everything but the list of all options."""
        found = asdict(self)
        del found["options"]
        return found

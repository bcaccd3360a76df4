"""A plan: what the terminal, --json and the report show. Plain values, no computation.

plan, change = make_plan(request)
plan.answer.chosen           # the cheapest fleet that meets the requirements, or None
plan.service_levels.latencies
plan.to_json()               # the document of --json, with flat keys
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from typing import Any

from tierfleet.instance_types import InstanceType
from tierfleet.planning.plan_parts import BillLine, CurvePoint, Decision, Edit, Move, PublishedRatio, QuotaNeed
from tierfleet.planning.search.fleet_option import Comparison, FleetOption, Sensitivity, TierLatency


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The fleet to run, the fleets next to it, and what changes in the fleet file."""

    today: FleetOption
    """The fleet file as it is, in its own container."""
    chosen: FleetOption | None
    """The cheapest fleet that meets the requirements; None if none does."""
    nearest: FleetOption | None
    """If none does: the fleet that misses the requirements by least."""
    runner_up: FleetOption | None
    """The next cheapest that meets the requirements."""
    why_runner_up_lost: str | None
    cheaper: FleetOption | None
    """Of the cheaper fleets, which all miss a requirement, the one with the highest hit ratio."""
    kept_as_today: bool
    """Whether today's type and count are good enough to stay."""
    container_change: str | None
    """Why the fleet file needs another container first; None if it does not."""
    tiering_rule: str
    """When a tenant is worth a dedicated endpoint, in a sentence."""
    decisions: tuple[Decision, ...]
    moves: tuple[Move, ...]
    edits: tuple[Edit, ...]
    quotas: tuple[QuotaNeed, ...]

    @property
    def shown(self) -> FleetOption:
        """The fleet that the plan's figures are for: chosen, else nearest, else today's."""
        return self.chosen or self.nearest or self.today


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """What the search evaluated."""

    possible: int
    """How many fleets of the planned container there are within the bounds."""
    options: tuple[FleetOption, ...]
    """The evaluated options, by rising cost."""
    front: tuple[FleetOption, ...]
    """The options that no other beats in both cost and hit ratio."""
    fronts: Mapping[str, tuple[FleetOption, ...]]
    """The same by container."""
    containers: tuple[Comparison, ...]
    tierings: tuple[Comparison, ...]
    """The cheapest fleets with other tenants dedicated."""


@dataclass(frozen=True, kw_only=True)
class ServiceLevels:
    """What is required, and how the shown fleet does."""

    requirements: str
    required_usd: float | None
    required_hit_ratio: float | None
    latencies: tuple[TierLatency, ...]
    sensitivity: tuple[Sensitivity, ...]


@dataclass(frozen=True, kw_only=True)
class TrafficSummary:
    """The traffic that was planned for."""

    source: str
    tenants: int
    tail_tenants: int
    """How many tenants share the default tier."""
    models_in_memory: int
    """How many of their models the shown fleet holds in memory."""
    calls_per_day: float
    days: float | None
    """Length of the trace; None for rates."""
    period: tuple[datetime, datetime] | None
    """First and last request of the trace, UTC; None for rates."""
    calls_per_session: float
    mean_gap_seconds: float
    model_megabytes: tuple[float, float]
    """Smallest and biggest model file, 10**6 bytes."""
    hours_by_tier: Mapping[str, tuple[float, ...]]
    """Mean calls a second in each hour of a day, UTC, by tier."""
    curve: tuple[CurvePoint, ...]
    """The shared tier as one cache."""
    published: tuple[PublishedRatio, ...]
    published_usd: float | None


@dataclass(frozen=True, kw_only=True)
class Money:
    """The monthly bill of the shown fleet, US dollars."""

    by_tier: Mapping[str, float]
    bill: tuple[BillLine, ...]
    """The same amount by quantity and price."""
    prices_of: tuple[str, ...]
    """Where the prices come from, with their dates."""


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a reader must know."""

    notices: tuple[str, ...]
    """About this run."""
    assumptions: tuple[str, ...]
    """Every figure rests on these."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One planning run, in groups."""

    fleet: str
    region: str
    container: str
    tool_version: str
    planned_on: date | None
    answer: Answer
    search: Alternatives
    service_levels: ServiceLevels
    traffic: TrafficSummary
    money: Money
    notes: Notes

    def to_json(self) -> dict[str, Any]:
        """All but the list of evaluated options, with flat keys in a fixed order: scripts read this document."""
        answer, search, levels, traffic = self.answer, self.search, self.service_levels, self.traffic
        flat = {
            "fleet": self.fleet,
            "region": self.region,
            "source": traffic.source,
            "container": self.container,
            "requirements": levels.requirements,
            "required_usd": levels.required_usd,
            "required_hit_ratio": levels.required_hit_ratio,
            "tenants": traffic.tenants,
            "tail_tenants": traffic.tail_tenants,
            "calls_per_day": traffic.calls_per_day,
            "days": traffic.days,
            "calls_per_session": traffic.calls_per_session,
            "mean_gap_seconds": traffic.mean_gap_seconds,
            "model_megabytes": traffic.model_megabytes,
            "today": answer.today,
            "chosen": answer.chosen,
            "nearest": answer.nearest,
            "runner_up": answer.runner_up,
            "why_runner_up_lost": answer.why_runner_up_lost,
            "cheaper": answer.cheaper,
            "kept_as_today": answer.kept_as_today,
            "options_possible": search.possible,
            "front": search.front,
            "fronts": search.fronts,
            "containers": search.containers,
            "tierings": search.tierings,
            "tiering_rule": answer.tiering_rule,
            "decisions": answer.decisions,
            "moves": answer.moves,
            "edits": answer.edits,
            "latencies": levels.latencies,
            "sensitivity": levels.sensitivity,
            "quotas": answer.quotas,
            "curve": traffic.curve,
            "claims": traffic.published,
            "claimed_usd": traffic.published_usd,
            "hours_by_tier": traffic.hours_by_tier,
            "cost_by_tier": self.money.by_tier,
            "notices": self.notes.notices,
            "assumptions": self.notes.assumptions,
            "prices_of": self.money.prices_of,
            "container_change": answer.container_change,
            "bill": self.money.bill,
            "traffic_period": traffic.period,
            "tool_version": self.tool_version,
            "planned_on": self.planned_on,
            "models_in_memory": traffic.models_in_memory,
        }
        return {key: _plain(value) for key, value in flat.items()}


def _plain(value: Any) -> Any:
    """Dataclasses as objects; an instance type as its name; dates in ISO 8601."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, InstanceType):
        return value.name
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value

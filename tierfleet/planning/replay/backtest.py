"""How good a plan would have been: plan on the first part of a trace, replay the rest on what was planned."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tierfleet.config import FleetConfig
from tierfleet.cost.prices import PriceTable
from tierfleet.errors import InputError
from tierfleet.planning.plan import Plan
from tierfleet.planning.planner import make_plan
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.replay.endpoints import Settings
from tierfleet.planning.replay.outcome import Endpoint, Replay
from tierfleet.planning.replay.replay import replay
from tierfleet.planning.request import PlanRequest
from tierfleet.planning.search.fleet_option import FleetOption, TierLatency
from tierfleet.planning.search.proposed import new_dedicated_tier, proposed_config
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.search import Progress
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import filling_days, workload_from_trace
from tierfleet.text import dollars, moment

Array = NDArray[np.float64]

_DAY: Final = 86_400.0
# Of a first dedicated tier; a replay does not hold it to that.
_NEW_TIER_P99_MILLISECONDS: Final = 1000.0
# Of the trace, for each part.
_LEAST_SHARE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Plans:
    """What plans are made with, but for the traffic."""

    config: FleetConfig
    source: str
    """Where the traffic comes from, for the reader."""
    requirements: Requirements
    prices: PriceTable
    profiles: Mapping[str, Profile]
    profile: str
    """The container to plan for, one of `profiles`."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One figure of the shared tier. None: there is none."""

    what: str
    planned: float | None
    happened: float | None
    unit: str
    """`share`, `seconds`, `calls a second`, `calls a day` or `instances`."""


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What a plan of the first part said, and what the rest of the trace made of it."""

    split: str
    """ISO 8601, UTC: the rest begins."""
    planned_fleet: str
    """Such as 6 x ml.r5.2xlarge."""
    meets_by_plan: bool
    """Whether the plan says that this fleet meets everything; else it is the one that comes nearest."""
    comparisons: tuple[Comparison, ...]
    new_tenants: int
    """That call in the rest only."""
    new_tenants_share: float
    """Of the calls of the rest."""
    failures: tuple[str, ...]
    """What is required and was not kept in the rest; empty where all was."""
    rest: Replay
    """Of the rest."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "rest": self.rest.to_json()}


def split_seconds(requests: Requests, split: str) -> float:
    """Unix seconds of a split: a share of the trace's time (0.5), or a moment (2026-11-14, ISO 8601; UTC if it says no
    zone). Raises InputError unless both parts have a twentieth of the time or more.
    """
    first, last = float(requests.seconds[0]), float(requests.seconds[-1])
    try:
        at = first + float(split) * (last - first)
    except ValueError:
        try:
            at = moment(split).timestamp()
        except ValueError:
            raise InputError(f"--split {split}: give a share such as 0.5, or a date such as 2026-11-14") from None
    low, high = (first + share * (last - first) for share in (_LEAST_SHARE, 1 - _LEAST_SHARE))
    if not low <= at <= high:
        span = " to ".join(datetime.fromtimestamp(edge, UTC).isoformat(timespec="minutes") for edge in (low, high))
        raise InputError(
            f"--split {split} leaves too little on one side; give {_LEAST_SHARE} to {1 - _LEAST_SHARE}, or {span}"
        )
    return at


def first_part(requests: Requests, model_mb: Array, until_seconds: float) -> tuple[Requests, Array]:
    """The requests before a moment, of the tenants that call until then, and the sizes of their models."""
    end = requests.index_at(until_seconds)
    counts = np.bincount(requests.tenant[:end], minlength=len(requests.tenants))
    index = np.cumsum(counts > 0).astype(np.int32) - 1
    names = tuple(name for name, count in zip(requests.tenants, counts.tolist(), strict=True) if count)
    tenant = index[requests.tenant[:end]]
    seconds = np.asarray(requests.seconds[:end])
    return Requests(names, tenant, seconds, requests.model_bytes[counts > 0]), model_mb[counts > 0]


def planned_config(config: FleetConfig, option: FleetOption) -> FleetConfig:
    """The fleet file as the plan would have written it."""
    return proposed_config(
        config,
        instance_type=option.instance_type,
        instances=option.instances,
        dedicated=option.dedicated,
        new_tier=None if config.dedicated_tiers else new_dedicated_tier(_NEW_TIER_P99_MILLISECONDS),
    )


def backtest(
    plans: Plans, requests: Requests, model_mb: Array, split: str, progress: Progress = lambda *_: None
) -> Backtest:
    """Plan on the trace up to `split`, replay the rest, compare. Raises InputError."""
    if not requests.duration_seconds:
        raise InputError(f"all calls of {plans.source} have the same time: a trace that is split must take some")
    split_at = split_seconds(requests, split)
    part, sizes = first_part(requests, model_mb, split_at)
    days = part.duration_seconds / _DAY
    plan, _ = make_plan(
        PlanRequest(
            config=plans.config,
            workload=workload_from_trace(part, sizes, skip_days=filling_days(days)),
            source=plans.source,
            days=days,
            requirements=plans.requirements,
            prices=plans.prices,
            profiles=plans.profiles,
            profile=plans.profile,
        ),
        progress,
    )
    outcome = replay(
        planned_config(plans.config, plan.answer.shown),
        requests,
        model_mb,
        Settings(
            source=plans.source,
            profile=plans.profiles[plans.profile],
            requirements=plans.requirements,
            counted_from_seconds=split_at,
        ),
        progress=lambda done: progress("serving", done, 0),
    )
    compared = compare(plan, outcome, requests, split_at, plans.config.default_tier)
    usd, budget = plan.answer.shown.usd, plans.requirements.usd
    if budget is None or usd <= budget:
        return compared
    # The plan's bill: what the rest of the trace costs differs by its requests only.
    return replace(compared, failures=(f"{dollars(usd)} a month, required {dollars(budget)}", *compared.failures))


def compare(plan: Plan, outcome: Replay, requests: Requests, split_at: float, default_tier: str) -> Backtest:
    """requests: the whole trace. outcome: of the rest, on the plan's fleet."""
    option = plan.answer.shown
    times = next((tier for tier in plan.service_levels.latencies if tier.tier == default_tier), None)
    shared = next((one for one in outcome.endpoints if one.tier == default_tier), None)
    start = requests.index_at(split_at)
    known = np.bincount(requests.tenant[:start], minlength=len(requests.tenants)) > 0
    rest = np.bincount(requests.tenant[start:], minlength=len(requests.tenants))
    return Backtest(
        split=datetime.fromtimestamp(split_at, UTC).isoformat(timespec="minutes"),
        planned_fleet=option.name,
        meets_by_plan=option.meets,
        comparisons=tuple(_comparisons(plan, option, times, shared, outcome)),
        new_tenants=int((rest[~known] > 0).sum()),
        new_tenants_share=float(rest[~known].sum() / rest.sum()),
        failures=outcome.misses,
        rest=outcome,
    )


def _comparisons(
    plan: Plan, option: FleetOption, times: TierLatency | None, shared: Endpoint | None, outcome: Replay
) -> list[Comparison]:
    figures = [
        Comparison(
            what="calls a day, all tiers",
            planned=plan.traffic.calls_per_day,
            happened=outcome.calls / max(outcome.days, 1e-9),
            unit="calls a day",
        )
    ]
    if times is None or shared is None:
        return figures
    calls = max(shared.served.calls, 1)
    hours = outcome.days * 24
    busiest = max(hour.served.calls for hour in shared.hours) / 3600
    tier_hours = plan.traffic.hours_by_tier.get(shared.tier, ())
    return [
        *figures,
        Comparison(
            what="shared tier: busiest hour",
            planned=max(tier_hours) if tier_hours else None,
            happened=busiest,
            unit="calls a second",
        ),
        Comparison(
            what="shared tier: in memory", planned=times.warm.share, happened=shared.served.hit_ratio, unit="share"
        ),
        Comparison(
            what="shared tier: outside the requirement",
            planned=times.outside_share,
            happened=shared.served.outside / calls,
            unit="share",
        ),
        Comparison(
            what="shared tier: p95 of calls that wait",
            planned=None if times.loads is None else times.loads.p95,
            happened=shared.load_p95_seconds,
            unit="seconds",
        ),
        Comparison(
            what="shared tier: p95 of the others",
            planned=times.warm.p95,
            happened=shared.warm_p95_seconds,
            unit="seconds",
        ),
        Comparison(
            what="shared tier: instances, mean",
            planned=float(option.instances),
            happened=shared.instance_hours / hours if hours else None,
            unit="instances",
        ),
    ]

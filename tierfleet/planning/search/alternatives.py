"""The planned fleet compared: under other circumstances, with other containers, with other dedicated tenants.

A trace is changed as the circumstance says and simulated again. Other sessions, which a trace cannot show, and
everything from rates are estimated by Che's approximation. Each circumstance is compared with the planned fleet by the
same method and in the first placement of the tenants on the instances; with one instance lost, in the worst one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import Comparison, FleetOption, Sensitivity
from tierfleet.planning.search.search import Bounds, Progress, SearchResult, Tiering, search
from tierfleet.planning.search.service_levels import beyond_max
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import counted, dollars, milliseconds

# The bursts that independent calls are compared with: three calls, ten minutes apart on average.
_SOME_BURSTS = Sessions(3.0, 600.0)
# An added tenant calls after the one that it copies, by this to ten minutes more: never at the same moment.
_LATER_SECONDS = 60.0


@dataclass(frozen=True)
class _Circumstance:
    what: str
    model: FleetModel
    instances: int
    planned_hit_ratio: float
    """Of the planned fleet, by the same method on the same calls."""

    @property
    def exact(self) -> bool:
        return self.model.workload.requests is not None


def sensitivity(
    model: FleetModel, option: FleetOption, progress: Progress = lambda *_: None
) -> tuple[Sensitivity, ...]:
    """The fleet as planned, then under one circumstance after the other."""
    results: list[Sensitivity] = []
    dedicated = frozenset(option.dedicated)
    for case in _circumstances(model, option):
        progress("if things change", 1, 0)
        as_planned = case.model is model and case.instances == option.instances
        # The budget is left out: instances that scaling adds are no part of the planned cost.
        other = replace(case.model, requirements=replace(model.requirements, usd=None))
        expected = option if as_planned else other.option(option.instance_type, case.instances, dedicated)
        evaluated = other.evaluate(replace(expected, usd=option.usd))
        planned = case.planned_hit_ratio
        if case.instances < option.instances:
            evaluated = other.in_every_placement(evaluated)
            planned = option.hit_ratio
        failures = (*evaluated.failures, *beyond_max(other, option))
        results.append(
            Sensitivity(
                case.what,
                evaluated.hit_ratio,
                0.0 if as_planned else evaluated.hit_ratio - planned,
                evaluated.cold_p95_seconds,
                not failures,
                failures,
                case.exact,
            )
        )
    return tuple(results)


def compared(name: str, title: str, result: SearchResult) -> Comparison:
    """The outcome of a search as one line of a comparison."""
    some = result.options[0] if result.options else None
    return Comparison(name, title, bool(some and some.prototype), result.best, result.nearest)


def tiering_alternatives(
    model: FleetModel,
    tiering: Tiering,
    bounds: Bounds,
    chosen: frozenset[str],
    *,
    progress: Progress = lambda *_: None,
) -> Iterator[Comparison]:
    """The cheapest fleets with other tenants dedicated: those of today, and none."""
    alternatives = {"as today": tiering.dedicated_today, "none dedicated": frozenset[str]()}
    for name, dedicated in alternatives.items():
        if dedicated == chosen or (name == "none dedicated" and dedicated == tiering.dedicated_today):
            continue
        fixed = tuple(replace(tier, dedicated=tier.tenant in dedicated) for tier in tiering.assigned)
        other = replace(
            tiering,
            assigned=fixed,
            keep=frozenset(tier.tenant for tier in fixed),
            dedicated_without_traffic=frozenset(),
        )
        title = ", ".join(sorted(dedicated)) if len(dedicated) <= 8 else f"{len(dedicated)} tenants"
        yield compared(name, title, search(model, other, bounds, name=f"tiers {name}", progress=progress))


def why_not_chosen(best: FleetOption, other: FleetOption, *, kept_as_today: bool = False) -> str:
    """What a reader chooses between: how the other fleet differs in price, hit ratio, cold calls and instances."""
    apart = other.usd - best.usd
    parts = [f"{dollars(abs(apart))} a month {'less' if apart < 0 else 'more'}"]
    gain = other.hit_ratio - best.hit_ratio
    if abs(gain) >= 5e-4:
        parts.append(f"hit ratio {abs(gain) * 100:.1f} points {'higher' if gain > 0 else 'lower'}")
    else:
        parts.append("the same hit ratio")
    parts += _cold_calls_differ(best.cold_p95_seconds, other.cold_p95_seconds)
    if more := other.instances - best.instances:
        parts.append(f"{counted(abs(more), 'instance')} {'more' if more > 0 else 'fewer'}")
    text = ", ".join(parts)
    if kept_as_today and apart < 0:
        return f"{text}; too little to change today's type and count for"
    return text


def _cold_calls_differ(best: float | None, other: float | None) -> Iterator[str]:
    """Cold p95 in seconds, if the two differ by more than a tenth."""
    if other is None and best is not None:
        yield "next to no cold call"
    elif other is not None and (best is None or abs(other / best - 1) > 0.1):
        yield f"cold p95 {milliseconds(other)}"


def _circumstances(model: FleetModel, option: FleetOption) -> Iterator[_Circumstance]:
    workload, instances, dedicated = model.workload, option.instances, frozenset(option.dedicated)

    def planned(of: FleetModel) -> float:
        return of.option(option.instance_type, instances, dedicated).hit_ratio

    hits = planned(model)
    yield _Circumstance("as planned", model, instances, hits)
    if workload.upper is not None:
        yield _Circumstance("upper end of the forecast", model.with_workload(workload.upper), instances, hits)
    yield _Circumstance("traffic x 2", model.busier(2.0), instances, hits)
    some = _followed_only(model)
    more = some.with_workload(_more_tenants(some.workload, dedicated))
    yield _Circumstance("models x 1.5", more, instances, hits if some is model else planned(some))
    if instances > 1:
        yield _Circumstance("one instance lost", model, instances - 1, hits)
    by_rates = model.with_workload(replace(workload, requests=None))
    hits = hits if workload.requests is None else planned(by_rates)
    for name, sessions in _other_sessions(workload.rates.sessions):
        rates = replace(workload.rates, sessions=sessions)
        yield _Circumstance(name, model.with_workload(replace(by_rates.workload, rates=rates)), instances, hits)


def _other_sessions(sessions: Sessions) -> Iterator[tuple[str, Sessions]]:
    if sessions.calls > 1:
        yield "independent calls", INDEPENDENT
        twice = Sessions(2 * sessions.calls, sessions.mean_gap_seconds)
        yield _sessions_name(twice), twice
    else:
        yield _sessions_name(_SOME_BURSTS), _SOME_BURSTS


def _sessions_name(sessions: Sessions) -> str:
    calls = f"{sessions.calls:.2g}" if sessions.calls < 99.5 else f"{sessions.calls:,.0f}"
    return f"sessions of {calls} calls"


def _followed_only(model: FleetModel) -> FleetModel:
    """The model with the busiest stretch of a long trace; else the model itself and the passes that it has done."""
    workload, followed = model.workload, model.workload.followed
    if workload.requests is None or followed is None or len(followed[0]) == len(workload.requests):
        return model
    return model.with_workload(replace(workload, requests=followed[0], counted_from_seconds=followed[1]))


def _more_tenants(workload: Workload, dedicated: frozenset[str]) -> Workload:
    """Half as many tenants again on the shared tier: copies of every second one there, with its calls and its size."""
    by_calls = np.argsort(-workload.calls_per_day, kind="stable")
    order = [index for index in by_calls.tolist() if workload.tenants[index] not in dedicated][1::2]
    index = np.array([*range(len(workload.tenants)), *order])
    names = (*workload.tenants, *(f"{workload.tenants[i]}+" for i in order))
    rates = workload.rates
    more = replace(
        rates,
        tenants=names,
        requests_per_day=rates.requests_per_day[index],
        model_bytes=rates.model_bytes[index],
        rhythm=rates.rhythm[index],
    )
    joined = replace(
        workload, rates=more, model_mb=workload.model_mb[index], calls_by_hour=workload.calls_by_hour[index]
    )
    if workload.requests is None:
        return joined
    return replace(joined, requests=_joined(workload.requests, names, order))


def _joined(requests: Requests, names: tuple[str, ...], order: list[int]) -> Requests:
    """The trace with added tenants at the end of `names`; each copies the tenant at its place in `order`."""
    joins = np.full(len(requests.tenants), -1, np.int32)
    joins[order] = np.arange(len(requests.tenants), len(names), dtype=np.int32)
    kept = joins[requests.tenant] >= 0
    tenant = np.concatenate([requests.tenant, joins[requests.tenant[kept]]])
    # Multiples of the golden ratio spread evenly over 0 to 1.
    later = _LATER_SECONDS + 600 * ((tenant[len(requests) :] * 0.6180339887) % 1.0)
    seconds = np.concatenate([requests.seconds, requests.seconds[kept] + later])
    in_time = np.argsort(seconds, kind="stable")
    sizes = np.concatenate([requests.model_bytes, requests.model_bytes[order]])
    return Requests(names, tenant[in_time], seconds[in_time], sizes)

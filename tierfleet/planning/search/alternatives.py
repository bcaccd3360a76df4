"""The chosen fleet in other circumstances: what it can take before it fails.

From a trace by a pass over it, changed as the circumstance says; other sessions, which a trace cannot have, and
everything where only rates are known, by Che's approximation. Each is compared with the planned fleet by the same
method and in the first placement of the tenants on the instances.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.instance_need import beyond_max
from tierfleet.planning.search.plan import FleetOption, Sensitivity
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.workload import Workload

# What bursts are compared with where the traffic has none: three calls, ten minutes apart on average.
_SOME_BURSTS = Sessions(3.0, 600.0)


# A tenant that joins calls when the one it is like does, from this to ten minutes more later: never at the same moment.
_LATER_SECONDS = 60.0
# They join the last calls of the trace, so many at most: a second copy of a big trace would not fit the memory.
_MOST_JOINED = 3_000_000


@dataclass(frozen=True)
class _Circumstances:
    what: str
    workload: Workload
    instances: int

    @property
    def exact(self) -> bool:
        return self.workload.requests is not None


def sensitivity(model: FleetModel, option: FleetOption) -> tuple[Sensitivity, ...]:
    """The fleet as planned, then one circumstance after the other."""
    found: list[Sensitivity] = []
    base: dict[bool, float] = {}
    for case in _circumstances(model.workload, option.instances, frozenset(option.dedicated)):
        other = _of(model, case.workload)
        # The cost is that of the planned fleet: what scaling would add is not in question here.
        free = replace(other, requirements=replace(model.requirements, usd=None))
        dedicated = frozenset(option.dedicated)
        if case.exact not in base:
            planned = _of(model, model.workload if case.exact else replace(model.workload, requests=None))
            base[case.exact] = planned.option(option.instance_type, option.instances, dedicated).hit_ratio
        as_planned = case.workload is model.workload and case.instances == option.instances
        expected = option if as_planned else free.option(option.instance_type, case.instances, dedicated)
        judged = free.judged(replace(expected, usd=option.usd))
        failures = (*judged.failures, *beyond_max(free, option))
        found.append(
            Sensitivity(
                case.what,
                judged.hit_ratio,
                0.0 if as_planned else judged.hit_ratio - base[case.exact],
                judged.cold_p95_seconds,
                not failures,
                failures,
                case.exact,
            )
        )
    return tuple(found)


def _of(model: FleetModel, workload: Workload) -> FleetModel:
    """The model of another workload; of its own, with the passes that were done already."""
    if workload is model.workload:
        return model
    return replace(model, workload=workload, tails={}, _sizes={}, _events={}, _failures={})


def _circumstances(workload: Workload, instances: int, dedicated: frozenset[str]) -> Iterator[_Circumstances]:
    plain = replace(workload, requests=None)
    sessions = workload.rates.sessions
    yield _Circumstances("as planned", workload, instances)
    yield _Circumstances("traffic x 2", _busier(workload, 2.0), instances)
    yield _Circumstances("models x 1.5", _more_tenants(workload, dedicated), instances)
    if instances > 1:
        yield _Circumstances("one instance lost", workload, instances - 1)
    if sessions.calls > 1:
        yield _Circumstances("independent calls", _bursts(plain, INDEPENDENT), instances)
        twice = Sessions(2 * sessions.calls, sessions.mean_gap_seconds)
        yield _Circumstances(f"sessions of {twice.calls:.2g} calls", _bursts(plain, twice), instances)
    else:
        name = f"sessions of {_SOME_BURSTS.calls:.2g} calls"
        yield _Circumstances(name, _bursts(plain, _SOME_BURSTS), instances)


def _busier(workload: Workload, factor: float) -> Workload:
    """The same calls in a shorter time: everybody calls more often."""
    rates = replace(workload.rates, requests_per_day=workload.rates.requests_per_day * factor)
    busier = replace(workload, rates=rates, calls_by_hour=workload.calls_by_hour * factor)
    if workload.requests is None:
        return busier
    first = float(workload.requests.seconds[0])
    requests = replace(workload.requests, seconds=first + (workload.requests.seconds - first) / factor)
    counted_from = first + (workload.counted_from_seconds - first) / factor
    return replace(busier, requests=requests, counted_from_seconds=counted_from)


def _more_tenants(workload: Workload, dedicated: frozenset[str]) -> Workload:
    """Half as many tenants again on the shared tier, which call and weigh what every second of those there does."""
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
    start = max(len(workload.requests) - _MOST_JOINED, 0)
    recent = replace(
        workload.requests, tenant=workload.requests.tenant[start:], seconds=workload.requests.seconds[start:]
    )
    counted_from = workload.counted_from_seconds
    if start:  # the first third of what is left fills the caches
        counted_from = max(counted_from, float(recent.seconds[len(recent) // 3]))
    return replace(joined, requests=_joined(recent, names, order), counted_from_seconds=counted_from)


def _joined(requests: Requests, names: tuple[str, ...], order: list[int]) -> Requests:
    """The trace with further tenants at the end of `names`, each like the one at its place in `order`."""
    joins = np.full(len(requests.tenants), -1, np.int32)
    joins[order] = np.arange(len(requests.tenants), len(names), dtype=np.int32)
    kept = joins[requests.tenant] >= 0
    tenant = np.concatenate([requests.tenant, joins[requests.tenant[kept]]])
    # The golden ratio spreads them.
    later = _LATER_SECONDS + 600 * ((tenant[len(requests) :] * 0.6180339887) % 1.0)
    seconds = np.concatenate([requests.seconds, requests.seconds[kept] + later])
    in_time = np.argsort(seconds, kind="stable")
    sizes = np.concatenate([requests.model_bytes, requests.model_bytes[order]])
    return Requests(names, tenant[in_time], seconds[in_time], sizes)


def _bursts(workload: Workload, sessions: Sessions) -> Workload:
    return replace(workload, rates=replace(workload.rates, sessions=sessions))

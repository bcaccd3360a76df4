"""The chosen fleet in other circumstances: what it can take before it fails.

All by Che's approximation, the fleet as it is today included, so that differences are those of the circumstances and
not of the method.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.instance_need import beyond_max
from tierfleet.planning.search.plan import FleetOption, Sensitivity
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.workload import Workload

# What bursts are compared with where the traffic has none: three calls, ten minutes apart on average.
_SOME_BURSTS = Sessions(3.0, 600.0)


@dataclass(frozen=True)
class _Circumstances:
    what: str
    workload: Workload
    instances: int


def sensitivity(model: FleetModel, option: FleetOption) -> tuple[Sensitivity, ...]:
    """The fleet as planned, then one circumstance after the other."""
    found: list[Sensitivity] = []
    for circumstances in _circumstances(model.workload, option.instances, frozenset(option.dedicated)):
        other = replace(model, workload=circumstances.workload, tails={}, _sizes={})
        # The cost is that of the planned fleet: what scaling would add is not in question here.
        free = replace(other, requirements=replace(model.requirements, usd=None))
        expected = replace(
            free.option(option.instance_type, circumstances.instances, frozenset(option.dedicated)), usd=option.usd
        )
        judged = free.judged(expected)
        failures = (*judged.failures, *beyond_max(free, option))
        base = found[0].hit_ratio if found else judged.hit_ratio
        found.append(
            Sensitivity(
                circumstances.what,
                judged.hit_ratio,
                judged.hit_ratio - base,
                judged.cold_p95_seconds,
                not failures,
                failures,
            )
        )
    return tuple(found)


def _circumstances(workload: Workload, instances: int, dedicated: frozenset[str]) -> Iterator[_Circumstances]:
    plain = replace(workload, requests=None)
    sessions = workload.rates.sessions
    yield _Circumstances("as planned", plain, instances)
    yield _Circumstances("traffic x 2", _busier(plain, 2.0), instances)
    yield _Circumstances("models x 1.5", _more_tenants(plain, dedicated), instances)
    if instances > 1:
        yield _Circumstances("one instance lost", plain, instances - 1)
    if sessions.calls > 1:
        yield _Circumstances("independent calls", _bursts(plain, INDEPENDENT), instances)
        twice = Sessions(2 * sessions.calls, sessions.mean_gap_seconds)
        yield _Circumstances(f"sessions of {twice.calls:.2g} calls", _bursts(plain, twice), instances)
    else:
        name = f"sessions of {_SOME_BURSTS.calls:.2g} calls"
        yield _Circumstances(name, _bursts(plain, _SOME_BURSTS), instances)


def _busier(workload: Workload, factor: float) -> Workload:
    rates = replace(workload.rates, requests_per_day=workload.rates.requests_per_day * factor)
    return replace(workload, rates=rates, calls_by_hour=workload.calls_by_hour * factor)


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
    return replace(workload, rates=more, model_mb=workload.model_mb[index], calls_by_hour=workload.calls_by_hour[index])


def _bursts(workload: Workload, sessions: Sessions) -> Workload:
    return replace(workload, rates=replace(workload.rates, sessions=sessions))

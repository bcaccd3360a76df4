"""`--horizon 90d`: plan for what a trace's traffic comes to in so many days, instead of for what it was."""

import re
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierfleet import text
from tierfleet.errors import InputError
from tierfleet.planning.traffic.growth import Forecast, Growth, growth_of
from tierfleet.planning.traffic.projection import projected
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.workload import Workload, filling_days, workload_from_trace

_DAYS: Final = {"d": 1, "w": 7}
_MAX_DAYS: Final = 730


def horizon_days(given: str) -> int:
    """Days of a duration such as 90d or 12w. Raises InputError."""
    match = re.fullmatch(r"([0-9]{1,4})([dw])", given.strip())
    days = int(match[1]) * _DAYS[match[2]] if match else 0
    if not 1 <= days <= _MAX_DAYS:
        raise InputError(f"--horizon {given}: give days or weeks, such as 90d or 12w, up to {_MAX_DAYS}d")
    return days


def workload_at_horizon(
    requests: Requests, model_mb: NDArray[np.float64], days: int, *, source: str, sessions: Sessions | None = None
) -> tuple[Workload, str]:
    """The workload that is expected `days` after the trace, with the upper end of its interval; and a notice that says
    so. Raises InputError for a trace of less than two weeks.
    """
    growth = growth_of(requests)
    if growth is None:
        length = text.days(requests.duration_seconds / 86_400)
        raise InputError(f"--horizon needs two weeks of calls or more, and {source} has {length}")
    forecast = growth.forecast(float(days))
    if not forecast.weekly_calls.any():
        raise InputError(f"--horizon {days}d: by its trend the traffic of {source} has ended by then; plan without it")
    expected = _workload(requests, model_mb, growth, forecast, forecast.factor, sessions)
    upper = _workload(requests, model_mb, growth, forecast, forecast.high, sessions)
    return replace(expected, upper=upper), _notice(growth, forecast, days)


def _workload(
    requests: Requests,
    model_mb: NDArray[np.float64],
    growth: Growth,
    forecast: Forecast,
    factor: float,
    sessions: Sessions | None,
) -> Workload:
    calls, sizes = projected(requests, model_mb, growth, forecast, factor)
    fill = filling_days(calls.duration_seconds / 86_400)
    return workload_from_trace(calls, sizes, skip_days=fill, sessions=sessions)


def _notice(growth: Growth, forecast: Forecast, days: int) -> str:
    more = f", some from {forecast.new_tenants:,} tenants that join" if forecast.new_tenants else ""
    return (
        f"planned for {days} days after the trace: {forecast.factor:.2g} x the calls of its last week "
        f"({forecast.low:.2g} to {forecast.high:.2g} x in four of five cases){more}; linear trends of "
        f"{growth.weekly.shape[1]} weeks, each tenant's own as far as its calls show one"
    )

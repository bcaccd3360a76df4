"""What a reader should know about a trace that can be read and yet may not be what was meant."""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from tierfleet.planning.traffic.requests import Requests

_CHUNK: Final = 2_000_000
_DAY: Final = 86_400
# Of fewer requests than this a long gap says nothing.
_LEAST_TO_BE_QUIET: Final = 100
# So many of the first requests are compared with each other.
_LOOKED_AT: Final = 100_000
# From so many requests on, tenants that are more than this share of them are hardly tenants.
_LEAST_TO_BE_ONE_EACH: Final = 1000
_ONE_EACH: Final = 0.8
# A trace that begins earlier than this (1 January 2000) counts its seconds from somewhere else than 1970.
_LEAST_UNIX_SECONDS: Final = 946_684_800


def trace_notices(requests: Requests) -> list[str]:
    """The worst first."""
    notices = []
    if requests.duration_seconds == 0:
        notices.append("all requests have the same time: nothing per hour can be said")
    if len(requests.tenants) == 1:
        notices.append(
            f"all {len(requests):,} requests are for one tenant, {requests.tenants[0]}: a cache of "
            "models cannot be planned from it; is the tenant column the right one?"
        )
    if len(requests) >= _LEAST_TO_BE_ONE_EACH and len(requests.tenants) > _ONE_EACH * len(requests):
        notices.append(
            f"{len(requests):,} requests name {len(requests.tenants):,} tenants ({requests.tenants[0]}, ...), so "
            "hardly one calls twice: is the tenant column the right one, or does it hold a request's id?"
        )
    return [*notices, *_doubled(requests), *_quiet(requests), *_early(requests)]


def _doubled(requests: Requests) -> list[str]:
    """A log that was exported twice: its first requests all come twice, four times, ..."""
    tenant, seconds = requests.tenant[:_LOOKED_AT], requests.seconds[:_LOOKED_AT]
    # The last moment may be cut off.
    whole = int(np.searchsorted(seconds, seconds[-1])) if len(requests) > _LOOKED_AT else len(seconds)
    if whole < _LEAST_TO_BE_QUIET:
        return []
    order = np.lexsort((tenant[:whole], seconds[:whole]))
    begins = np.flatnonzero((np.diff(tenant[:whole][order]) != 0) | (np.diff(seconds[:whole][order]) != 0)) + 1
    times = np.diff(np.concatenate([[0], begins, [whole]]))
    if (times % 2).any():
        return []
    return [
        f"each of the first {whole:,} requests comes at least twice, with the same tenant and time: if the trace was "
        "exported twice, every rate is twice too high"
    ]


def _quiet(requests: Requests) -> list[str]:
    """A few wrong times stretch a trace and make every rate next to nothing."""
    longest, at = 0.0, 0
    for start in range(0, len(requests) - 1, _CHUNK):
        gaps = np.diff(requests.seconds[start : start + _CHUNK + 1])
        if gaps.max() > longest:
            longest, at = float(gaps.max()), start + int(gaps.argmax())
    if len(requests) < _LEAST_TO_BE_QUIET or longest < max(requests.duration_seconds / 2, _DAY):
        return []
    return [
        f"no request from {_day(requests, at)} to {_day(requests, at + 1)}, {longest / _DAY:,.0f} of "
        f"{requests.duration_seconds / _DAY:,.0f} days ({at + 1:,} requests before, {len(requests) - at - 1:,} after): "
        "every rate counts these days in; are the times right?"
    ]


def _early(requests: Requests) -> list[str]:
    if requests.seconds[-1] >= _LEAST_UNIX_SECONDS:
        return []
    if requests.seconds[0] < _DAY:
        return [
            "the times count from 0: this is a relative trace; hours of the day and days of the week are counted from "
            "Thursday, 1 January 1970, so the rhythm of the day is right and its hours are not"
        ]
    first, last = _day(requests, 0), _day(requests, len(requests) - 1)
    return [f"the times are from {first} to {last}: hours of the day and weekends follow these dates; are they right?"]


def _day(requests: Requests, index: int) -> str:
    return str(datetime.fromtimestamp(float(requests.seconds[index]), UTC).date())

"""Limits the total time of a thread's requests, down to the last byte of a reply.

A socket's own timeout is between two bytes: a reply of one byte a second never reaches it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Limit(threading.local):
    # A time of time.monotonic; None: no limit.
    moment: float | None = None


_limit = _Limit()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit this thread's guarded connections (connections.py) to `seconds` in total, then TimeoutError.

    Of two nested limits the shorter one counts.
    """
    before = _limit.moment
    moment = time.monotonic() + seconds
    _limit.moment = moment if before is None else min(before, moment)
    try:
        yield
    finally:
        _limit.moment = before


def seconds_allowed(most: float | None) -> float | None:
    """The longest time of the next wait for a socket: the shorter of `most` and the remaining time; None: no limit.

    Raises TimeoutError if no time is left.
    """
    moment = _limit.moment
    if moment is None:
        return most
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time allowed for the request is over")
    return min(left, threading.TIMEOUT_MAX if most is None else most)

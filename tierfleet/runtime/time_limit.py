"""How long the requests that a thread makes may take in all, down to the last byte of a reply.

A socket's own timeout is between two bytes: a reply that drips, one byte a second, never meets it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Limit(threading.local):
    # By time.monotonic; None: no limit.
    moment: float | None = None


_limit = _Limit()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within it, this thread's guarded connections (connections.py) end by a timeout after `seconds` in all.

    The shorter one counts where two are nested.
    """
    before = _limit.moment
    moment = time.monotonic() + seconds
    _limit.moment = moment if before is None else min(before, moment)
    try:
        yield
    finally:
        _limit.moment = before


def seconds_allowed(most: float | None) -> float | None:
    """What the next wait for a socket may take: the shorter of `most` and what is left; None: no limit.

    Raises TimeoutError if nothing is left.
    """
    moment = _limit.moment
    if moment is None:
        return most
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time allowed for the request is over")
    return min(left, threading.TIMEOUT_MAX if most is None else most)

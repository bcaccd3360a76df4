"""How fast a backfill calls an endpoint that others call too."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from tierfleet.runtime.client.errors import (
    CatalogUnavailableError,
    DeadlineExceededError,
    EndpointGoneError,
    RoutesUnavailableError,
    ServiceFailedError,
    TenantBusyError,
)

Sent = TypeVar("Sent")

_MAY_PASS: Final = (
    ServiceFailedError,
    DeadlineExceededError,
    TenantBusyError,
    RoutesUnavailableError,
    CatalogUnavailableError,
    EndpointGoneError,
)
_MOST_ATTEMPTS: Final = 6
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0


class Pace:
    """One request at a time, at most so many a second, and at most half of the time.

    After each request it rests at least as long as that request took: where others slow an endpoint down, the backfill
    slows down with it.
    """

    def __init__(
        self,
        requests_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval_seconds = 1 / requests_per_second
        self._clock, self._sleep = clock, sleep
        self._next = clock()
        self.requests = 0

    def call(self, send: Callable[[], Sent]) -> Sent:
        """Wait for this request's turn and send it, again after errors that may pass. Raises CallError."""
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            if (ahead := self._next - self._clock()) > 0:
                self._sleep(ahead)
            began = self._clock()
            self.requests += 1
            try:
                return send()
            except _MAY_PASS:
                if attempt == _MOST_ATTEMPTS:
                    raise
            finally:
                ended = self._clock()
                self._next = max(began + self._interval_seconds, ended + (ended - began))
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable")

"""Which errors of a call are retried, how often, and after which pause."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from tierfleet.runtime.aws_errors import Kind, Verdict

# Attempts of one call that may fail in this way. Kinds that are not listed are not retried. A model that is still
# loading is retried until the deadline.
MOST_ATTEMPTS: Final[Mapping[Kind, float]] = {
    Kind.MODEL_NOT_READY: float("inf"),
    Kind.THROTTLED: 5,
    Kind.UNAVAILABLE: 5,
    Kind.DEPENDENCY: 3,
    Kind.CONTAINER_BUSY: 3,
    Kind.OUT_OF_MEMORY: 3,
    Kind.CONNECTION: 3,
    # Each attempt may take 70 s, and the model server may still be at work on the first one.
    Kind.READ_TIMEOUT: 2,
}
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
# A load takes seconds, and more frequent attempts only use up workers.
FIRST_LOADING_PAUSE_SECONDS: Final = 0.5


class Retries:
    """The attempts of one call so far."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._failures: dict[Kind, int] = {}

    def pause_seconds(self, verdict: Verdict) -> float | None:
        """Count one failure and return how long to wait before the next attempt; None if there is none.

        Pauses double up to 2 s, each drawn at random between half and all of that, so that callers that failed together
        do not retry together.
        """
        failures = self._failures[verdict.kind] = self._failures.get(verdict.kind, 0) + 1
        if failures >= MOST_ATTEMPTS.get(verdict.kind, 1):
            return None
        first = FIRST_LOADING_PAUSE_SECONDS if verdict.kind is Kind.MODEL_NOT_READY else FIRST_PAUSE_SECONDS
        # 2.0 ** 10 is already past the longest pause.
        ceiling = min(LONGEST_PAUSE_SECONDS, first * 2.0 ** min(failures - 1, 10))
        return ceiling * (1 + self._jitter()) / 2

"""One call repeated many times, and its statistics."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.reply import Reply


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """The outcome of all calls."""

    calls: int

    seconds: float
    """From the start of the first call to the end of the last one."""

    latencies_seconds: tuple[float, ...]
    """Of the answered calls, ascending."""

    answered_by: Mapping[tuple[str, str], int]
    """Answered calls by (tier, endpoint)."""

    errors: Mapping[str, int]
    """Failed calls by the name of their error."""

    error_examples: Mapping[str, str]
    """One message for each of these names."""

    retries: int
    """InvokeEndpoint calls after the first one of an answered call."""

    fell_back: int
    """Calls that the default tier answered because the endpoint in the routes does not exist."""

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, ready for json.dumps; times in milliseconds."""
        return {
            "calls": self.calls,
            "answered": len(self.latencies_seconds),
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(self.calls / self.seconds, 1) if self.seconds else None,
            "latency_milliseconds": {
                name: _milliseconds(percentile(self.latencies_seconds, share))
                for name, share in (("min", 0.0), ("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
            },
            "answered_by": [
                {"tier": tier, "endpoint": endpoint, "calls": calls}
                for (tier, endpoint), calls in sorted(self.answered_by.items())
            ],
            "errors": {
                name: {"calls": calls, "example": self.error_examples[name]} for name, calls in self.errors.items()
            },
            "retries": self.retries,
            "fell_back": self.fell_back,
        }


def call_many(
    invoke: Callable[[], Reply],
    *,
    count: int,
    concurrency: int,
    ended: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> BatchReport:
    """Call `count` times in `concurrency` threads.

    >>> report = call_many(lambda: fleet.invoke("m37", b"0.3,1.0,12.5"), count=20, concurrency=4)
    >>> report.calls, report.failed, report.answered_by
    (20, 0, {('tail', 'fraud--prod--tail--all--mme-m5-xlarge'): 20})
    >>> percentile(report.latencies_seconds, 0.95) < 70
    True

    ended: called after each call, from any thread.
    A CallError is counted. Any other exception ends the run and is raised.
    """
    run = _Run(invoke, count, ended, clock)
    started = clock()
    threads = [threading.Thread(target=run.work, daemon=True) for _ in range(min(concurrency, count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if run.broken is not None:
        raise run.broken
    return run.report(clock() - started)


class _Run:
    """The counts of a run; the lock protects all of them."""

    def __init__(
        self, invoke: Callable[[], Reply], count: int, ended: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        self.invoke = invoke
        self.count = count
        self.ended = ended
        self.clock = clock
        self.lock = threading.Lock()
        self.left = count
        self.latencies: list[float] = []
        self.answered_by: Counter[tuple[str, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.error_examples: dict[str, str] = {}
        self.retries = 0
        self.fell_back = 0
        self.broken: BaseException | None = None

    def work(self) -> None:
        try:
            while self._take():
                self._call()
                self.ended()
        except BaseException as error:
            with self.lock:
                self.broken, self.left = error, 0

    def report(self, seconds: float) -> BatchReport:
        return BatchReport(
            calls=self.count,
            seconds=seconds,
            latencies_seconds=tuple(sorted(self.latencies)),
            answered_by=dict(self.answered_by),
            errors=dict(self.errors.most_common()),
            error_examples=self.error_examples,
            retries=self.retries,
            fell_back=self.fell_back,
        )

    def _call(self) -> None:
        started = self.clock()
        try:
            reply = self.invoke()
        except CallError as error:
            self._note_error(error)
        else:
            self._note_reply(reply, self.clock() - started)

    def _take(self) -> bool:
        with self.lock:
            if self.left <= 0:
                return False
            self.left -= 1
            return True

    def _note_error(self, error: CallError) -> None:
        name = type(error).__name__
        with self.lock:
            self.errors[name] += 1
            self.error_examples.setdefault(name, str(error))

    def _note_reply(self, reply: Reply, seconds: float) -> None:
        with self.lock:
            self.latencies.append(seconds)
            self.answered_by[reply.tier, reply.endpoint] += 1
            self.retries += reply.attempts - 1
            self.fell_back += reply.fell_back


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; share: 0 to 1. None if there are no values."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def histogram(ascending: Sequence[float], *, bins: int = 12) -> list[tuple[float, float, int]]:
    """(from, to, count) in equal steps of the logarithm, since latencies span decades; [] if there are no values."""
    if not ascending:
        return []
    lowest, highest = max(ascending[0], 1e-6), max(ascending[-1], 1e-6)
    if highest <= lowest * 1.01:
        return [(lowest, highest, len(ascending))]
    step = (highest / lowest) ** (1 / bins)
    counts = Counter(min(bins - 1, int(math.log(max(value, lowest) / lowest, step))) for value in ascending)
    return [(lowest * step**number, lowest * step ** (number + 1), counts[number]) for number in range(bins)]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)

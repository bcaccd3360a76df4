"""A caller's metrics for the fleet and for the busiest tenants. CloudWatch has none per model.

Metrics are billed per name and hour, so at most `named_tenants` tenants get their own dimension in an hour. The others
share OTHER_TENANTS.
"""

import logging
import os
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Final

from tierfleet.runtime import metrics

# Never a tenant id, which has no underscore.
OTHER_TENANTS: Final = "_other"
# A process that is killed loses the counts of this time.
FLUSH_SECONDS: Final = 10.0
NAMES_KEPT_SECONDS: Final = 3600.0
# If more calls wait to be written, the oldest are dropped, so that memory stays bounded.
MOST_CALLS_BUFFERED: Final = 50_000

_log = logging.getLogger(__name__)

Emit = Callable[[str], object]


def default_emit() -> Emit | None:
    """Standard output inside a Lambda function, where each line becomes metrics; None elsewhere."""
    return _to_standard_output if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else None


def _to_standard_output(line: str) -> None:
    # One write: other threads print too, and half a line is not a metric.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class CallMetrics:
    """Collects calls and writes them every 10 s in a background thread; a call costs one append. Thread-safe.

    emit: takes one line of Embedded Metric Format; None disables metrics.
    """

    def __init__(
        self,
        emit: Emit | None,
        *,
        fleet: str,
        environment: str,
        named_tenants: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._fleet = fleet
        self._environment = environment
        self._named_tenants = named_tenants
        self._clock = clock
        self._calls: deque[tuple[str, float, bool]] = deque(maxlen=MOST_CALLS_BUFFERED)
        self._lock = threading.Lock()
        self._route_counts: Counter[str] = Counter()
        self._flush_lock = threading.Lock()
        self._names: set[str] = set()
        self._named_at = clock()
        self._calls_since_named: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def call(self, tenant: str, seconds: float, *, answered: bool) -> None:
        """Record one call, its duration and whether it was answered."""
        if self._emit is None:
            return
        self._calls.append((tenant, seconds, answered))
        if self._thread is None:
            self._start()

    def route(self, name: str) -> None:
        """Count one RouteErrors, RouteFallback or StalePointers. The stack's rollback monitor watches RouteErrors."""
        if self._emit is None:
            return
        with self._lock:
            self._route_counts[name] += 1
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write the collected calls now, in this thread. A line that cannot be written is logged and dropped."""
        emit = self._emit
        if emit is None:
            return
        with self._flush_lock:
            for line in self._lines():
                try:
                    emit(line)
                except Exception as error:
                    _log.warning("a metric line could not be written: %s: %s", type(error).__name__, error)

    def close(self) -> None:
        """Stop the thread and write the rest."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self.flush()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._closed.is_set():
                return
            thread = threading.Thread(target=self._flush_regularly, name="tierfleet-metrics", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # No thread can be started, or the interpreter exits. The next call tries again, and close() writes.
                _log.warning("metric lines are not written for now: %s", error)
                return
            self._thread = thread

    def _flush_regularly(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self.flush()

    def _lines(self) -> Iterator[str]:
        # One flush drains at a time, so the length can only grow.
        calls = [self._calls.popleft() for _ in range(len(self._calls))]
        with self._lock:
            route_counts, self._route_counts = self._route_counts, Counter()
        if route_counts:
            yield self._line(dict(route_counts), None)
        if not calls:
            return
        self._choose_names(Counter(tenant for tenant, _, _ in calls))
        yield from self._lines_of(calls, None)
        by_name: defaultdict[str, list[tuple[str, float, bool]]] = defaultdict(list)
        for call in calls:
            by_name[call[0] if call[0] in self._names else OTHER_TENANTS].append(call)
        for name, own_calls in sorted(by_name.items()):
            yield from self._lines_of(own_calls, name)

    def _choose_names(self, calls: Counter[str]) -> None:
        """Give free names to the busiest tenants of this flush; every hour, all names to those of the last hour."""
        if self._clock() - self._named_at >= NAMES_KEPT_SECONDS:
            self._names = {tenant for tenant, _ in self._calls_since_named.most_common(self._named_tenants)}
            self._calls_since_named.clear()
            self._named_at = self._clock()
        self._calls_since_named.update(calls)
        for tenant, _ in calls.most_common():
            if len(self._names) >= self._named_tenants:
                break
            self._names.add(tenant)

    def _lines_of(self, calls: list[tuple[str, float, bool]], tenant: str | None) -> Iterator[str]:
        for start in range(0, len(calls), metrics.MOST_VALUES):
            part = calls[start : start + metrics.MOST_VALUES]
            values: dict[str, float | list[float]] = {
                metrics.CALLS: len(part),
                metrics.CALL_ERRORS: sum(not answered for _, _, answered in part),
                metrics.CALL_LATENCY: [round(seconds * 1000, 3) for _, seconds, _ in part],
            }
            yield self._line(values, tenant)

    def _line(self, values: dict[str, float | list[float]], tenant: str | None) -> str:
        return metrics.emf_line(values, fleet=self._fleet, environment=self._environment, tenant=tenant)

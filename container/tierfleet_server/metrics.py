"""Counters in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from .request_memory import RequestMemory
from .scheduler import Scheduler

# Fine where one-row calls are, and coarse above, where a bucket only says "slow".
_BUCKETS_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)


class Metrics:
    """Counters since the start. Only the event loop's thread uses them."""

    def __init__(self) -> None:
        self.invocations: Counter[int] = Counter()
        self.explanations: Counter[int] = Counter()
        self.loads: Counter[int] = Counter()
        self.unloads = 0
        self.log_records_dropped = 0
        self._durations = [0] * (len(_BUCKETS_SECONDS) + 1)
        self._seconds = self._explanation_seconds = 0.0

    def invoked(self, status: int, seconds: float) -> None:
        """Count one invocation by its HTTP status and duration."""
        self.invocations[status] += 1
        self._durations[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
        self._seconds += seconds

    def explained(self, status: int, seconds: float) -> None:
        """Count one invocation that asked for contributions, in addition to `invoked`."""
        self.explanations[status] += 1
        self._explanation_seconds += seconds

    def render(
        self,
        *,
        models: Mapping[str, tuple[int, int]],
        used_bytes: int,
        budget_bytes: int,
        full: bool,
        requests: RequestMemory,
        scheduler: Scheduler,
        explainer: Scheduler,
    ) -> bytes:
        """The text that a Prometheus server scrapes. `models`: how many there are of each form, and their bytes."""
        lines: list[str] = []

        def metric(name: str, kind: str, meaning: str, samples: list[tuple[str, float]]) -> None:
            lines.append(f"# HELP tierfleet_{name} {meaning}")
            lines.append(f"# TYPE tierfleet_{name} {kind}")
            lines.extend(f"tierfleet_{name}{labels} {value}" for labels, value in samples)

        def by_status(counter: Counter[int]) -> list[tuple[str, float]]:
            return [(f'{{status="{status}"}}', count) for status, count in sorted(counter.items())]

        def by_form(place: int) -> list[tuple[str, float]]:
            return [(f'{{form="{form}"}}', counted[place]) for form, counted in sorted(models.items())]

        metric("models", "gauge", "Models in memory.", [("", sum(count for count, _ in models.values()))])
        metric("models_by_form", "gauge", "Models in memory by what holds their trees.", by_form(0))
        metric("models_bytes", "gauge", "Memory of those models, each as it was counted at its load.", by_form(1))
        metric("memory_used_bytes", "gauge", "Memory counted against the budget.", [("", used_bytes)])
        metric("memory_budget_bytes", "gauge", "Memory that models may use.", [("", budget_bytes)])
        metric("memory_full", "gauge", "1 after a 507 until a load has room again.", [("", int(full))])
        metric("requests_bytes", "gauge", "Memory counted for requests in flight.", [("", requests.in_use_bytes)])
        metric("requests_limit_bytes", "gauge", "Memory that they may use.", [("", requests.limit_bytes)])
        metric("requests_waiting", "gauge", "Requests whose bodies wait for memory.", [("", requests.waiting)])
        metric("requests_refused_total", "counter", "Requests refused for want of memory.", [("", requests.refused)])
        metric("loads_total", "counter", "Loads by HTTP status.", by_status(self.loads))
        metric("unloads_total", "counter", "Models unloaded.", [("", self.unloads)])
        metric("invocations_total", "counter", "Invocations by HTTP status.", by_status(self.invocations))
        both = (scheduler, explainer)
        waiting, cancelled = sum(one.waiting for one in both), sum(one.cancelled for one in both)
        late, away = sum(one.late for one in both), sum(one.turned_away for one in both)
        metric("invocations_waiting", "gauge", "Invocations that wait for a thread or have one.", [("", waiting)])
        metric("invocations_cancelled_total", "counter", "Invocations whose client had gone.", [("", cancelled)])
        metric("invocations_late_total", "counter", "Invocations that were not ready in time.", [("", late)])
        metric("invocations_turned_away_total", "counter", "Invocations beyond a model's queue.", [("", away)])
        metric("explanations_total", "counter", "Of invocations, those with contribs.", by_status(self.explanations))
        seconds = self._explanation_seconds
        metric("explanation_seconds_total", "counter", "Time from whole request to reply, of those.", [("", seconds)])
        metric("explanations_waiting", "gauge", "Of those waiting, with contribs.", [("", explainer.waiting)])
        metric(
            "log_records_dropped_total",
            "counter",
            "Log lines that the reader was too slow for.",
            [("", self.log_records_dropped)],
        )
        running, samples = 0, []
        for limit, count in zip((*map(str, _BUCKETS_SECONDS), "+Inf"), self._durations, strict=True):
            running += count
            samples.append((f'_bucket{{le="{limit}"}}', float(running)))
        samples += [("_sum", self._seconds), ("_count", running)]
        metric("invocation_seconds", "histogram", "Time from whole request to reply.", samples)
        return ("\n".join(lines) + "\n").encode()

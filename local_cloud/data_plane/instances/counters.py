"""What one instance did since it started, for people and tests. Metrics come from observations."""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

_WAITS_KEPT = 2000


@dataclass
class Counters:
    requests: int = 0
    hits: int = 0
    loads: int = 0
    unloads: int = 0
    downloads: int = 0
    disk_hits: int = 0
    disk_evictions: int = 0
    refusals_for_memory: int = 0  # 507
    spills: int = 0
    not_ready: int = 0
    restarts: int = 0
    _load_waits_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_WAITS_KEPT))

    def waited(self, seconds: float) -> None:
        self._load_waits_seconds.append(seconds)

    def to_json(self) -> dict[str, Any]:
        """The counters, and the 95th percentile of the last waits for a model in milliseconds."""
        counted = asdict(self)
        waits = sorted(counted.pop("_load_waits_seconds"))
        p95 = waits[min(len(waits) - 1, int(0.95 * len(waits)))] * 1000 if waits else None
        return {**counted, "load_wait_p95_milliseconds": p95 and round(p95, 3)}

"""The hit ratio of the multi-model endpoints over time, from their instances' own counters."""

import threading
import time
from types import TracebackType
from typing import Final

from local_cloud import LocalCloud

_EVERY_SECONDS: Final = 1.0


class CacheSampler:
    """A thread that reads every instance's counters once a second; instances that end keep their last values."""

    def __init__(self, cloud: LocalCloud, account: str, endpoint_part: str) -> None:
        self._cloud, self._account, self._part = cloud, account, endpoint_part
        self._last: dict[str, tuple[int, int]] = {}
        self._samples: list[tuple[float, int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="cache")

    def __enter__(self) -> "CacheSampler":
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def sample(self) -> None:
        for row in self._cloud.admin("instances"):
            if row["account"] == self._account and self._part in row["endpoint"]:
                counters = row["counters"]
                self._last[row["instance"]] = (counters["hits"], counters["requests"])
        hits, requests = (sum(values) for values in zip(*self._last.values(), strict=True)) if self._last else (0, 0)
        self._samples.append((time.time(), hits, requests))

    def ratio(self, began: float, ended: float) -> float | None:
        """Hits of all requests, warm-up probes among them, between two moments of the wall clock; None of none."""
        inside = [sample for sample in self._samples if began <= sample[0] <= ended]
        if len(inside) < 2 or inside[-1][2] == inside[0][2]:
            return None
        return (inside[-1][1] - inside[0][1]) / (inside[-1][2] - inside[0][2])

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self.sample()

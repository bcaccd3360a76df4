"""Leaves out the waiting that no caller could notice, and only that.

The local emulator's clock runs as the wall's. It is moved to the end of an instance's start (its process must still
become healthy by itself), of a rollback and of a deletion, which callers do not wait for, and to the end of a bake once
callers have had, in wall time, what they hold a route for. A shorter bake is the harder test: the old endpoint goes
earlier.
"""

import threading
import time
from types import TracebackType
from typing import Any, Final

from local_cloud import LocalCloud
from local_cloud.services.sagemaker.endpoint_states import ROLLBACK_SECONDS
from local_cloud.services.sagemaker.endpoints import DELETE_SECONDS
from local_cloud.services.sagemaker.traffic_shift import PROVISION_SECONDS

_LOOK_SECONDS: Final = 0.25
_SKIPPED: Final = {
    "EndpointCreating": PROVISION_SECONDS,
    "EndpointUpdating": PROVISION_SECONDS,
    "EndpointRollingBack": ROLLBACK_SECONDS,
    "EndpointDeleting": DELETE_SECONDS,
}


class Clock:
    """A thread that follows the event log; `events` are all entries so far, `flipped` when a Deployment began."""

    def __init__(self, cloud: LocalCloud, account: str, *, bake_seconds: float, bake_wall_seconds: float) -> None:
        self.events: list[dict[str, Any]] = []
        self.flips: list[float] = []
        self._cloud, self._account = cloud, account
        self._bake_seconds, self._bake_wall_seconds = bake_seconds, bake_wall_seconds
        self._since = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="clock")
        self.problem: Exception | None = None

    def __enter__(self) -> "Clock":
        self._cloud.admin("clock", {"mode": "real"})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for_flip(self, number: int, limit_seconds: float) -> None:
        """Return when that many Deployments have begun; raises TimeoutError."""
        give_up = time.monotonic() + limit_seconds
        while len(self.flips) < number:
            if time.monotonic() > give_up or self.problem:
                raise TimeoutError(f"no Deployment began within {limit_seconds:g} s") from self.problem
            time.sleep(0.1)

    def _run(self) -> None:
        baking: dict[str, tuple[float, float]] = {}
        try:
            while not self._ended.wait(_LOOK_SECONDS):
                for event in self._news():
                    self.events.append(event)
                    if event["action"] in _SKIPPED:
                        self._move_to(event["time"] + _SKIPPED[event["action"]])
                    elif event["action"] == "ConfigurationDeploying":
                        self.flips.append(time.time())
                        baking[event["resource"]] = (time.monotonic(), event["time"])
                    elif event["action"].startswith("Configuration"):
                        baking.pop(event["resource"], None)
                for resource, (began, at) in list(baking.items()):
                    if time.monotonic() - began >= self._bake_wall_seconds:
                        self._move_to(at + self._bake_seconds)
                        del baking[resource]
        except Exception as error:
            self.problem = error

    def _news(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._cloud.admin(f"events?since={self._since}")
        if entries:
            self._since = entries[-1]["sequence"] + 1
        return [entry for entry in entries if entry["account"] == self._account]

    def _move_to(self, moment: float) -> None:
        if (ahead := moment - self._cloud.admin("clock")["now"]) > 0:
            self._cloud.admin("clock", {"advance_seconds": ahead})

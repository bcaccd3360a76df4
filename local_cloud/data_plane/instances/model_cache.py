"""Which models one instance of a multi-model endpoint has in memory and on disk, and how it gets one.

LOAD until the container says 507, then UNLOAD the least recently used model that no request uses, then LOAD again.
Unloaded models stay on disk. That eviction takes the least recently used one is our reading: AWS says "unused".
https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoints.html
"""

import asyncio
import hashlib
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.instances.container_client import ContainerClient, ContainerGoneError, ContainerReply
from local_cloud.data_plane.instances.counters import Counters
from local_cloud.data_plane.instances.disk_cache import Artefact, DiskCache
from local_cloud.data_plane.invocation_errors import disk_full, instance_lost, model_error, response_timed_out

_UNLOAD_SECONDS = 60.0
# A model that could not be loaded is not tried again for this long, then for twice as long, up to the second figure:
# each try may evict other models.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 30.0, 3600.0

Fetch = Callable[[str, Path, int], Awaitable[int]]
"""(target model, new directory, most bytes) -> bytes on disk"""
OverBudget = Callable[[], Awaitable[bool]]
"""Whether the container has more memory than its budget."""
Observe = Callable[[str, float], None]
"""(metric name, value)"""


@dataclass
class _Refused:
    error: ServiceError
    until: float
    pause_seconds: float


class ModelCache:
    """The two levels of one instance. Everything happens on the event loop's thread."""

    def __init__(
        self,
        container: ContainerClient,
        disk: DiskCache,
        *,
        fetch: Fetch,
        observe: Observe,
        counters: Counters,
        loads_at_a_time: int,
        max_loading_seconds: float,
        over_budget: OverBudget | None = None,
    ) -> None:
        self.memory: OrderedDict[str, None] = OrderedDict()  # least recently used first
        self.loading: dict[str, asyncio.Task[None]] = {}
        self.in_use: Counter[str] = Counter()
        self.full = False  # the container has answered 507: from now on a load evicts a model
        self.disk = disk
        self._container, self._fetch, self._observe, self._counters = container, fetch, observe, counters
        self._over_budget = over_budget
        self._slots = asyncio.Semaphore(loads_at_a_time)
        self._max_loading_seconds = max_loading_seconds
        self._refused: dict[str, _Refused] = {}
        self._something_released = asyncio.Event()
        self._in_container = 0  # LOADs under way

    def holds(self, model: str) -> bool:
        """Whether requests for the model should be routed here: it is in memory, or will be."""
        return model in self.memory or model in self.loading

    def enter(self, model: str) -> bool:
        """Note the beginning of a request for the model. Returns whether it is in memory."""
        self.in_use[model] += 1
        self.disk.touch(model)
        if model not in self.memory:
            return False
        self.memory.move_to_end(model)
        return True

    def leave(self, model: str) -> None:
        """Note the end of a request."""
        self.in_use[model] -= 1
        if self.in_use[model] <= 0:
            del self.in_use[model]
            self._something_released.set()

    async def ensure(self, model: str, *, max_wait_seconds: float) -> None:
        """Wait until the model is in memory. Concurrent calls share one load.

        Raises TimeoutError when that takes longer, while the load goes on; ServiceError when it failed.
        """
        if model in self.memory:
            return
        task = self.start_loading(model)
        done, _ = await asyncio.wait([task], timeout=max_wait_seconds)
        if not done:
            raise TimeoutError
        if task.cancelled():
            raise instance_lost("its container ended")
        task.result()

    def start_loading(self, model: str) -> "asyncio.Task[None]":
        """The one load of a model, begun now unless it runs already."""
        task = self.loading.get(model)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load_in_time(model))
            self.loading[model] = task
            task.add_done_callback(lambda done: self._loaded(model, done))
        return task

    def forget(self, model: str) -> None:
        """The container does not have the model any more."""
        self.memory.pop(model, None)

    async def discard(self, model: str) -> None:
        """Unload it and delete it from disk, as ModelCacheSetting Disabled asks, unless it is in use."""
        if model in self.memory and not self.in_use[model]:
            await self._unload(model)
            self.disk.drop(model)

    def close(self) -> None:
        """The container is gone, and everything with it."""
        for task in list(self.loading.values()):
            task.cancel()
        self.memory.clear()
        self.disk.clear()

    def _loaded(self, model: str, task: "asyncio.Task[None]") -> None:
        self.loading.pop(model, None)
        self._something_released.set()
        if not task.cancelled():
            # Read once, or asyncio would log it as never retrieved.
            task.exception()  # there may be no waiter left

    async def _load_in_time(self, model: str) -> None:
        if (refused := self._refused.get(model)) and time.monotonic() < refused.until:
            raise refused.error
        try:
            async with asyncio.timeout(self._max_loading_seconds), self._slots:
                if model in self.disk.models:
                    self._counters.disk_hits += 1
                else:
                    await self._download(model)
                await self._load(model)
        except TimeoutError:
            error = model_error(0, f"the model did not load within {self._max_loading_seconds:.0f} s".encode())
            self._refuse(model, error)
            raise error from None
        self._refused.pop(model, None)
        self.memory[model] = None
        self._counters.loads += 1

    async def _download(self, model: str) -> None:
        started = time.perf_counter()
        directory = self.disk.new_directory()
        needed_by_others = sum(a.size_bytes for name, a in self.disk.models.items() if self._in_demand(name))
        try:
            size = await self._fetch(model, directory, max(0, self.disk.budget_bytes - needed_by_others))
        except ServiceError as error:
            if error.code == "ModelError":
                self._refuse(model, error)
            raise
        self.disk.models[model] = Artefact(directory, size)
        await self._free_disk()
        if self.disk.over:
            self.disk.drop(model)
            raise disk_full(f"it takes {size} bytes, the instance's disk has {self.disk.budget_bytes} bytes")
        self._counters.downloads += 1
        self._observe("ModelDownloadingTime", (time.perf_counter() - started) * 1e6)

    async def _free_disk(self) -> None:
        """Delete artefacts of unloaded models. If that is not enough, unload models without requests."""
        self.disk.evict(pinned=self.holds)
        while self.disk.over and (victim := self._unused()) is not None:
            await self._unload(victim)
            self.disk.evict(pinned=self.holds)
        self._counters.disk_evictions = self.disk.evictions

    def _in_demand(self, model: str) -> bool:
        return model in self.loading or self.in_use[model] > 0

    def _unused(self) -> str | None:
        """The least recently used model in memory that no request uses."""
        return next((name for name in self.memory if not self.in_use[name]), None)

    async def _load(self, model: str) -> None:
        body = json.dumps({"model_name": container_name(model), "url": str(self.disk.models[model].directory)}).encode()
        headers = [(b"content-type", b"application/json")]
        await self._return_to_budget()
        while True:
            started = time.perf_counter()
            self._in_container += 1
            try:
                reply = await self._ask(b"POST", b"/models", headers, body, self._max_loading_seconds)
            finally:
                self._in_container -= 1
            if reply.status in (200, 409):
                self._observe("ModelLoadingTime", (time.perf_counter() - started) * 1e6)
                return
            error = model_error(reply.status, reply.body)
            if reply.status != 507:
                self._refuse(model, error)
                raise error
            self._counters.refusals_for_memory += 1
            self.full = True
            await self._free_memory(model, error)

    async def _free_memory(self, model: str, refusal: ServiceError) -> None:
        """UNLOAD the least recently used model without requests; wait for one if all have some."""
        if (victim := self._unused()) is not None:
            await self._unload(victim)
            return
        if not self.memory and not self._in_container:
            self._refuse(model, refusal, forever=True)  # it does not fit even alone
            raise refusal
        self._something_released.clear()
        await self._something_released.wait()

    async def _return_to_budget(self) -> None:
        """For a container that never says 507: unload until its memory is within the budget."""
        while self._over_budget is not None and await self._over_budget():
            self.full = True
            if (victim := self._unused()) is None:
                return
            await self._unload(victim)

    async def _unload(self, model: str) -> None:
        del self.memory[model]
        started = time.perf_counter()
        path = b"/models/" + container_name(model).encode()
        await self._ask(b"DELETE", path, [], b"", _UNLOAD_SECONDS)
        self._counters.unloads += 1
        self._something_released.set()
        self._observe("ModelUnloadingTime", (time.perf_counter() - started) * 1e6)

    async def _ask(
        self, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes, timeout_seconds: float
    ) -> ContainerReply:
        try:
            return await self._container.ask(method, path, headers=headers, body=body, timeout_seconds=timeout_seconds)
        except ContainerGoneError as error:
            raise instance_lost(str(error)) from None
        except TimeoutError:
            raise response_timed_out() from None

    def _refuse(self, model: str, error: ServiceError, *, forever: bool = False) -> None:
        before = self._refused.get(model)
        pause = min(before.pause_seconds * 2, _LONGEST_PAUSE_SECONDS) if before else _FIRST_PAUSE_SECONDS
        until = float("inf") if forever else time.monotonic() + pause
        self._refused[model] = _Refused(error, until, pause)


def container_name(model: str) -> str:
    """The opaque name by which the container knows a TargetModel."""
    return hashlib.sha256(model.encode()).hexdigest()[:32]

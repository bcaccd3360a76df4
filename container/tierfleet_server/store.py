"""The models in memory: admitted within a budget and loaded while calls are answered, one load a model.

All state belongs to the event loop's thread. Other threads only read and free models.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from .logs import logger
from .memory_limit import MIB
from .model import heap
from .model.booster import Model
from .model.load_limits import Admitted
from .model.refusal import Refusal, shown

# Files that are read and checked at once, small and large ones separately, so none waits for another tenant's slow
# file.
CHECKS_AT_ONCE = 4
# After a 507, a load must stay below this share of the budget. Otherwise a load would fail after each small unload.
LOW_WATER = 0.95


@dataclass(slots=True)
class Loaded:
    """A model in memory. `size_bytes` is what it took in the trial, or else what this process grew by."""

    name: str
    url: str
    model: Model
    size_bytes: int
    load_seconds: float


class Store:
    """The loaded models by name.

    `size_on_disk` and `load_model` are parameters, so the store knows no format. Both run in threads, several at once.
    The memory of running loads counts as used.
    """

    def __init__(
        self,
        budget_bytes: int,
        *,
        size_on_disk: Callable[[str], Admitted],
        load_model: Callable[[str, Admitted], Model],
    ) -> None:
        self.models: dict[str, Loaded] = {}
        self.budget_bytes = budget_bytes
        self.full = False
        self._size_on_disk, self._load_model = size_on_disk, load_model
        self._loading: dict[str, tuple[str, asyncio.Task[Loaded]]] = {}
        self._look: Executor = ThreadPoolExecutor(1, "look")
        self._small: Executor = ThreadPoolExecutor(CHECKS_AT_ONCE, "load")
        self._big: Executor = ThreadPoolExecutor(CHECKS_AT_ONCE, "load-big")
        self._reserved_bytes = 0
        self._objects_bytes = 0  # of the models, in Python's own allocator
        self._load_ended = asyncio.Event()
        self._releaser: Executor = ThreadPoolExecutor(1, "release")
        self._trimmer = heap.Trimmer()
        self._baseline = heap.in_use_bytes() or 0

    def used_bytes(self) -> int:
        """Bytes in use now beyond those at start: the models and the requests in flight."""
        in_use = heap.in_use_bytes()
        if in_use is None:
            return sum(loaded.size_bytes for loaded in self.models.values())
        return max(0, in_use - self._baseline) + self._objects_bytes

    async def trim_when_idle(self) -> None:
        """Return freed memory to the system when it is due, forever."""
        while True:
            await asyncio.sleep(heap.TRIM_CHECK_SECONDS)
            if self._trimmer.due():
                await asyncio.get_running_loop().run_in_executor(self._releaser, self._trimmer.trim)

    async def load(self, name: str, url: str) -> Loaded:
        """Load a model; raises Refusal: 409 if it is loaded, 507 without room, 404 or 400 if it cannot be.

        Callers that ask for the same load while it runs share it. A load that fails leaves nothing behind.
        """
        if name in self.models:
            raise Refusal(409, f"model {shown(name)} is already loaded; unload it first")
        running = self._loading.get(name)
        if running is not None:
            if running[0] != url:
                raise Refusal(409, f"model {shown(name)} is being loaded from another url; wait, then unload it")
            return await asyncio.shield(running[1])
        task = asyncio.get_running_loop().create_task(self._load(name, url))
        self._loading[name] = (url, task)
        task.add_done_callback(lambda _: self._loading.pop(name, None))
        return await asyncio.shield(task)

    async def unload(self, name: str) -> None:
        """Free a model, after its load if that is running; raises Refusal (404) if it is not loaded."""
        running = self._loading.get(name)
        if running is not None:
            await asyncio.wait([running[1]])
        if name not in self.models:
            raise Refusal(404, f"model {shown(name)} is not loaded")
        # No variable here may keep the model, or this thread would free it: that takes milliseconds.
        holder = [self.models.pop(name)]
        self._objects_bytes -= _object_bytes(holder[0].model)
        await asyncio.get_running_loop().run_in_executor(self._releaser, self._drop, holder)

    def get(self, name: str) -> Loaded:
        """A loaded model; raises Refusal (404) if it is not."""
        try:
            return self.models[name]
        except KeyError:
            raise Refusal(404, f"model {shown(name)} is not loaded") from None

    def page(self, after: str, limit: int) -> tuple[list[Loaded], str | None]:
        """Up to `limit` models by name, beginning after `after`; and the name to continue after, if any."""
        names = sorted(name for name in self.models if name > after)
        page = [self.models[name] for name in names[:limit]]
        return page, names[limit - 1] if len(names) > limit else None

    def by_form(self) -> dict[str, tuple[int, int]]:
        """For each form the number of models and the bytes counted for them."""
        forms: dict[str, tuple[int, int]] = {}
        for loaded in self.models.values():
            count, size_bytes = forms.get(loaded.model.form, (0, 0))
            forms[loaded.model.form] = count + 1, size_bytes + loaded.size_bytes
        return forms

    async def _load(self, name: str, url: str) -> Loaded:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        admitted = await loop.run_in_executor(self._look, self._size_on_disk, url)
        while not self._admit(name, admitted.needed_bytes):
            self._load_ended.clear()
            await self._load_ended.wait()
        self._reserved_bytes += admitted.needed_bytes
        threads = self._small if admitted.is_small else self._big
        try:
            loaded = await loop.run_in_executor(threads, self._read, name, url, admitted, started)
        finally:
            self._reserved_bytes -= admitted.needed_bytes
            self._load_ended.set()
        self.models[name] = loaded
        self._objects_bytes += _object_bytes(loaded.model)
        extra = {
            "model": name,
            "url": url,
            "form": loaded.model.form,
            "bytes": loaded.size_bytes,
            "seconds": round(loaded.load_seconds, 4),
        }
        logger.info("loaded", extra=extra)
        return loaded

    def _read(self, name: str, url: str, admitted: Admitted, started: float) -> Loaded:
        before = heap.in_use_bytes()
        try:
            model = self._load_model(url, admitted)
        except MemoryError:
            self.full = True
            raise Refusal(507, f"no memory to load model {shown(name)}; unload others and try again") from None
        except Exception as error:
            # Its frames would keep the file's bytes as long as the error lives.
            error.__context__ = None
            raise error.with_traceback(None) from None
        after = heap.in_use_bytes()
        grown: int | None = getattr(model, "heap_bytes", None)
        if grown is None:
            grown = after - before if after is not None and before is not None else int(1.6 * admitted.size_bytes)
        grown += _object_bytes(model)
        used = self.used_bytes() + _object_bytes(model)
        if used > self.budget_bytes and self.models:
            del model  # free it now, not with the error
            self.full = True
            raise Refusal(
                507,
                f"model {shown(name)} took {grown / MIB:.1f} MiB and made it {used / MIB:.1f} of "
                f"{self.budget_bytes / MIB:.1f} MiB; unload others and try again",
            )
        self._trimmer.freed(admitted.size_bytes)
        size_bytes = max(grown, admitted.size_bytes // 2)
        return Loaded(name, url, model, size_bytes, time.perf_counter() - started)

    def _admit(self, name: str, needed: int) -> bool:
        """True if a load fits now, False if it will after the running loads; raises Refusal (507)."""
        if needed > self.budget_bytes:
            raise Refusal(
                507,
                f"model {shown(name)} needs about {needed / MIB:.1f} MiB to load, and models may have "
                f"{self.budget_bytes / MIB:.1f} MiB in all; give it an instance with more memory",
            )
        used = self.used_bytes()
        ceiling = self.budget_bytes * LOW_WATER if self.full and self.models else self.budget_bytes
        if used + needed + self._reserved_bytes > ceiling and self._reserved_bytes:
            return False
        if used + needed > ceiling:
            self.full = True
            raise Refusal(
                507,
                f"model {shown(name)} needs about {needed / MIB:.1f} MiB to load, {used / MIB:.1f} of "
                f"{self.budget_bytes / MIB:.1f} MiB are in use; unload others and try again",
            )
        self.full = False
        return True

    def _drop(self, holder: list[Loaded]) -> None:
        size_bytes = holder.pop().size_bytes
        self._trimmer.freed(size_bytes)


def _object_bytes(model: Model) -> int:
    size_bytes: int = getattr(model, "object_bytes", 0)
    return size_bytes

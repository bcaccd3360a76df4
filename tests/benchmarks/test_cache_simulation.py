"""The exact simulation of benchmarks/cache is what the model server, the cache and the routing do together."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tierfleet_server.model import heap
from tierfleet_server.model.load_limits import Admitted
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.store import Store

from benchmarks.cache import simulation
from local_cloud.data_plane import routing
from local_cloud.data_plane.instances.container_client import ContainerReply
from local_cloud.data_plane.instances.counters import Counters
from local_cloud.data_plane.instances.disk_cache import DiskCache
from local_cloud.data_plane.instances.model_cache import ModelCache

# What the server's store takes a model for where the C library cannot tell: 1.6 bytes a byte of its file.
RESIDENT = 1.6
FILES = {f"m{number:02}": 10 * (3 + number % 5) for number in range(24)}
SIZES = {model: simulation.Sizes(int(RESIDENT * file), file) for model, file in FILES.items()}


def _loaded(_url: str, _admitted: Admitted) -> SimpleNamespace:
    return SimpleNamespace(form="booster")


class Instance:
    """A data plane's instance whose container is the server's own store."""

    def __init__(self, name: str, memory_bytes: int, disk_bytes: int) -> None:
        self.id, self.in_service, self.in_flight, self.counters = name, True, Counter[str](), Counters()
        self._store = Store(memory_bytes, size_on_disk=self._size_on_disk, load_model=_loaded)  # type: ignore[arg-type,return-value]
        self.cache = ModelCache(
            self,  # type: ignore[arg-type]
            DiskCache(Path("/nonexistent"), disk_bytes),
            fetch=self._fetch,
            observe=lambda *_: None,
            counters=self.counters,
            loads_at_a_time=2,
            max_loading_seconds=30,
        )
        self._files: dict[str, int] = {}

    def _size_on_disk(self, url: str) -> Admitted:
        return Admitted(self._files[url], "ubj")

    async def _fetch(self, model: str, directory: Path, _max_bytes: int) -> int:
        self._files[str(directory)] = FILES[model]
        return FILES[model]

    async def ask(self, method: bytes, path: bytes, body: bytes = b"", **_: Any) -> ContainerReply:
        try:
            if method == b"DELETE":
                await self._store.unload(path.rpartition(b"/")[2].decode())
            else:
                asked = json.loads(body)
                await self._store.load(asked["model_name"], asked["url"])
        except Refusal as refusal:
            return ContainerReply(refusal.status, {}, b"")
        return ContainerReply(200, {}, b"")

    async def request(self, model: str) -> str:
        """Where it found the model."""
        downloads = self.counters.downloads
        hit = self.cache.enter(model)
        await self.cache.ensure(model, max_wait_seconds=30)
        self.cache.leave(model)
        if hit:
            return simulation.HIT
        return simulation.FROM_S3 if self.counters.downloads > downloads else simulation.FROM_DISK


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(st.sampled_from(sorted(FILES)), min_size=40, max_size=150),
    memory_bytes=st.integers(400, 1400),
    disk_bytes=st.integers(150, 900),
    instances=st.integers(1, 3),
)
def test_server_cache_and_routing_do_what_the_simulation_says(
    requests: list[str], memory_bytes: int, disk_bytes: int, instances: int
) -> None:
    names = [f"i-{number}" for number in range(instances)]
    simulated = [simulation.Instance(name, memory_bytes, disk_bytes, 0) for name in names]

    async def work() -> list[str]:
        running = [Instance(name, memory_bytes, disk_bytes) for name in names]
        outcomes = []
        for model in requests:
            chosen = routing.multi_model_instance(running, model, spill_in_flight=4)  # type: ignore[arg-type]
            assert isinstance(chosen, Instance)
            outcomes.append(await chosen.request(model))
        assert [list(instance.cache.memory) for instance in running] == [list(one.memory) for one in simulated]
        assert [list(instance.cache.disk.models) for instance in running] == [list(one.disk) for one in simulated]
        return outcomes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heap, "in_use_bytes", lambda: None)
        expected = simulation.outcomes(simulated, requests, SIZES)
        assert asyncio.run(work()) == expected

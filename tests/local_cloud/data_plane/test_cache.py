"""The two-level cache of one instance, against a container that has room for a number of models."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.instances.container_client import ContainerReply
from local_cloud.data_plane.instances.counters import Counters
from local_cloud.data_plane.instances.disk_cache import DiskCache
from local_cloud.data_plane.instances.model_cache import ModelCache, container_name

BROKEN, TOO_BIG = "broken", "too-big"


class Container:
    """Speaks the contract in this process: as many models as it has room for, 507 beyond."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.models: set[str] = set()
        self.calls: list[str] = []
        self.loading: asyncio.Event | None = None  # when set, a LOAD waits for it
        self._names: dict[str, str] = {}

    def knows(self, model: str) -> str:
        self._names[container_name(model)] = model
        return model

    async def ask(self, method: bytes, path: bytes, body: bytes = b"", **_: Any) -> ContainerReply:
        if method == b"DELETE":
            name = self._names[path.rpartition(b"/")[2].decode()]
            self.calls.append(f"UNLOAD {name}")
            self.models.remove(name)
            return ContainerReply(200, {}, b"")
        name = self._names[json.loads(body)["model_name"]]
        if self.loading is not None:
            await self.loading.wait()
        status = 400 if name == BROKEN else 507 if name == TOO_BIG or len(self.models) >= self.room else 200
        self.calls.append(f"LOAD {name} {status}")
        if status == 200:
            self.models.add(name)
        return ContainerReply(status, {}, b"the container's reason")


class Instance:
    """A cache over such a container, with an artefact of ten bytes for each model."""

    def __init__(self, room: int, disk_bytes: int = 10_000) -> None:
        self.container = Container(room)
        self.counters = Counters()
        self.fetched: list[str] = []
        self.observed: list[str] = []
        self.fetching: asyncio.Event | None = None
        self.cache = ModelCache(
            self.container,  # type: ignore[arg-type]
            DiskCache(Path("/nonexistent"), disk_bytes),
            fetch=self.fetch,
            observe=lambda metric, _: self.observed.append(metric),
            counters=self.counters,
            loads_at_a_time=2,
            max_loading_seconds=30,
        )

    async def fetch(self, model: str, _directory: Path, max_bytes: int) -> int:
        if self.fetching is not None:
            await self.fetching.wait()
        if max_bytes < 10:
            raise ServiceError("InternalFailure", "no room", status=500)
        self.fetched.append(model)
        return 10

    async def request(self, model: str, during: Callable[[], Awaitable[None]] | None = None) -> bool:
        """One request for a model; whether it was a hit."""
        self.container.knows(model)
        hit = self.cache.enter(model)
        try:
            await self.cache.ensure(model, max_wait_seconds=5)
            if during is not None:
                await during()
        finally:
            self.cache.leave(model)
        return hit


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def lru_hits(requests: list[str], capacity: int) -> list[bool]:
    """The hits of an exact LRU of so many models."""
    cache: OrderedDict[str, None] = OrderedDict()
    hits = []
    for model in requests:
        hits.append(model in cache)
        cache[model] = None
        cache.move_to_end(model)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.sampled_from("abcdefghij"), max_size=120),
    capacity=st.integers(1, 6),
    disk_models=st.integers(6, 12),
)
def test_hits_are_those_of_an_exact_lru(requests: list[str], capacity: int, disk_models: int) -> None:
    async def work() -> None:
        instance = Instance(capacity, disk_bytes=disk_models * 10)
        hits = [await instance.request(model) for model in requests]

        assert hits == lru_hits(requests, capacity)
        assert set(instance.cache.memory) == instance.container.models
        assert set(instance.cache.memory) <= set(instance.cache.disk.models)
        assert instance.cache.disk.used_bytes <= disk_models * 10
        assert instance.counters.loads == hits.count(False)
        assert instance.counters.downloads + instance.counters.disk_hits == instance.counters.loads

    run(work)


def test_507_unloads_the_least_recently_used_and_loads_again() -> None:
    async def work() -> None:
        instance = Instance(room=2)
        for model in ("a", "b", "a", "c"):
            await instance.request(model)

        assert instance.container.calls == ["LOAD a 200", "LOAD b 200", "LOAD c 507", "UNLOAD b", "LOAD c 200"]
        assert instance.observed.count("ModelUnloadingTime") == 1
        assert instance.observed.count("ModelLoadingTime") == 3

    run(work)


def test_an_unloaded_model_comes_back_from_disk() -> None:
    async def work() -> None:
        instance = Instance(room=1)
        for model in ("a", "b", "a"):
            await instance.request(model)

        assert instance.fetched == ["a", "b"]
        assert instance.counters.disk_hits == 1
        assert instance.observed.count("ModelDownloadingTime") == 2

    run(work)


def test_a_full_disk_forgets_artefacts_of_unloaded_models_oldest_first() -> None:
    async def work() -> None:
        instance = Instance(room=1, disk_bytes=30)
        for model in ("a", "b", "c", "a", "d"):
            await instance.request(model)

        assert list(instance.cache.disk.models) == ["c", "a", "d"]
        assert instance.counters.disk_evictions == 1

    run(work)


def test_a_disk_of_loaded_models_only_costs_the_least_recently_used_one_its_place() -> None:
    async def work() -> None:
        instance = Instance(room=5, disk_bytes=20)
        for model in ("a", "b", "c"):
            await instance.request(model)

        assert list(instance.cache.memory) == ["b", "c"]
        assert instance.container.calls[-2:] == ["UNLOAD a", "LOAD c 200"]

    run(work)


def test_callers_of_one_model_share_one_load() -> None:
    async def work() -> None:
        instance = Instance(room=3)
        instance.container.loading = asyncio.Event()
        requests = [asyncio.ensure_future(instance.request("a")) for _ in range(20)]
        await asyncio.sleep(0)
        instance.container.loading.set()
        hits = await asyncio.gather(*requests)

        assert not any(hits)
        assert instance.fetched == ["a"]
        assert instance.container.calls == ["LOAD a 200"]

    run(work)


def test_a_model_in_use_is_not_unloaded_and_the_next_load_waits_for_it() -> None:
    async def work() -> None:
        instance = Instance(room=1)
        answered = asyncio.Event()
        long_request = asyncio.ensure_future(instance.request("a", during=lambda: _wait(answered)))
        while "a" not in instance.cache.memory:
            await asyncio.sleep(0)
        other = asyncio.ensure_future(instance.request("b"))
        while "LOAD b 507" not in instance.container.calls:
            await asyncio.sleep(0)
        assert instance.container.models == {"a"}

        answered.set()
        await asyncio.gather(long_request, other)

        assert instance.container.calls[-2:] == ["UNLOAD a", "LOAD b 200"]

    run(work)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_a_caller_may_give_up_while_the_load_goes_on() -> None:
    async def work() -> None:
        instance = Instance(room=1)
        instance.fetching = asyncio.Event()
        instance.container.knows("a")
        with pytest.raises(TimeoutError):
            await instance.cache.ensure("a", max_wait_seconds=0.01)
        instance.fetching.set()
        await instance.cache.ensure("a", max_wait_seconds=5)

        assert instance.fetched == ["a"]

    run(work)


@pytest.mark.parametrize("poison", [BROKEN, TOO_BIG])
def test_a_model_that_cannot_load_is_not_tried_again_at_others_cost(poison: str) -> None:
    async def work() -> None:
        instance = Instance(room=2)
        for model in ("a", "b"):
            await instance.request(model)
        for _ in range(5):
            with pytest.raises(ServiceError) as failed:
                await instance.request(poison)
            assert failed.value.code == "ModelError"
            assert failed.value.fields["OriginalStatusCode"] == (400 if poison == BROKEN else 507)
            for model in ("a", "b"):
                await instance.request(model)

        tries = [call for call in instance.container.calls if poison in call]
        assert len(tries) == (1 if poison == BROKEN else 3)  # too big: at first, and after each of two unloads
        assert instance.container.models == {"a", "b"}

    run(work)


def test_a_load_that_fails_for_lack_of_the_artefact_is_tried_again() -> None:
    async def work() -> None:
        instance = Instance(room=1)
        fetch = instance.cache._fetch

        async def missing(*_: Any) -> int:
            raise ServiceError("ValidationError", "no such object")

        instance.cache._fetch = missing
        with pytest.raises(ServiceError, match="no such object"):
            await instance.request("a")
        instance.cache._fetch = fetch

        assert not await instance.request("a")
        assert instance.container.models == {"a"}

    run(work)


def test_when_the_container_ends_calls_that_wait_for_a_model_fail() -> None:
    async def work() -> None:
        instance = Instance(room=1)
        instance.fetching = asyncio.Event()
        waiting = asyncio.ensure_future(instance.request("a"))
        await asyncio.sleep(0)
        instance.cache.close()

        with pytest.raises(ServiceError) as lost:
            await waiting
        assert (lost.value.code, lost.value.status) == ("ServiceUnavailable", 503)

    run(work)


def test_cache_setting_disabled_leaves_nothing_behind() -> None:
    async def work() -> None:
        instance = Instance(room=2)
        await instance.request("a")
        await instance.cache.discard("a")

        assert not instance.container.models
        assert not instance.cache.disk.models

    run(work)

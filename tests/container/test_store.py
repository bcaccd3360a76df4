"""Loads that overlap: each is counted, none waits for another that has nothing to do with it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tierfleet_server.model.load_limits import Admitted
from tierfleet_server.model.refusal import Refusal
from tierfleet_server.store import Store

MIB = 1 << 20


@dataclass
class FakeModel:
    """What the store asks of a model."""

    heap_bytes: int
    form: str = "fake"


class Loads:
    """A store of 100 MiB whose loads take as long as a test says; a url is a size in MiB and a name."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end: dict[str, threading.Event] = {}
        self.store = Store(100 * MIB, size_on_disk=self._size, load_model=self._load)  # type: ignore[arg-type]

    def _size(self, url: str) -> Admitted:
        return Admitted(int(float(url.split()[0]) * MIB), "ubj")

    def _load(self, url: str, admitted: Admitted) -> FakeModel:
        self.begun.append(url)
        if url in self.may_end:
            assert self.may_end[url].wait(60)
        if "bad" in url:
            raise Refusal(400, "no model")
        return FakeModel(admitted.size_bytes)

    def start(self, url: str, *, held: bool = False) -> asyncio.Task[object]:
        if held:
            self.may_end[url] = threading.Event()
        return asyncio.get_running_loop().create_task(self.store.load(url, url))

    async def until_begun(self, url: str) -> None:
        async with asyncio.timeout(60):
            while url not in self.begun:
                await asyncio.sleep(0.001)


def run(scenario: Callable[[Loads], Awaitable[None]]) -> None:
    async def scenario_on_a_loop() -> None:
        async with asyncio.timeout(120):
            await scenario(Loads())

    asyncio.run(scenario_on_a_loop())


def test_slow_big_loads_hold_up_neither_small_ones_nor_each_other() -> None:
    async def scenario(loads: Loads) -> None:
        slow = [loads.start(f"2 slow-{number}", held=True) for number in range(3)]
        for number in range(3):
            await loads.until_begun(f"2 slow-{number}")
        for url in ("0.1 small", "2 big"):
            loaded = await loads.start(url)
            assert loaded.size_bytes == int(float(url.split()[0]) * MIB)
        for event in loads.may_end.values():
            event.set()
        await asyncio.gather(*slow)
        assert len(loads.store.models) == 5

    run(scenario)


@pytest.mark.parametrize("first", ["12 first", "12 bad"])
def test_a_load_that_fits_but_for_another_waits_for_it(first: str) -> None:
    """12 MiB count as 60 while they load: two do not fit into 100, and neither is refused."""

    async def scenario(loads: Loads) -> None:
        running = loads.start(first, held=True)
        await loads.until_begun(first)
        waiting = loads.start("12 second")
        await loads.start("0.1 small")  # by now the second one has been looked at
        assert loads.begun == [first, "0.1 small"]
        loads.may_end[first].set()
        ended = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended[0], Refusal) == ("bad" in first)
        await waiting
        assert "12 second" in loads.store.models
        assert not loads.store.full

    run(scenario)


def test_one_that_can_never_fit_is_refused_at_once() -> None:
    async def scenario(loads: Loads) -> None:
        running = loads.start("12 first", held=True)
        await loads.until_begun("12 first")
        with pytest.raises(Refusal, match=r"needs about 200\.0 MiB to load, and models may have 100\.0 MiB in all"):
            await loads.start("40 too-big")
        loads.may_end["12 first"].set()
        await running

    run(scenario)


def test_the_event_loop_frees_no_model() -> None:
    freed_by: list[str] = []

    class Watched(FakeModel):
        def __del__(self) -> None:
            freed_by.append(threading.current_thread().name)

    async def scenario() -> None:
        store = Store(
            100 * MIB, size_on_disk=lambda _: Admitted(2 * MIB, "ubj"), load_model=lambda _, __: Watched(2 * MIB)
        )  # type: ignore[arg-type, return-value]
        for number in range(5):
            await store.load(f"m{number}", "url")
            await asyncio.sleep(0)  # a task that goes on with a result still holds it
            await store.unload(f"m{number}")

    asyncio.run(scenario())
    assert freed_by
    assert threading.main_thread().name not in freed_by

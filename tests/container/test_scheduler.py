"""Threads for invocations: one processor is left to the event loop while small requests come."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from tierfleet_server import scheduler
from tierfleet_server.scheduler import Scheduler, Steps


class _Work:
    """Jobs of one step that end when they are told to; counts how many run at once."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self._lock = threading.Lock()
        self.running = self.most = 0

    def steps(self) -> Steps:
        yield self._run
        return b"done"

    def _run(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.end.wait(30)
        with self._lock:
            self.running -= 1


class _HoldsBack(threading.Condition):
    """Counts the threads that wait with a time limit, because a small request came lately."""

    holding_back = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.holding_back += timeout is not None
        try:
            return super().wait(timeout)
        finally:
            self.holding_back -= timeout is not None


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the scheduler sees, in seconds; it goes on only where a test says so."""
    clock = [1000.0]

    class Clock:
        thread_time = staticmethod(time.thread_time)

        @staticmethod
        def monotonic() -> float:
            return clock[0]

    monkeypatch.setattr(scheduler, "time", Clock)
    return clock


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 1), (4, 3)])
def test_after_a_small_request_one_thread_fewer_works(threads: int, at_once: int, now: list[float]) -> None:
    async def scenario() -> None:
        work, runner = _Work(), Scheduler(threads, most_per_owner=64)
        runner._changed = changed = _HoldsBack()
        runner.reserve_a_processor()
        jobs = [asyncio.create_task(runner.run(f"m{number}", work.steps(), 60)) for number in range(8)]
        await _until(lambda: work.running == at_once and changed.holding_back == threads - at_once)
        assert work.most == at_once
        now[0] += 60  # no small request any more: the thread that held back takes part, with nothing to wake it
        await _until(lambda: work.running == threads)
        work.end.set()
        assert await asyncio.gather(*jobs) == [b"done"] * 8

    asyncio.run(scenario())


def test_while_small_requests_go_on_every_job_ends(now: list[float]) -> None:
    async def scenario() -> None:
        work, runner = _Work(), Scheduler(2, most_per_owner=64)
        work.end.set()
        runner.reserve_a_processor()
        jobs = [runner.run(f"m{number % 3}", work.steps(), 60) for number in range(60)]
        assert await asyncio.gather(*jobs) == [b"done"] * 60
        assert work.most == 1

    asyncio.run(scenario())


def test_what_one_scheduler_gave_counts_in_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that got 8 units of time from one scheduler waits in the other until its neighbour has had as much."""
    used: dict[int, float] = {}

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def thread_time() -> float:
            return used.get(threading.get_ident(), 0.0)

    def use(units: float) -> None:
        used[threading.get_ident()] = Clock.thread_time() + units

    monkeypatch.setattr(scheduler, "time", Clock)
    explained, queued, turns = threading.Event(), threading.Event(), []

    def explain() -> Steps:
        use(8)
        yield None  # the turn ends, and is charged
        explained.set()
        return b""

    def predict(owner: str) -> Steps:
        for _ in range(20):
            turns.append(owner)
            use(1)
            yield None
        return b""

    def first() -> Steps:
        """Hold the only thread of `predict` until both owners wait and one has been charged."""
        yield lambda: explained.wait(30) and queued.wait(30)
        return b""

    async def scenario() -> None:
        predicting = Scheduler(1, most_per_owner=8)
        explaining = predicting.companion("explain", 1)
        held = asyncio.create_task(predicting.run("first", first(), 60))
        jobs = [asyncio.create_task(predicting.run(owner, predict(owner), 60)) for owner in ("both", "one")]
        await asyncio.sleep(0)  # the three are queued
        await explaining.run("both", explain(), 60)
        queued.set()
        await asyncio.gather(held, *jobs)

    asyncio.run(scenario())
    assert turns[:9].count("one") >= 8, turns
    assert turns.count("one") == turns.count("both") == 20

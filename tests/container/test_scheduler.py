"""Threads for invocations: one processor is left to the event loop while small requests come."""

import asyncio
import threading
import time

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


async def _until(work: _Work, running: int) -> None:
    async with asyncio.timeout(30):
        while work.running < running:
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
        runner.reserve_a_processor()
        jobs = [asyncio.create_task(runner.run(f"m{number}", work.steps(), 60)) for number in range(8)]
        await _until(work, at_once)
        await asyncio.sleep(0.2)  # time for a thread that does not hold back
        assert work.most == at_once
        now[0] += 60  # no small request any more: the thread that held back takes part, with nothing to wake it
        await _until(work, threads)
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


def test_an_owner_has_one_share_of_two_schedulers() -> None:
    """One owner asks both schedulers for as much as it can get; the other only one of them, and gets as much in all."""
    spent = {"both": 0.0, "one": 0.0}

    def steps(owner: str, stop: threading.Event) -> Steps:
        while not stop.is_set():
            started = time.thread_time()
            while time.thread_time() - started < 0.002:
                pass
            spent[owner] += time.thread_time() - started
            yield None
        return b""

    async def scenario() -> None:
        stop = threading.Event()
        predict = Scheduler(1, most_per_owner=8)
        explain = predict.companion("explain", 1)
        jobs = [
            asyncio.create_task(scheduler.run(owner, steps(owner, stop), 60))
            for scheduler, owner in ((predict, "both"), (predict, "one"), (explain, "both"))
        ]
        async with asyncio.timeout(60):
            while sum(spent.values()) < 1:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*jobs)

    asyncio.run(scenario())
    assert spent["one"] > 0.4 * sum(spent.values())  # a third, if each scheduler had shares of its own

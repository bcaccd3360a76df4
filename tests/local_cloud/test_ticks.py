"""What happens without a request happens once, however it is triggered."""

import threading
import time

import pytest

from local_cloud import ticker
from local_cloud.core.clock import clock
from local_cloud.services.sagemaker import serving


class Watching:
    """A server whose observations take a moment to hand over, as real ones do."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.moments: set[float] = set()

    def collect(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        before = clock.now()
        time.sleep(0.005)
        self.moments.add(clock.now() - before)
        self.inside -= 1


def test_neither_two_ticks_nor_a_tick_and_a_step_of_the_clock_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a schedule that is due fires twice, and what instances did is dated after the step."""
    watching, before = Watching(), dict(vars(clock))
    monkeypatch.setattr(serving, "server", watching)
    monkeypatch.setattr(ticker, "scheduler", type("Scheduler", (), {"_tick_schedules": staticmethod(watching.collect)}))
    clock.set_mode("manual")
    work = [ticker.tick, lambda: ticker.advance(60), lambda: ticker.advance(60), ticker.tick]
    threads = [threading.Thread(target=one) for one in work * 3]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        vars(clock).update(before)

    assert (watching.most, watching.moments) == (1, {0.0})

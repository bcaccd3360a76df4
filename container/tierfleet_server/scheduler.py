"""Threads that do invocations in small steps, so that one model's requests do not block others.

A job is a generator (`prediction.Steps`). A turn ends where the job yields None, and the model with the least processor
time is next.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from .fair_queue import FairQueue
from .model.refusal import Refusal, shown
from .thread_priority import give_way

Steps = Generator[Callable[[], Any] | None, Any, Any]
# For so long after a small request one processor is left to the event loop: enough for calls at 20 a second.
_RESERVED_SECONDS = 0.05


class _Job:
    """`abandoned`: its caller no longer waits."""

    __slots__ = ("abandoned", "future", "loop", "steps")

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.abandoned = False


class Scheduler:
    """Runs jobs by owner. Only the event loop's thread may use `run` and the counters."""

    def __init__(
        self, threads: int, *, most_per_owner: int, name: str = "predict", interpreter: "threading.Lock | None" = None
    ) -> None:
        self.waiting = self.cancelled = self.late = self.turned_away = 0
        self._name = name
        self._threads, self._most_per_owner = threads, most_per_owner
        self._started = False
        self._queue: FairQueue[_Job] = FairQueue()
        self._changed = threading.Condition(threading.Lock())
        # Only one thread at a time competes with the event loop for the interpreter.
        self._interpreter = interpreter or threading.Lock()
        self._companions: list[Scheduler] = []
        self._running = 0
        self._reserved_until = 0.0

    def companion(self, name: str, threads: int) -> "Scheduler":
        """Another scheduler, with threads and queues of its own.

        Only one of all these threads runs Python at a time. What an owner is given by one scheduler counts against its
        share in the other, so an owner that uses both has one share.
        """
        other = Scheduler(threads, most_per_owner=self._most_per_owner, name=name, interpreter=self._interpreter)
        self._companions.append(other)
        other._companions.append(self)
        return other

    def reserve_a_processor(self) -> None:
        """Pause one thread for a while, because the event loop has answered a small request."""
        self._reserved_until = time.monotonic() + _RESERVED_SECONDS

    async def run(self, owner: str, steps: Steps, seconds: float) -> Any:
        """The result of the steps, or their error as a value: a raised error's traceback would keep the request's body.

        It is a Refusal (503) if too many jobs of the owner wait or `seconds` have passed. When the task is cancelled,
        the job ends at its next step.
        """
        job = _Job(steps)
        with self._changed:
            full = self._queue.waiting(owner) >= self._most_per_owner
            if not full:
                self._queue.add(owner, job)
                self._changed.notify()
        if full:
            self.turned_away += 1
            return Refusal(
                503, f"{self._most_per_owner} requests to model {shown(owner)} are waiting already; "
                "send fewer at once, or give the model an endpoint of its own",
            )  # fmt: skip
        self._start()
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            self.late += 1
            return Refusal(
                503, f"the reply was not ready within {seconds:g} s, by when the platform gives up; "
                "send smaller batches, or give the model an endpoint of its own",
            )  # fmt: skip
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
            job.abandoned = True
            with self._changed:
                self._queue.remove(owner, job)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for number in range(self._threads):
                # A daemon, because the client of a step that outlasts the drain is gone.
                threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        give_way()
        np.seterr(over="ignore")  # for this thread; values beyond float32 are refused with their place
        while True:
            with self._changed:
                owner, job = self._take()
                self._running += 1
            started = time.thread_time()
            going_on = self._turn(job)
            spent = time.thread_time() - started
            with self._changed:
                self._running -= 1
                self._queue.spent(owner, spent)
                if going_on:
                    self._queue.add(owner, job)
            for other in self._companions:
                with other._changed:
                    other._queue.charge(owner, spent)
            del job

    def _take(self) -> tuple[str, _Job]:
        while True:
            if self._running >= self._threads - 1 > 0 and time.monotonic() < self._reserved_until:
                self._changed.wait(_RESERVED_SECONDS)
            elif (taken := self._queue.take()) is not None:
                return taken
            else:
                self._changed.wait()

    def _turn(self, job: _Job) -> bool:
        """Do one turn; True if the job continues."""
        outcome: Any
        try:
            result = None
            while not job.abandoned:
                with self._interpreter:
                    call = job.steps.send(result)
                if call is None:
                    return True
                result = call()
            job.steps.close()
            return False
        except StopIteration as done:
            outcome = done.value
        except BaseException as error:
            # Its frames would keep the body as long as the error lives.
            error.__context__ = None
            outcome = error.with_traceback(None) if isinstance(error, Refusal | MemoryError) else error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            job.loop.call_soon_threadsafe(_deliver, job.future, outcome)
        return False


def _deliver(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)

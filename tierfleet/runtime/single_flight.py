"""Threads that need the same read at the same time share one."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class StillReadingError(TimeoutError):
    """The caller's time is over, but the read continues. A timeout of the read itself is another TimeoutError."""


class SingleFlight(Generic[Key, Result]):
    """Runs at most one read per key. Callers that ask during it get its result or its error.

    A read has its own thread, so each caller has its own time limit and none interrupts another's read.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._flights: dict[Key, Future[Result]] = {}

    def start(self, key: Key, read: Callable[[], Result]) -> Future[Result]:
        """The running read for this key; otherwise start `read`."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = Future()
                # A daemon: a read that hangs must not keep the process from ending.
                threading.Thread(target=self._fly, args=(key, read, flight), name=self._name, daemon=True).start()
                # Only after the thread started: a failed start must not leave others waiting.
                self._flights[key] = flight
            return flight

    def run(self, key: Key, read: Callable[[], Result], *, timeout_seconds: float) -> Result:
        """The result of the read for this key; StillReadingError after timeout_seconds."""
        flight = self.start(key, read)
        try:
            return flight.result(min(max(0.0, timeout_seconds), threading.TIMEOUT_MAX))
        except TimeoutError as error:
            if not flight.done() or flight.exception() is not error:
                raise StillReadingError("the read did not end in time") from error
            if isinstance(error, StillReadingError):
                # The read itself waited for another one.
                raise TimeoutError(str(error)) from error
            raise

    def _fly(self, key: Key, read: Callable[[], Result], flight: "Future[Result]") -> None:
        try:
            result = read()
        except BaseException as error:
            self._land(key, flight)
            flight.set_exception(error)
        else:
            self._land(key, flight)
            flight.set_result(result)

    def _land(self, key: Key, flight: "Future[Result]") -> None:
        with self._lock:
            # If a signal handler stopped the starting thread, there is no entry.
            if self._flights.get(key) is flight:
                del self._flights[key]

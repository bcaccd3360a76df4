"""Several threads that want the same read at the same moment share one."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class StillReadingError(TimeoutError):
    """The caller would wait no longer; the read goes on. A read that met a timeout itself raises another one."""


class SingleFlight(Generic[Key, Result]):
    """At most one read per key is under way; whoever asks meanwhile gets its result or its error.

    A read has a thread of its own, so no caller waits longer than it wants to, and none cuts another's read short.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._flights: dict[Key, Future[Result]] = {}

    def start(self, key: Key, read: Callable[[], Result]) -> Future[Result]:
        """The read under way for this key, else `read`, started now."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = Future()
                threading.Thread(target=self._fly, args=(key, read, flight), name=self._name, daemon=True).start()
                # Not before the thread runs: a start that failed must not leave others waiting.
                self._flights[key] = flight
            return flight

    def run(self, key: Key, read: Callable[[], Result], *, timeout_seconds: float) -> Result:
        """The result of the read for this key; StillReadingError after timeout_seconds."""
        flight = self.start(key, read)
        try:
            return flight.result(min(max(0.0, timeout_seconds), threading.TIMEOUT_MAX))
        except TimeoutError as error:
            if not flight.done() or flight.exception() is not error:
                raise StillReadingError("it did not come in time") from error
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
            # A starter that was stopped by a signal's handler has left no entry.
            if self._flights.get(key) is flight:
                del self._flights[key]

"""The stand-in's clock: everything that takes minutes on AWS is measured on it."""

import threading
import time
from typing import Literal

Mode = Literal["skip", "real", "manual"]

# How long a waiter sleeps in real time before it looks again at what it waits for.
_LOOK_AGAIN_SECONDS = 0.02


class Clock:
    """Seconds since the epoch, in one of three modes.

    skip    whoever waits moves the clock to the moment waited for: minutes cost nothing
    real    the wall clock, plus whatever was advanced
    manual  stands still; only `advance` moves it
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._mode: Mode = "skip"
        self._offset_seconds = 0.0
        self._stopped_at = 0.0

    @property
    def mode(self) -> Mode:
        return self._mode

    def now(self) -> float:
        return self._stopped_at if self._mode == "manual" else time.time() + self._offset_seconds

    def set_mode(self, mode: Mode) -> None:
        with self._moved:
            now = self.now()
            self._mode = mode
            self._stopped_at = now
            self._offset_seconds = now - time.time()
            self._moved.notify_all()

    def advance(self, seconds: float) -> None:
        with self._moved:
            self._offset_seconds += seconds
            self._stopped_at += seconds
            self._moved.notify_all()

    def move_to(self, moment: float) -> None:
        """Advance to a moment; a moment in the past changes nothing."""
        with self._moved:
            if (ahead := moment - self.now()) > 0:
                self.advance(ahead)

    def wait_towards(self, moment: float) -> None:
        """Return at the moment or a little earlier: the caller looks at what it waits for and calls again."""
        if self._mode == "skip":
            self.move_to(moment)
            return
        with self._moved:
            if self.now() < moment:
                self._moved.wait(_LOOK_AGAIN_SECONDS)


clock = Clock()


class ClockAsTimeModule:
    """Stands in for the `time` module inside one emulator service, so that it lives on our clock."""

    time = staticmethod(clock.now)

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

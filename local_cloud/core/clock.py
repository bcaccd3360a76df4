"""The local emulator's clock: everything that takes minutes on AWS is measured on it."""

import threading
import time
from typing import Literal, get_args

Mode = Literal["skip", "real", "manual"]

# How long a wait sleeps in real time before it checks again.
_LOOK_AGAIN_SECONDS = 0.02


class Clock:
    """Seconds since the epoch. It is the wall clock until `advance` or the mode manual moves it.

    skip    the wall clock, plus whatever was advanced. A wait for a timetable brings that timetable forward
            instead of the clock: minutes cost nothing, and the clock does not run ahead
    real    the same, but waits take as long as they take
    manual  does not run; only `advance` moves it
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._mode: Mode = "skip"
        self._offset_seconds = 0.0
        self._stopped_at = 0.0

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def skips_waits(self) -> bool:
        """Whether a wait for a timetable brings it forward."""
        return self._mode == "skip"

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the wall clock, 0 unless it was moved; negative if it is behind."""
        return self._stopped_at - time.time() if self._mode == "manual" else self._offset_seconds

    def now(self) -> float:
        return self._stopped_at if self._mode == "manual" else time.time() + self._offset_seconds

    def set_mode(self, mode: Mode) -> None:
        """Raises ValueError for a mode that does not exist."""
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be {', '.join(get_args(Mode))}; got {mode!r}")
        with self._moved:
            if mode == "manual":
                self._stopped_at = self.now()
            elif self._mode == "manual":
                self._offset_seconds = self._stopped_at - time.time()
            self._mode = mode
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
        """Return at the moment or a little earlier. The caller checks what it waits for and calls again."""
        with self._moved:
            if self.now() < moment:
                self._moved.wait(_LOOK_AGAIN_SECONDS)


clock = Clock()


class ClockAsTimeModule:
    """Replaces the `time` module inside one service of ministack, so that it uses our clock."""

    time = staticmethod(clock.now)

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

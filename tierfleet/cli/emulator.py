"""Finds the local emulator for a command, and ends the command if the emulator stops."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from urllib.error import HTTPError, URLError

from botocore import exceptions

from tierfleet.cli.console import fail

if TYPE_CHECKING:
    from local_cloud import LocalCloud

STATE = Path(".local-cloud")
# How often a command checks the emulator, and how many checks in a row may fail: a busy machine is slow. The kernel
# knows whether the process has ended or is stopped.
_LOOK_EVERY_SECONDS = 2.0
_UNANSWERED_LOOKS = 5
_SURE_LOOKS = 2


def running_emulator() -> "LocalCloud":
    """The local emulator of this directory. Ends the command if none answers."""
    from local_cloud import NotRunningError, running

    try:
        return running(STATE)
    except NotRunningError as error:
        fail(str(error))


@contextmanager
def emulator_or_fail(cloud: "LocalCloud | None" = None) -> Iterator[None]:
    """End the command with one sentence if the local emulator stops or hangs, whatever the command waits for."""
    try:
        with nullcontext() if cloud is None else _watched(cloud):
            yield
    except HTTPError:
        raise  # it answered
    except (URLError, ConnectionError, TimeoutError, exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        problem = cloud.problem() if cloud is not None else None
        fail(problem or f"the local emulator does not answer ({error}); start it with tierfleet local up")


class _GoneError(SystemExit):
    """Not an Exception: botocore and others would catch it and continue."""


@contextmanager
def _watched(cloud: "LocalCloud") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    done, problems = threading.Event(), list[str]()

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _GoneError(2)

    def look() -> None:
        in_a_row = 0
        while not problems and not done.wait(_LOOK_EVERY_SECONDS):
            problem = cloud.problem()
            in_a_row = in_a_row + 1 if problem else 0
            enough = _UNANSWERED_LOOKS if cloud.may_be_busy() else _SURE_LOOKS
            if problem and in_a_row >= enough and not done.is_set():
                problems.append(problem)
                os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, end)
    # A thread that sends a signal: a command that waits inside botocore can be ended in no other way.
    watcher = threading.Thread(target=look, daemon=True, name="emulator-watch")
    watcher.start()
    try:
        try:
            yield
        finally:
            done.set()
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a signal sent just now must not end the command
            signal.signal(signal.SIGUSR2, before)
    except _GoneError:
        if not problems:
            raise  # of an outer _watched
        fail(problems[0])

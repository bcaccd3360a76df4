"""What the kernel says of another process (Linux)."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    """Wait until a process is gone; fails after 20 s."""
    _wait(lambda: not exists(pid), f"process {pid} did not end")


def stop(pid: int) -> None:
    """Stop a process and wait until each of its threads is; until then one of them may still answer a request."""
    os.kill(pid, signal.SIGSTOP)
    _wait(lambda: _stopped(pid), f"process {pid} did not stop")


def _stopped(pid: int) -> bool:
    try:
        return all(") T " in (task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:  # a thread ended meanwhile
        return False


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.01)

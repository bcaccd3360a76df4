"""Ends what a test run left running, once the run is over, however it ended (Linux).

`python -I -S run_reaper.py PID MARK`: what the run starts inherits MARK in its environment, and so is found.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "PYTEST_RUN_OF_TIERFLEET"
_ROUNDS = 20
_started: "list[subprocess.Popen[bytes]]" = []  # kept: no code waits for one, and Python would warn


def start(mark: str) -> None:
    """Watch this process. The local emulator's guardians have no mark: they end processes of their environment."""
    if sys.platform == "linux":
        reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid()), mark],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _started.append(reaper)


def main(pid: int, mark: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    for _ in range(_ROUNDS):  # one may have been starting meanwhile
        marked = [process for process in Path("/proc").iterdir() if process.name.isdigit() and _has(process, mark)]
        for process in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        if not marked:
            return
        time.sleep(0.1)


def _has(process: Path, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

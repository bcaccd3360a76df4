"""What the kernel says of another process (Linux)."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """The processes that a process started and that are not yet waited for."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes_naming(directory: Path) -> dict[int, str]:
    """Every process whose arguments or environment name a directory, with its arguments; zombies left out."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and exists(int(process.name)):
            try:
                arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if str(directory).encode() in arguments + environment:
                found[int(process.name)] = arguments.replace(b"\0", b" ").decode(errors="replace")
    return found


def wait_until_none_names(directory: Path) -> None:
    """Wait until no process names a directory; fails after 60 s."""
    _wait(lambda: not processes_naming(directory), f"processes of {directory} did not end")


def wait_until_gone(pid: int) -> None:
    """Wait until a process is gone; fails after 60 s."""
    _wait(lambda: not exists(pid), f"process {pid} did not end")


def wait_until_group_gone(pid: int) -> None:
    """Wait until no process of a process group is left; fails after 60 s. A killed one needs a processor to end."""
    _wait(lambda: not members_of_group(pid), f"process group {pid} did not end")


def members_of_group(pid: int) -> list[int]:
    """Every process of a process group, zombies left out."""
    listing = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")]


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
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.01)

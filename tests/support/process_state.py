"""What the kernel says of another process (Linux)."""

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between opening and reading
        return False


def children(pid: int) -> list[int]:
    """The processes that a process started and that are not yet waited for."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes_naming(directory: Path) -> dict[int, str]:
    """Every process whose arguments or environment name a directory, with its arguments; zombies left out."""
    processes = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and exists(int(process.name)):
            try:
                arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            if str(directory).encode() in arguments + environment:
                processes[int(process.name)] = arguments.replace(b"\0", b" ").decode(errors="replace")
    return processes


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


class Memory:
    """Samples what a process and its children hold of their own (bytes), while it is open.

    `at_first` is what they held before, `greatest` the most since then or since `restart`.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._done = pid, threading.Event()
        self.greatest = self.at_first = own_bytes(pid)
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def restart(self) -> int:
        """Forget the greatest; what is held now."""
        self.greatest = now = own_bytes(self._pid)
        return now

    def _sample(self) -> None:
        while not self._done.wait(0.005):
            self.greatest = max(self.greatest, own_bytes(self._pid))


def own_bytes(pid: int) -> int:
    """Resident bytes of a process and its children that are not shared; 0 if it has ended."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        return (resident - shared) * resource.getpagesize() + sum(map(own_bytes, children(pid)))
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0

"""A real limit on the memory of a process and its children: a cgroup where one can be made, or else an rlimit."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from process_state import children

_MOUNT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """`command` runs under the limit; `kind` says what enforces it: cgroup v1, cgroup v2, or rlimit.

    An rlimit counts each process by itself and is unknown to the server, which must be told its budget.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.kind, self._directory = "rlimit", Path()
        for kind, parent, name in _hierarchies():
            directory = parent / f"tierfleet-test-{os.getpid()}-{time.monotonic_ns()}"
            try:
                directory.mkdir()
            except OSError:
                continue
            try:
                (directory / name).write_text(str(limit_bytes))
            except OSError:
                directory.rmdir()
                continue
            with contextlib.suppress(OSError):
                (directory / "memory.swap.max").write_text("0")
            self.kind, self._directory = kind, directory
            return

    def command(self, command: list[str]) -> list[str]:
        """The command that starts `command` under the limit."""
        if self.kind == "rlimit":
            prlimit = shutil.which("prlimit")
            assert prlimit is not None, "no cgroup can be made, and there is no prlimit"
            return [prlimit, f"--data={self.limit_bytes}", *command]
        return ["/bin/sh", "-c", f'echo $$ > "{self._directory}/cgroup.procs" && exec "$@"', "sh", *command]

    def killed(self) -> int:
        """Processes that the kernel ended for want of memory; 0 for an rlimit, which makes allocations fail."""
        file = self._directory / ("memory.oom_control" if self.kind == "cgroup v1" else "memory.events")
        if self.kind == "rlimit":
            return 0
        return sum(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill "))

    def close(self) -> None:
        """Remove the group; its processes must have ended."""
        deadline = time.monotonic() + 60
        while self.kind != "rlimit":
            try:
                self._directory.rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{self._directory} is still in use"
                time.sleep(0.05)
            else:
                return


def _hierarchies() -> Iterator[tuple[str, Path, str]]:
    """Kind, our own group, and the file of its limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if "memory" in controllers.split(","):
            for parent in (_MOUNT / "memory" / inside, _MOUNT / "memory"):
                yield "cgroup v1", parent, "memory.limit_in_bytes"
        elif controllers == "":
            yield "cgroup v2", _MOUNT / inside, "memory.max"
            yield "cgroup v2", _MOUNT, "memory.max"


def pss_bytes(pid: int) -> int:
    """Memory of a process and all below it, each shared page split between its owners."""
    total = 0
    for one in (pid, *(below for child in children(pid) for below in (child, *children(child)))):
        with contextlib.suppress(OSError, ProcessLookupError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total

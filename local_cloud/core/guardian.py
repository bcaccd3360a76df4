"""Ends a process group once its leader is gone, or the process that the leader works for.

`python -I -S guardian.py LEADER [PARENT]`, started by `guarded.guard`. A process that is killed cannot end its own
children, and the kernel's signal at a parent's death comes when the *thread* that started the child ends and reaches
no grandchildren. This process is in no group that it guards. It imports nothing of the project: it starts in 20 ms.
"""

import contextlib
import os
import select
import signal
import sys
import time

_LOOK_AGAIN_SECONDS = 0.2
_END_SECONDS = 8.0
_ROUNDS, _ROUND_SECONDS = 20, 0.05


def main(leader: int, parent: int | None) -> None:
    """Wait for the end of either. If the parent has ended, the leader may first end by itself."""
    watched = {pid: _descriptor(pid) for pid in (leader, parent) if pid is not None}
    while not (gone := [pid for pid in watched if _gone(pid, watched[pid])]):
        _sleep(watched)
    if leader not in gone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGTERM)
            os.kill(leader, signal.SIGCONT)  # a stopped process hears nothing else
        deadline = time.monotonic() + _END_SECONDS
        while not _gone(leader, watched[leader]) and time.monotonic() < deadline:
            _sleep({leader: watched[leader]}, deadline)
    # More than once: one may have been starting meanwhile. A leader that was not waited for stays a member.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        for _ in range(_ROUNDS):
            os.killpg(leader, signal.SIGKILL)
            time.sleep(_ROUND_SECONDS)


def _descriptor(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None without such a process, or support for it."""
    if not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _gone(pid: int, descriptor: int | None) -> bool:
    if descriptor is not None:
        return bool(select.select([descriptor], [], [], 0)[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _sleep(descriptors: dict[int, int | None], deadline: float | None = None) -> None:
    """Sleep until one of them may have ended."""
    waited_for = [descriptor for descriptor in descriptors.values() if descriptor is not None]
    if len(waited_for) < len(descriptors):
        time.sleep(_LOOK_AGAIN_SECONDS)
    else:
        select.select(waited_for, [], [], None if deadline is None else max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)

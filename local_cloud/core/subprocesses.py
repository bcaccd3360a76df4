"""What every subprocess needs: a free port, and an end when its parent ends."""

import ctypes
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """In a child, before it runs: the kernel kills it when the parent's thread is gone (Linux only).

    Elsewhere children end by the ends that we see: exit, SIGTERM, Ctrl-C, the other end's crash.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

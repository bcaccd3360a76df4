"""Priorities for processors and the interpreter. Each function changes the thread that calls it.

Linux only; elsewhere they do nothing.
"""

import contextlib
import ctypes
import os
import threading

_NICE = 5
_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1_000
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SLICE_NS = 100_000  # the shortest that Linux allows
_RESET_ON_FORK = 1  # threads that this one starts have the ordinary slice, so this one comes before them


class _Attributes(ctypes.Structure):
    """`struct sched_attr`; for an ordinary thread `runtime_ns` is the slice that it requests."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32), ("runtime_ns", ctypes.c_uint64), ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )  # fmt: skip


def come_first() -> None:
    """Wake up on time.

    A thread waits for the interpreter with a timer, which Linux may delay by 50 us. Since Linux 6.12 a thread that
    wakes up waits for the end of the running thread's slice of 3 ms unless its own slice is shorter. Before 6.12 only
    `nice` counts.
    """
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_SLACK_NS), 0, 0, 0)
        number = _SCHED_SETATTR.get(os.uname().machine)
        if number is not None:
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            wanted = _Attributes(size=ctypes.sizeof(_Attributes), flags=_RESET_ON_FORK, nice=nice, runtime_ns=_SLICE_NS)
            libc.syscall(number, 0, ctypes.byref(wanted), 0)


def give_way() -> None:
    """Run after the other threads."""
    with contextlib.suppress(OSError, AttributeError):
        nice = os.getpriority(os.PRIO_PROCESS, os.getpid())  # that of the main thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + _NICE)

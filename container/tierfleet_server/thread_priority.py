"""Which thread the processors and the interpreter are given to first. Each function is about the thread that calls it.

Linux only; elsewhere nothing happens.
"""

import contextlib
import ctypes
import os
import threading

_NICE = 5
_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1_000
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SLICE_NS = 100_000  # the shortest that Linux gives


class _Attributes(ctypes.Structure):
    """`struct sched_attr`; of an ordinary thread `runtime_ns` is the slice it asks for."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32), ("runtime_ns", ctypes.c_uint64), ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )  # fmt: skip


def come_first() -> None:
    """Wake up on time.

    A thread waits for the interpreter by a timer, which Linux lets be 50 us late. And since Linux 6.12 a thread that
    wakes up waits until the one that runs has had its slice of 3 ms, unless its own slice is shorter; before that,
    `nice` decides alone.
    """
    with contextlib.suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_SLACK_NS), 0, 0, 0)
        number = _SCHED_SETATTR.get(os.uname().machine)
        if number is not None:
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            wanted = _Attributes(size=ctypes.sizeof(_Attributes), nice=nice, runtime_ns=_SLICE_NS)
            libc.syscall(number, 0, ctypes.byref(wanted), 0)


def give_way() -> None:
    """Let the other threads have a processor first."""
    with contextlib.suppress(OSError, AttributeError):
        nice = os.getpriority(os.PRIO_PROCESS, os.getpid())  # of the thread that came first
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + _NICE)

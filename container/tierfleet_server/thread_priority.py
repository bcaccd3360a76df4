"""Which thread the processors and the interpreter are given to first. Each function is about the thread that calls it.

Linux only; elsewhere nothing happens.
"""

import contextlib
import ctypes
import os
import threading

_NICE = 10
_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1_000


def come_first() -> None:
    """Wake up on time: a thread waits for the interpreter by a timer, which Linux lets be 50 us late."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(_SLACK_NS), 0, 0, 0)


def give_way() -> None:
    """Let the other threads have a processor first."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)

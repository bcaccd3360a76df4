"""What the C allocator has handed out, which is where XGBoost keeps its trees.

RSS does not shrink when models are freed and a file's size says little about its trees, so neither is used.
"""

import ctypes
import threading
import time

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
_TRIM_AFTER_BYTES = 256 * 1024 * 1024
_TRIM_INTERVAL_SECONDS = 10.0


_MALLINFO2_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _MallInfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2_FIELDS]


_libc = ctypes.CDLL(None)
_mallinfo2 = getattr(_libc, "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _MallInfo2


def use_one_arena() -> None:
    """Call before any thread starts: one arena makes the statistics whole and keeps models from fragmenting.

    A fixed mmap threshold keeps large request and file buffers out of the heap that the models live in.
    """
    if _mallinfo2 is not None:
        _libc.mallopt(_ARENA_MAX, 1)
        _libc.mallopt(_MMAP_THRESHOLD, 1024 * 1024)


def in_use_bytes() -> int | None:
    """Bytes handed out and not yet freed; None where the C library cannot tell (only glibc >= 2.33 can)."""
    if _mallinfo2 is None:
        return None
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)


class Trimmer:
    """Returns freed memory to the system, rarely: a trim takes 10 ms and the next load faults it back in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._freed_bytes = 0
        self._last = time.monotonic()

    def freed(self, size_bytes: int) -> None:
        """Note a freed model; trims at most every 10 s and only after 256 MiB were freed."""
        with self._lock:
            self._freed_bytes += size_bytes
            now = time.monotonic()
            due = now - self._last >= _TRIM_INTERVAL_SECONDS and self._freed_bytes >= _TRIM_AFTER_BYTES
            if not due or _mallinfo2 is None:
                return
            self._freed_bytes, self._last = 0, now
        _libc.malloc_trim(0)

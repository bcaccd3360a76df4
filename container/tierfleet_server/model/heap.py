"""The bytes that the C allocator has handed out, where XGBoost keeps its trees.

RSS does not shrink when models are freed, and a file's size says little about its trees, so neither is used.
"""

import ctypes
import threading
import time

# M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h.
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
TRIM_CHECK_SECONDS = 1.0


_MALLINFO2_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _MallInfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2_FIELDS]


_libc = ctypes.CDLL(None)
# The older mallinfo counts in C ints, which overflow at 2 GiB.
_mallinfo2 = getattr(_libc, "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _MallInfo2


def use_one_arena() -> None:
    """Call before any thread starts: one arena makes the statistics whole and keeps models from fragmenting.

    A fixed mmap threshold keeps large request and file buffers out of the heap that the models live in. The heap's end
    is kept: by default each buffer of 128 KiB that is freed there goes back to the system, and the next one takes a
    page fault for every 4 KiB.
    """
    if _mallinfo2 is not None:
        _libc.mallopt(_ARENA_MAX, 1)
        _libc.mallopt(_MMAP_THRESHOLD, 1024 * 1024)
        _libc.mallopt(_TRIM_THRESHOLD, 4 * 1024 * 1024)


def in_use_bytes() -> int | None:
    """Bytes handed out and not yet freed; None where the C library cannot tell (only glibc >= 2.33 can)."""
    if _mallinfo2 is None:
        return None
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)


class Trimmer:
    """Returns freed memory to the system, rarely, because a trim blocks every allocation for 10 ms.

    Successive loads and unloads reuse freed memory, so it waits for a pause.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._freed_bytes = 0
        self._last_free = self._last_trim = time.monotonic()

    def freed(self, size_bytes: int) -> None:
        """Note that a model, or what its load needed meanwhile, was freed."""
        with self._lock:
            self._freed_bytes += size_bytes
            self._last_free = time.monotonic()

    def due(self) -> bool:
        """Whether 32 MiB were freed, and none in the last 2 s or the last trim is 60 s ago."""
        now = time.monotonic()
        paused = now - self._last_free >= 2.0 or now - self._last_trim >= 60.0
        return _mallinfo2 is not None and self._freed_bytes >= 32 * 1024 * 1024 and paused

    def trim(self) -> None:
        """Return what is free."""
        with self._lock:
            self._freed_bytes, self._last_trim = 0, time.monotonic()
        _libc.malloc_trim(0)

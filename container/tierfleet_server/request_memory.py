"""Memory of requests in flight: counted against the reserve before their bodies are read.

A request is counted from the end of its head until its reply is with the kernel: as what it will need at most, which
is a measured multiple of its body. What does not fit waits, its sender held back by TCP; what cannot wait is refused.
"""

from collections import deque
from functools import lru_cache
from typing import Protocol

from .memory_limit import MIB
from .payload import media_type
from .refusal import Refusal

# Bodies up to this size have a pool of their own, so that batches never keep single rows waiting.
SMALL_BODY_BYTES = 64 * 1024
_SMALL_SHARE = 4  # the small pool is one part of so many
# What a request needs while it is received, read, scored and answered, per byte of its body. Measured by
# tests/container/test_container_memory.py with the bodies that expand most in each format.
FACTOR = {"text/csv": 6, "application/json": 12, "application/x-npy": 6, "text/libsvm": 12, "text/x-libsvm": 12}
OTHER_FACTOR = 2  # only its refusal is made
REQUEST_BYTES = 8 * 1024  # head, headers, the reply's head
MAX_WAITING = 256
MAX_CONNECTIONS = 1024
# A connection's transport, parser and objects; measured 9 KiB, uvloop 0.23.
CONNECTION_BYTES = 12 * 1024
# Whatever the reserve, one request of the largest size must be possible.
MIN_LIMIT_BYTES = 96 * MIB
RETRY_SECONDS = 1


class Pool:
    """A part of the memory, given out first come, first served."""

    __slots__ = ("in_use_bytes", "limit_bytes", "waiting")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.in_use_bytes = 0
        self.waiting: deque[tuple[int, Waiter]] = deque()

    def take(self, size_bytes: int) -> bool:
        """Count bytes, unless others wait for some or these do not fit."""
        if self.waiting or self.in_use_bytes + size_bytes > self.limit_bytes:
            return False
        self.in_use_bytes += size_bytes
        return True

    def add(self, size_bytes: int) -> None:
        """Count bytes that are in use already, whether they fit or not."""
        self.in_use_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Count bytes no longer, and let in whoever has waited longest, as far as there is room."""
        self.in_use_bytes -= size_bytes
        while self.waiting and self.in_use_bytes + self.waiting[0][0] <= self.limit_bytes:
            size_bytes, waiter = self.waiting.popleft()
            self.in_use_bytes += size_bytes
            waiter.granted(self, size_bytes)

    def leave(self, waiter: "Waiter") -> None:
        """Let one wait no longer."""
        self.waiting = deque(entry for entry in self.waiting if entry[1] is not waiter)
        self.give(0)


@lru_cache(maxsize=256)
def _factor(content_type: bytes) -> int:
    return FACTOR.get(media_type(content_type), OTHER_FACTOR)


class Waiter(Protocol):
    """What waits for memory: told once its bytes are counted."""

    def granted(self, pool: Pool, size_bytes: int) -> None:
        """So many bytes are counted for it now. It must not give any back to this pool before it returns."""


class RequestMemory:
    """The memory that requests may use: a pool for small bodies, and one for all others."""

    def __init__(self, limit_bytes: int) -> None:
        limit_bytes = max(limit_bytes, MIN_LIMIT_BYTES)
        self.small = Pool(limit_bytes // _SMALL_SHARE)
        self.big = Pool(limit_bytes - limit_bytes // _SMALL_SHARE)
        self.refused = 0  # requests, since the start

    @property
    def in_use_bytes(self) -> int:
        """Bytes counted for requests now."""
        return self.small.in_use_bytes + self.big.in_use_bytes

    @property
    def limit_bytes(self) -> int:
        """The most that is counted before requests wait."""
        return self.small.limit_bytes + self.big.limit_bytes

    @property
    def waiting(self) -> int:
        """Requests that wait for memory now."""
        return len(self.small.waiting) + len(self.big.waiting)

    def claim(self, length: int, content_type: bytes) -> tuple[Pool, int]:
        """Where a body of `length` bytes and of this Content-Type is counted, and as how many bytes."""
        pool = self.small if length <= SMALL_BODY_BYTES else self.big
        return pool, min(length * _factor(content_type) + REQUEST_BYTES, pool.limit_bytes)

    def refusal(self, why: str) -> Refusal:
        """A 503, counted; `why` is the first half of its sentence."""
        self.refused += 1
        return Refusal(503, f"{why}; try again, or send smaller batches", headers={"retry-after": str(RETRY_SECONDS)})

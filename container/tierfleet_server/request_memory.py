"""Memory of requests in flight, counted against the reserve before it is used.

A body is counted before it is read, as its length; a batch once more before it is scored, as what its rows and its
reply may take. What does not fit waits, and TCP holds its sender back. Small and big have pools of their own, and the
requests to one model a share of each: neither keeps others waiting. A batch that has been counted needs no more of
anything, so that waiting always ends.
"""

from collections import deque
from typing import Protocol

from .memory_limit import MIB
from .model.refusal import Refusal

SMALL_BODY_BYTES = 64 * 1024
SMALL_WORK_BYTES = 4 * MIB
# The least that serves one request of any size, whatever the reserve: 25 MiB of body, 64 of reply, and the small ones.
MIN_LIMIT_BYTES = 128 * MIB
MAX_WAITING = 256  # in a pool; each holds 16 KiB here and up to 128 in the kernel
MAX_CONNECTIONS = 1024
RETRY_SECONDS = 1


class Waiter(Protocol):
    """What waits for memory."""

    def granted(self, pool: "Pool", size_bytes: int) -> None:
        """So many bytes are counted for it now. It must not give any back to this pool before it returns."""


class Pool:
    """A part of the memory, shared by owners: one may have as much as it leaves free, so there is some for the next.

    What one owner waits for keeps no other waiting. Those who have a share are served first come, first served; an
    owner who holds nothing always has one. The owner `b""` has no limit but the pool's.
    """

    __slots__ = ("_held", "in_use_bytes", "limit_bytes", "waiting")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.in_use_bytes = 0
        self.waiting: deque[tuple[int, bytes, Waiter]] = deque()
        self._held: dict[bytes, int] = {}  # bytes by owner

    def take(self, size_bytes: int, owner: bytes = b"") -> bool:
        """Count bytes, unless these do not fit, are beyond the owner's share, or others wait whose turn is first."""
        if not self._fits(size_bytes) or not self._has_share(size_bytes, owner):
            return False
        if self.waiting and (self._next() is not None or any(entry[1] == owner for entry in self.waiting)):
            return False
        self.add(size_bytes, owner)
        return True

    def wait(self, size_bytes: int, owner: bytes, waiter: Waiter) -> bool:
        """Have one wait for what `take` did not give; False if too many wait, of this owner or of all."""
        own = sum(entry[1] == owner for entry in self.waiting) if owner else 0
        if own >= MAX_WAITING - len(self.waiting):
            return False
        self.waiting.append((size_bytes, owner, waiter))
        return True

    def add(self, size_bytes: int, owner: bytes = b"") -> None:
        """Count bytes that are in use already, whether they fit or not."""
        self.in_use_bytes += size_bytes
        if owner:
            self._held[owner] = self._held.get(owner, 0) + size_bytes

    def give(self, size_bytes: int, owner: bytes = b"") -> None:
        """Count bytes no longer, and let in whoever has waited longest, as far as there is room and share."""
        self.in_use_bytes -= size_bytes
        if owner:
            held = self._held.pop(owner, 0) - size_bytes
            if held:
                self._held[owner] = held
        while self.waiting and (at := self._next()) is not None and self._fits(self.waiting[at][0]):
            granted_bytes, owner, waiter = self.waiting[at]
            del self.waiting[at]
            self.add(granted_bytes, owner)
            waiter.granted(self, granted_bytes)

    def leave(self, waiter: Waiter) -> None:
        """Let one wait no longer."""
        self.waiting = deque(entry for entry in self.waiting if entry[2] is not waiter)
        self.give(0)

    def _fits(self, size_bytes: int) -> bool:
        return self.in_use_bytes + size_bytes <= self.limit_bytes

    def _has_share(self, size_bytes: int, owner: bytes) -> bool:
        held = self._held.get(owner, 0)
        return not held or held + size_bytes <= self.limit_bytes - self.in_use_bytes

    def _next(self) -> int | None:
        """Which of those who wait is next; None if each is beyond its owner's share."""
        beyond: set[bytes] = set()
        for at, (size_bytes, owner, _) in enumerate(self.waiting):
            if owner not in beyond:
                if self._has_share(size_bytes, owner):
                    return at
                beyond.add(owner)
        return None


class RequestMemory:
    """What requests may use of `limit_bytes`: a third for bodies, the rest for scoring; of each a quarter for small."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = max(limit_bytes, MIN_LIMIT_BYTES)
        bodies = self.limit_bytes // 3
        work = self.limit_bytes - bodies
        self.small_bodies, self.big_bodies = Pool(bodies // 4), Pool(bodies - bodies // 4)
        self.small_work, self.big_work = Pool(work // 4), Pool(work - work // 4)
        self._pools = (self.small_bodies, self.big_bodies, self.small_work, self.big_work)
        self.refused = 0  # requests, since the start

    def body(self, length: int) -> tuple[Pool, int]:
        """Where a body of `length` bytes is counted, and as how many."""
        if length <= SMALL_BODY_BYTES:
            return self.small_bodies, length
        return self.big_bodies, min(length, self.big_bodies.limit_bytes)

    def work(self, size_bytes: int) -> tuple[Pool, int]:
        """Where so many bytes of scoring are counted, and as how many."""
        pool = self.small_work if size_bytes <= SMALL_WORK_BYTES else self.big_work
        return pool, min(size_bytes, pool.limit_bytes)

    def refusal(self, why: str) -> Refusal:
        """A 503, counted; `why` is the first half of its sentence."""
        self.refused += 1
        return Refusal(503, f"{why}; try again, or send smaller batches", headers={"retry-after": str(RETRY_SECONDS)})

    @property
    def in_use_bytes(self) -> int:
        """Bytes counted for requests now."""
        return sum(pool.in_use_bytes for pool in self._pools)

    @property
    def waiting(self) -> int:
        """Requests that wait for memory now."""
        return sum(len(pool.waiting) for pool in self._pools)

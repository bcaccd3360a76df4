"""Memory of requests in flight, counted against the reserve before it is used.

A body is counted as its length before it is read. A batch is counted again before it is scored, for its rows and its
reply. What does not fit waits, and TCP holds its sender back. Small and large requests have separate pools, and the
requests to one model have a share of each, so one model's requests do not block others. A request asks for its scoring
memory last, so there is no deadlock.
"""

from collections import deque
from typing import Protocol

from .memory_limit import MIB
from .model.refusal import Refusal

SMALL_BODY_BYTES = 64 * 1024
SMALL_WORK_BYTES = 4 * MIB
# Enough for one request of any size: 25 MiB of body, 64 of reply, and the small ones. Smaller reserves do not count.
MIN_LIMIT_BYTES = 128 * MIB
MAX_WAITING = 256  # in a pool; each holds 16 KiB here and up to 128 in the kernel
MAX_CONNECTIONS = 1024
RETRY_SECONDS = 1


class Waiter(Protocol):
    """Something that waits for memory."""

    def granted(self, pool: "Pool", size_bytes: int) -> None:
        """The bytes are counted now. The waiter must not give any back to this pool before it returns."""


class Pool:
    """Memory that owners share. One owner may hold as much as it leaves free.

    A waiting owner does not block others. Owners with a share left are served in order of arrival, and an owner that
    holds nothing always has one. The owner `b""` is limited by the pool only.
    """

    __slots__ = ("_held", "in_use_bytes", "limit_bytes", "waiting")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.in_use_bytes = 0
        self.waiting: deque[tuple[int, bytes, Waiter]] = deque()
        self._held: dict[bytes, int] = {}  # bytes by owner

    def take(self, size_bytes: int, owner: bytes = b"") -> bool:
        """Count bytes; False if they do not fit, exceed the owner's share, or others are first."""
        if not self._fits(size_bytes) or not self._has_share(size_bytes, owner):
            return False
        if self.waiting and (self._next() is not None or any(entry[1] == owner for entry in self.waiting)):
            return False
        self.add(size_bytes, owner)
        return True

    def wait(self, size_bytes: int, owner: bytes, waiter: Waiter) -> bool:
        """Wait for what `take` refused; False if too many wait, of this owner or in all."""
        own = sum(entry[1] == owner for entry in self.waiting) if owner else 0
        if own >= MAX_WAITING - len(self.waiting):
            return False
        self.waiting.append((size_bytes, owner, waiter))
        return True

    def add(self, size_bytes: int, owner: bytes = b"") -> None:
        """Count bytes that are in use already, even if they do not fit."""
        self.in_use_bytes += size_bytes
        if owner:
            self._held[owner] = self._held.get(owner, 0) + size_bytes

    def give(self, size_bytes: int, owner: bytes = b"") -> None:
        """Return bytes, and grant the requests that have waited longest, as memory and shares allow."""
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
        """Stop waiting."""
        self.waiting = deque(entry for entry in self.waiting if entry[2] is not waiter)
        self.give(0)

    def _fits(self, size_bytes: int) -> bool:
        return self.in_use_bytes + size_bytes <= self.limit_bytes

    def _has_share(self, size_bytes: int, owner: bytes) -> bool:
        held = self._held.get(owner, 0)
        return not held or held + size_bytes <= self.limit_bytes - self.in_use_bytes

    def _next(self) -> int | None:
        """The index of the next waiter; None if every owner is beyond its share."""
        beyond: set[bytes] = set()
        for at, (size_bytes, owner, _) in enumerate(self.waiting):
            if owner not in beyond:
                if self._has_share(size_bytes, owner):
                    return at
                beyond.add(owner)
        return None


class RequestMemory:
    """The pools in `limit_bytes`: a third for bodies, the rest for scoring; a quarter of each is for small requests."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = max(limit_bytes, MIN_LIMIT_BYTES)
        bodies = self.limit_bytes // 3
        work = self.limit_bytes - bodies
        self.small_bodies, self.big_bodies = Pool(bodies // 4), Pool(bodies - bodies // 4)
        self.small_work, self.big_work = Pool(work // 4), Pool(work - work // 4)
        self._pools = (self.small_bodies, self.big_bodies, self.small_work, self.big_work)
        self.refused = 0  # requests, since the start

    def body(self, length: int) -> tuple[Pool, int]:
        """The pool of a body of `length` bytes, and the bytes to count."""
        if length <= SMALL_BODY_BYTES:
            return self.small_bodies, length
        return self.big_bodies, min(length, self.big_bodies.limit_bytes)

    def work(self, size_bytes: int) -> tuple[Pool, int]:
        """The pool of so many bytes of scoring, and the bytes to count."""
        pool = self.small_work if size_bytes <= SMALL_WORK_BYTES else self.big_work
        return pool, min(size_bytes, pool.limit_bytes)

    def refusal(self, why: str) -> Refusal:
        """Count and return a 503; `why` is the first half of its sentence."""
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

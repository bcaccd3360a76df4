"""Start-time fair queueing: each owner of waiting work gets the same share.

An owner's clock counts what was spent on it, and the owner furthest behind is next. An owner that returns after a pause
starts at the others' time, so a pause saves no credit and forgives no debt.
"""

import heapq
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Share(Generic[Item]):
    __slots__ = ("clock", "in_turn", "queued", "typical", "waiting")

    def __init__(self, clock: float) -> None:
        self.clock = clock
        self.waiting: deque[Item] = deque()
        self.in_turn = 0
        self.typical = 0.0  # recent cost of a turn, charged when a turn begins
        self.queued = False  # it has a place in the heap


class FairQueue(Generic[Item]):
    """Items by owner; an owner's items take turns. Not safe for several threads."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share[Item]] = {}
        self._heap: list[tuple[float, int, str]] = []  # a clock when it was queued, the order of arrival, the owner
        self._arrivals = 0
        self._now = 0.0
        self._items = 0  # that wait or are in turn

    def waiting(self, owner: str) -> int:
        """The number of this owner's items that wait or are in turn."""
        share = self._shares.get(owner)
        return 0 if share is None else len(share.waiting) + share.in_turn

    def add(self, owner: str, item: Item) -> None:
        """Queue an item after the owner's other items."""
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = _Share(self._now)
        elif not share.waiting and not share.in_turn:
            share.clock = max(share.clock, self._now)
        share.waiting.append(item)
        self._items += 1
        self._enqueue(owner, share)

    def take(self) -> tuple[str, Item] | None:
        """Begin the next turn: its owner and item; None if nothing waits."""
        while self._heap:
            clock, _, owner = heapq.heappop(self._heap)
            share = self._shares.get(owner)
            if share is None or not share.queued:
                continue
            share.queued = False
            if not share.waiting:
                continue
            if clock < share.clock:  # it was charged after it was queued
                self._enqueue(owner, share)
                continue
            self._now = max(self._now, share.clock)
            share.clock += share.typical
            share.in_turn += 1
            item = share.waiting.popleft()
            if share.waiting:
                self._enqueue(owner, share)
            return owner, item
        return None

    def spent(self, owner: str, seconds: float) -> None:
        """End a turn of this owner that cost so many seconds."""
        share = self._shares[owner]
        share.clock += seconds - share.typical
        share.typical = seconds if not share.typical else 0.75 * share.typical + 0.25 * seconds
        share.in_turn -= 1
        self._items -= 1
        self._forget(owner, share)

    def charge(self, owner: str, seconds: float) -> None:
        """Charge an owner that has work here for what it got from another queue."""
        share = self._shares.get(owner)
        if share is not None:
            share.clock += seconds

    def remove(self, owner: str, item: Item) -> bool:
        """Remove a waiting item; True if it waited."""
        share = self._shares.get(owner)
        if share is None or item not in share.waiting:
            return False
        share.waiting.remove(item)
        self._items -= 1
        self._forget(owner, share)
        return True

    def _enqueue(self, owner: str, share: _Share[Item]) -> None:
        if not share.queued:
            share.queued = True
            self._arrivals += 1
            heapq.heappush(self._heap, (share.clock, self._arrivals, owner))

    def _forget(self, owner: str, share: _Share[Item]) -> None:
        """Forget an owner without work unless it is in debt."""
        if not self._items:
            self._shares.clear()
            self._heap.clear()
            self._now = 0.0
        elif not share.waiting and not share.in_turn and share.clock <= self._now:
            del self._shares[owner]

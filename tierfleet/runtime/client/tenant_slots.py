"""Limits the concurrent calls of one tenant, so that one tenant's backfill does not starve the others."""

import threading
from collections import deque
from typing import Final


class Claim:
    """One call's claim to a slot, from before it asks for one until after it gave it back."""

    __slots__ = ("not_yet", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant: Final = tenant
        # Locked until the slot is handed over. A signal handler could leave an Event's lock locked.
        self.not_yet: threading.Lock | None = None


class _Slots:
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken: set[Claim] = set()
        self.waiting: deque[Claim] = deque()


class TenantSlots:
    """At most `limit` calls per tenant, first come first served. It uses memory only for tenants with running calls.

    A signal handler may raise in any line here, as task queues do to stop a task. A slot always belongs to its claim,
    so giving the claim back, again if that was interrupted, always frees the slot.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._tenants: dict[str, _Slots] = {}

    def take(self, claim: Claim, *, timeout_seconds: float) -> bool:
        """Whether a slot was free in time. Always give the claim back, also if none was or this raised."""
        with self._lock:
            slots = self._tenants.get(claim.tenant)
            if slots is None:
                slots = self._tenants[claim.tenant] = _Slots()
            if len(slots.taken) < self.limit:
                slots.taken.add(claim)
                return True
            not_yet = claim.not_yet = threading.Lock()
            not_yet.acquire()
            slots.waiting.append(claim)
        if not_yet.acquire(timeout=min(max(0.0, timeout_seconds), threading.TIMEOUT_MAX)):
            return True
        with self._lock:
            # It may have been handed over in the meantime.
            return claim in slots.taken

    def give_back(self, claim: Claim) -> None:
        """Free the claim's slot, or its place in the queue, if it has one."""
        with self._lock:
            slots = self._tenants.get(claim.tenant)
            if slots is None:
                return
            slots.taken.discard(claim)
            if claim.not_yet is not None and claim in slots.waiting:
                slots.waiting.remove(claim)
            while slots.waiting and len(slots.taken) < self.limit:
                first = slots.waiting[0]
                # Taken before it leaves the queue: giving the claim back frees it from either, or from both.
                slots.taken.add(first)
                slots.waiting.popleft()
                if first.not_yet is not None:
                    first.not_yet.release()
            # Tenants come and go: an entry for each that ever called would grow without bound.
            if not slots.taken and not slots.waiting:
                del self._tenants[claim.tenant]

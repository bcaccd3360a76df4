"""How many calls of one tenant may be under way: a backfill of one must not starve the others."""

import threading
from collections import deque
from typing import Final


class Claim:
    """One call's, from before it asks for a slot until after it gave it back."""

    __slots__ = ("not_yet", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant: Final = tenant
        # Taken until the slot is handed over. An Event has a lock that a signal's handler can leave taken.
        self.not_yet: threading.Lock | None = None


class _Slots:
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken: set[Claim] = set()
        self.waiting: deque[Claim] = deque()


class TenantSlots:
    """At most `limit` calls per tenant, first come first served; memory for the tenants that are calling only.

    A signal handler may raise in any line here, as task queues stop a task: a slot is its claim's from one step to the
    next, so that giving the claim back, once more if that was interrupted, always frees it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._tenants: dict[str, _Slots] = {}

    def take(self, claim: Claim, *, timeout_seconds: float) -> bool:
        """Whether a slot came free in time; the claim must be given back, also if none did or this raised."""
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
            # It may have been handed over just now.
            return claim in slots.taken

    def give_back(self, claim: Claim) -> None:
        """Free the claim's slot, or its place in the queue; nothing if it has neither."""
        with self._lock:
            slots = self._tenants.get(claim.tenant)
            if slots is None:
                return
            slots.taken.discard(claim)
            if claim.not_yet is not None and claim in slots.waiting:
                slots.waiting.remove(claim)
            while slots.waiting and len(slots.taken) < self.limit:
                first = slots.waiting[0]
                slots.taken.add(first)
                slots.waiting.popleft()
                if first.not_yet is not None:
                    first.not_yet.release()
            if not slots.taken and not slots.waiting:
                del self._tenants[claim.tenant]

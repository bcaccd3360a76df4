"""How many calls of one tenant may be under way: a backfill of one must not starve the others."""

import threading
from collections import deque


class _Slots:
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[threading.Event] = deque()


class TenantSlots:
    """At most `limit` calls per tenant, first come first served; memory for the tenants that are calling only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._tenants: dict[str, _Slots] = {}

    def take(self, tenant: str, *, timeout_seconds: float) -> bool:
        """Whether a slot came free in time; each one taken must be given back."""
        with self._lock:
            slots = self._tenants.get(tenant)
            if slots is None:
                slots = self._tenants[tenant] = _Slots()
            if slots.taken < self.limit:
                slots.taken += 1
                return True
            handed_over = threading.Event()
            slots.waiting.append(handed_over)
        try:
            if handed_over.wait(min(max(0.0, timeout_seconds), threading.TIMEOUT_MAX)):
                return True
        except BaseException:
            # A signal's handler raised, as task queues stop a task: no slot may go to a caller that left.
            if not self._withdraw(slots, handed_over):
                self.give_back(tenant)
            raise
        return not self._withdraw(slots, handed_over)

    def give_back(self, tenant: str) -> None:
        with self._lock:
            slots = self._tenants[tenant]
            if slots.waiting:
                slots.waiting.popleft().set()
                return
            slots.taken -= 1
            if not slots.taken:
                del self._tenants[tenant]

    def _withdraw(self, slots: _Slots, handed_over: threading.Event) -> bool:
        """Leave the queue; False if the slot was handed over just before."""
        with self._lock:
            if handed_over.is_set():
                return False
            slots.waiting.remove(handed_over)
            return True

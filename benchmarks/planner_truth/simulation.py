"""A multi-model endpoint, event by event, in plain Python: what the planner's figures are held against.

It shares no code with the planner's compiled passes: dictionaries, deques and a heap, one call after the other.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["warm", "waiting", "disk", "s3"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One instance, and how long the steps of a load take on it, in seconds."""

    memory_bytes: int
    disk_bytes: int
    places: int
    """Loads that run at the same time."""
    load: Callable[[int], float]
    """Of a tenant's model, once it is on the disk and has a place."""
    from_disk: Callable[[int], float]
    """To read a tenant's files, before they can be loaded."""
    from_s3: Callable[[int], float]
    """To fetch, unpack and write them, before they can be loaded; may be another at each call."""


@dataclass
class Call:
    """One request. loads_beside: how many loads ran on its instance when it came."""

    tenant: int
    seconds: float
    outcome: Outcome = "warm"
    wait_seconds: float = 0.0
    loads_beside: int = 0


@dataclass
class Shelf:
    """Things of different sizes on limited room, the one used last at the end."""

    room: int
    used: int = 0
    items: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def touch(self, tenant: int) -> bool:
        """Whether it is there; if so, it was used now."""
        if tenant in self.items:
            self.items.move_to_end(tenant)
            return True
        return False

    def put(self, tenant: int, size: int, *, not_these: Iterable[int] = ()) -> bool:
        """Take things out, those used longest ago first, until it fits. False if it does not fit (yet)."""
        if size > self.room:
            return False
        kept = set(not_these)
        for other in list(self.items):
            if self.used + size <= self.room:
                break
            if other not in kept:
                self.used -= self.items.pop(other)
        if self.used + size > self.room:
            return False
        self.items[tenant] = size
        self.used += size
        return True


class Instance:
    """One instance with its memory, its disk and its queues for loads."""

    def __init__(self, machine: Machine, memory: list[int], disk: list[int]) -> None:
        self.machine, self.size_in_memory, self.size_on_disk = machine, memory, disk
        self.memory, self.disk = Shelf(machine.memory_bytes), Shelf(machine.disk_bytes)
        self.fetched: deque[int] = deque()
        self.has_memory: deque[int] = deque()
        self.running: set[int] = set()
        self.loading: set[int] = set()
        self.waiting: dict[int, list[Call]] = {}
        self.events: list[tuple[float, int, str, int]] = []
        self.number = 0

    def serve(self, call: Call) -> None:
        """A call that comes now."""
        self.until(call.seconds)
        tenant = call.tenant
        in_memory = self.memory.touch(tenant)
        if tenant in self.waiting:
            self.disk.touch(tenant)
            call.outcome = "waiting"
            self.waiting[tenant].append(call)
        elif in_memory:
            self.disk.touch(tenant)
            call.loads_beside = len(self.running)
        else:
            if self.disk.touch(tenant):
                call.outcome, ready_in = "disk", self.machine.from_disk(tenant)
            else:
                self.disk.put(tenant, self.size_on_disk[tenant])
                call.outcome, ready_in = "s3", self.machine.from_s3(tenant)
            self.waiting[tenant] = [call]
            self._later(call.seconds + ready_in, "ready", tenant)

    def until(self, seconds: float) -> None:
        """Everything that happens by then."""
        while self.events and self.events[0][0] <= seconds:
            now, _, what, tenant = heapq.heappop(self.events)
            if what == "ready":
                self.fetched.append(tenant)
            else:
                self.loading.remove(tenant)
                self.running.remove(tenant)
                self.memory.touch(tenant)
                for call in self.waiting.pop(tenant):
                    call.wait_seconds = now - call.seconds
            self._begin(now)

    def _begin(self, now: float) -> None:
        """LOAD is asked for when the files are there; it takes memory at once, and its time when a place is free."""
        while self.fetched:
            tenant = self.fetched[0]
            size = self.size_in_memory[tenant]
            if size <= self.memory.room and not self.memory.put(tenant, size, not_these=self.loading):
                break
            self.has_memory.append(self.fetched.popleft())
            self.loading.add(tenant)
        while self.has_memory and len(self.running) < self.machine.places:
            tenant = self.has_memory.popleft()
            self.running.add(tenant)
            self._later(now + self.machine.load(tenant), "loaded", tenant)

    def _later(self, seconds: float, what: str, tenant: int) -> None:
        self.number += 1
        heapq.heappush(self.events, (seconds, self.number, what, tenant))


def simulate(
    calls: Iterable[tuple[int, float]], placement: list[int], machine: Machine, memory: list[int], disk: list[int]
) -> list[Call]:
    """All calls (tenant, seconds) in time order, each on its tenant's instance, from empty instances on.

    memory, disk: bytes of each tenant's model in memory and on disk.
    """
    instances = [Instance(machine, memory, disk) for _ in range(max(placement) + 1)]
    served = [Call(tenant, seconds) for tenant, seconds in calls]
    for call in served:
        instances[placement[call.tenant]].serve(call)
    for instance in instances:
        instance.until(float("inf"))
    return served

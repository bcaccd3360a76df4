"""What the caches of an endpoint must do with a sequence of requests: least recently used, on memory and disk.

The rules of docs/local-cloud.md and docs/container.md, without the data plane's or the server's code; a test holds them
against both. Requests come one after the other, so the outcome depends on their order alone, not on time.
"""

import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

HIT, FROM_DISK, FROM_S3 = "warm", "from disk", "from S3"
OUTCOMES = (HIT, FROM_DISK, FROM_S3)

# Bytes in memory that a load needs a byte of its file; after a refusal, loads have this share of the budget.
LOAD_FACTOR = 5.0
LOW_WATER = 0.95


@dataclass(frozen=True)
class Sizes:
    """Bytes of one model: in memory once loaded, and its file on disk."""

    resident_bytes: int
    file_bytes: int


@dataclass
class Instance:
    """One instance's memory and disk. `fixed_bytes` is what the server counts besides models."""

    name: str
    memory_bytes: float
    disk_bytes: float
    fixed_bytes: float
    load_factor: float = LOAD_FACTOR
    memory: "OrderedDict[str, Sizes]" = field(default_factory=OrderedDict)  # least recently used first
    disk: "OrderedDict[str, Sizes]" = field(default_factory=OrderedDict)
    used_bytes: float = 0.0
    used_on_disk_bytes: float = 0.0
    full: bool = False  # a load has been refused since the last one that was not
    was_full: bool = False  # a load has ever been refused

    def __post_init__(self) -> None:
        self.used_bytes = self.fixed_bytes

    def request(self, model: str, sizes: Sizes) -> str:
        """Serve one request; where its model was."""
        if model in self.disk:
            self.disk.move_to_end(model)
        if model in self.memory:
            self.memory.move_to_end(model)
            return HIT
        source = FROM_DISK if model in self.disk else FROM_S3
        if source == FROM_S3:
            self._download(model, sizes)
        self._load(model, sizes)
        return source

    def _download(self, model: str, sizes: Sizes) -> None:
        self.disk[model] = sizes
        self.used_on_disk_bytes += sizes.file_bytes
        if self.used_on_disk_bytes <= self.disk_bytes:
            return
        for name in [name for name in self.disk if name not in self.memory and name != model]:
            self._drop(name)
            if self.used_on_disk_bytes <= self.disk_bytes:
                return
        while self.used_on_disk_bytes > self.disk_bytes and self.memory:
            oldest = next(iter(self.memory))
            self._unload(oldest)
            self._drop(oldest)

    def _load(self, model: str, sizes: Sizes) -> None:
        while True:
            ceiling = self.memory_bytes * (LOW_WATER if self.full and self.memory else 1.0)
            if self.used_bytes + self.load_factor * sizes.file_bytes <= ceiling:
                break
            self.full = self.was_full = True
            self._unload(next(iter(self.memory)))
        self.full = False
        self.memory[model] = sizes
        self.used_bytes += sizes.resident_bytes

    def _unload(self, model: str) -> None:
        self.used_bytes -= self.memory.pop(model).resident_bytes

    def _drop(self, model: str) -> None:
        self.used_on_disk_bytes -= self.disk.pop(model).file_bytes


def route(instances: Sequence[Instance], model: str) -> Instance:
    """The instance that has the model; else one with room (on disk first, then the emptiest); else on disk, by hash."""
    for instance in instances:
        if model in instance.memory:
            return instance

    def cost(instance: Instance) -> tuple[bool, bool, int, int]:
        loaded = 0 if instance.was_full else len(instance.memory)
        return (
            instance.was_full, model not in instance.disk, loaded, zlib.crc32(f"{instance.name}/{model}".encode())
        )  # fmt: skip

    return min(instances, key=cost)


def outcomes(instances: Sequence[Instance], sequence: Iterable[str], sizes: Mapping[str, Sizes]) -> list[str]:
    """Where each request of the sequence finds its model."""
    return [route(instances, model).request(model, sizes[model]) for model in sequence]


def plain_lru_hit_ratio(
    before: Sequence[str], counted: Sequence[str], resident_bytes: Mapping[str, int], capacity_bytes: float
) -> float:
    """The textbook's cache: a model enters if it fits after evictions, and nothing else needs room."""
    cache: OrderedDict[str, None] = OrderedDict()
    used, hits = 0, 0
    for number, model in enumerate([*before, *counted]):
        if model in cache:
            cache.move_to_end(model)
            hits += number >= len(before)
            continue
        while used + resident_bytes[model] > capacity_bytes:
            used -= resident_bytes[cache.popitem(last=False)[0]]
        cache[model] = None
        used += resident_bytes[model]
    return hits / len(counted)


def shares(found: Sequence[str]) -> dict[str, float]:
    """Outcome to its share of the requests."""
    counts = Counter(found)
    return {outcome: counts[outcome] / len(found) for outcome in OUTCOMES}

"""What a replay finds. Plain values only."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Served:
    """What became of some calls. The counts of the first four outcomes add up to `calls`."""

    calls: int
    in_memory: int
    """Found their model in memory: answered at once."""
    waited_for_running_load: int
    """Came while their model was being fetched or loaded, and waited for the rest of that."""
    from_disk: int
    """Waited for a load from the instance's disk."""
    from_s3: int
    """Waited for a fetch from S3 and a load."""
    outside: float
    """Slower than what is required of their class: an expected number, as times of warm calls are drawn at random."""
    longest_wait_seconds: float
    """Until the model could answer; 0 where no call waited."""

    @property
    def hit_ratio(self) -> float:
        """The share that found its model in memory; 1 without calls."""
        return self.in_memory / self.calls if self.calls else 1.0


@dataclass(frozen=True, kw_only=True)
class Hour:
    """One hour of an endpoint."""

    served: Served
    begins: str
    """ISO 8601, UTC."""
    unloads: int
    """Models unloaded for want of memory."""
    instances: float
    """In service, averaged over the hour."""


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One tenant of an endpoint."""

    served: Served
    tenant: str
    mean_wait_seconds: float
    """Of the calls that waited; 0 where none did."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint over the counted part of the trace."""

    served: Served
    tier: str
    tenant: str | None
    """Whose it is; None for a shared tier."""
    instance_type: str
    instances: tuple[tuple[str, int], ...]
    """(ISO 8601 in UTC, instances in service from then on)."""
    instance_hours: float
    most_allowed: int
    """Upper bound of the instance count, schedules included."""
    load_p50_seconds: float | None
    """Of calls that waited, as callers see them; None where none did."""
    load_p95_seconds: float | None
    warm_p95_seconds: float
    """Of the others, as callers see them."""
    busy_loading: float
    """The share of the places for loading that was taken in the hour in which it was most. Above 1: more loads were
    asked for than there was time for."""
    beyond_capacity_minutes: int
    """Minutes with more calls than `scaling.max_requests_per_second` on every instance in service allows."""
    first_loads: int
    """Loads of a model that no instance had loaded before."""
    unloads: int
    never_fit: tuple[str, ...]
    """Tenants whose model is bigger than the memory of an instance: their calls fail."""
    hours: tuple[Hour, ...]
    tenants: tuple[Tenant, ...]
    """The one with most calls outside the requirement first."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a fleet would have made of a trace."""

    fleet: str
    source: str
    profile: str
    begins: str
    """ISO 8601, UTC, of the first call that is counted."""
    ends: str
    days: float
    requirements: str
    endpoints: tuple[Endpoint, ...]
    """Shared tiers first, then dedicated endpoints by calls."""
    misses: tuple[str, ...]
    """What is required and was not kept, a sentence each; empty if everything was."""
    notices: tuple[str, ...]

    @property
    def calls(self) -> int:
        return sum(endpoint.served.calls for endpoint in self.endpoints)

    @property
    def outside_share(self) -> float:
        """Of all calls, those slower than what is required of their class."""
        return sum(endpoint.served.outside for endpoint in self.endpoints) / max(self.calls, 1)

    def to_json(self) -> dict[str, Any]:
        """Everything; the counts of an endpoint, an hour or a tenant are keys of its own."""
        document = asdict(self, dict_factory=_flat)
        return {**document, "calls": self.calls, "outside_share": self.outside_share}


def _flat(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    return {**plain.pop("served"), **plain} if "served" in plain else plain

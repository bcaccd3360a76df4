"""The settings of a FleetClient and their ranges."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Settings of a FleetClient. The defaults suit one process that calls any tenant of the fleet.

    >>> online = ClientSettings(deadline_seconds=2, connections=64)
    >>> fleet = FleetClient("fraud", "prod", region="eu-west-1", settings=online)
    >>> fleet.predict("m37", [[0.3, 1.0, 12.5]])
    [50.8]
    >>> ClientSettings(deadline_seconds=0)
    Traceback (most recent call last):
    ValueError: deadline_seconds is 0, allowed: above 0, or None

    Raises ValueError that names every field out of its range.
    """

    deadline_seconds: float | None = None
    """The longest time of one call, unless the call has its own; above 0. None: 70 s, and 250 s for a serverless
    endpoint. Online callers set 1 to 5."""

    route_ttl_seconds: int | None = None
    """How often the routes are polled, 15 to 3600. None: as often as the routes say (the fleet file's [routes]
    ttl_seconds). Never set it higher: a moved tenant's old endpoint exists for two of those intervals."""

    pointer_ttl_seconds: float = 60.0
    """How soon a published version is used, 1 to 86,400."""

    pointer_stale_seconds: float = 86_400.0
    """The maximum age of a pointer while S3 fails; at least pointer_ttl_seconds."""

    pointers_kept: int = 10_000
    """Tenants whose pointers are cached, from 1. The least recently called are dropped."""

    calls_per_tenant: int = 8
    """Concurrent calls of one tenant, from 1. Further calls wait."""

    connections: int = 32
    """Connections to each service, from 1: about the number of calling threads."""

    named_tenants: int = 20
    """Tenants with their own metrics in one hour, 0 to 1000."""

    def __post_init__(self) -> None:
        ranges = {
            "deadline_seconds": (self.deadline_seconds is None or self.deadline_seconds > 0, "above 0, or None"),
            "route_ttl_seconds": (
                self.route_ttl_seconds is None or 15 <= self.route_ttl_seconds <= 3600,
                "15 to 3600, or None",
            ),
            "pointer_ttl_seconds": (1 <= self.pointer_ttl_seconds <= 86_400, "1 to 86400"),
            "pointer_stale_seconds": (
                self.pointer_stale_seconds >= self.pointer_ttl_seconds,
                f"from pointer_ttl_seconds, {self.pointer_ttl_seconds:g}",
            ),
            "pointers_kept": (self.pointers_kept >= 1, "from 1"),
            "calls_per_tenant": (self.calls_per_tenant >= 1, "from 1"),
            "connections": (self.connections >= 1, "from 1"),
            "named_tenants": (0 <= self.named_tenants <= 1000, "0 to 1000"),
        }
        wrong = [
            f"{name} is {getattr(self, name)!r}, allowed: {allowed}"
            for name, (holds, allowed) in ranges.items()
            if not holds
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

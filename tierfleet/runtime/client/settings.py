"""What a FleetClient may be told, and the ranges in which it makes sense."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """The defaults suit one process that calls any tenant of the fleet.

    deadline_seconds: of one call, unless the call says otherwise; above 0. None: as long as the tenant's hosting shape
    may take to answer, which is 70 s, and 250 s for a serverless endpoint.
    route_ttl_seconds: how often the routes are polled, 15 to 3600; None: as often as the routes themselves say, which
    is the fleet file's [routes] ttl_seconds. Not above that: the old endpoint of a moved tenant lives for two of those.
    pointer_ttl_seconds: how soon a published version is used, 1 to 86,400.
    pointer_stale_seconds: how old a pointer may be while S3 is down; not below pointer_ttl_seconds.
    pointers_kept: tenants whose pointer is remembered, the least recently called are forgotten; from 1.
    calls_per_tenant: calls of one tenant under way at once, more wait; from 1.
    connections: to each service, about the number of calling threads; from 1.
    named_tenants: tenants with metrics of their own in one hour, 0 to 1000.
    """

    deadline_seconds: float | None = None
    route_ttl_seconds: int | None = None
    pointer_ttl_seconds: float = 60.0
    pointer_stale_seconds: float = 86_400.0
    pointers_kept: int = 10_000
    calls_per_tenant: int = 8
    connections: int = 32
    named_tenants: int = 20

    def __post_init__(self) -> None:
        """Raises ValueError that names every field out of its range."""
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

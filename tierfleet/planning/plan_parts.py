"""The parts of a plan: moves, decisions, edits, quotas, points of a curve. Plain values, no computation."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Move:
    """A tenant that changes its tier."""

    tenant: str
    from_tier: str
    to_tier: str
    reason: str


@dataclass(frozen=True)
class Decision:
    """The tier of a tenant that has a dedicated endpoint, or of one of the biggest on the shared tier."""

    tenant: str
    tier: str
    share: float
    """Of all calls, 0 to 1."""
    calls_per_day: float
    reason: str
    usd: float | None
    """US dollars a month for its dedicated endpoint; None on the shared tier."""


@dataclass(frozen=True)
class Edit:
    """One changed value of the fleet file, in words."""

    where: str
    before: str
    after: str


@dataclass(frozen=True)
class QuotaNeed:
    """An AWS quota that the proposed fleet needs raised, in instances."""

    name: str
    needed: int
    default: int


@dataclass(frozen=True)
class BillLine:
    """One line of the monthly bill."""

    group: str
    """instances, volumes, S3, CloudWatch or other."""
    tier: str
    """The tier's name, or `whole fleet`."""
    detail: str
    """Quantity and price."""
    usd: float
    """US dollars a month."""


@dataclass(frozen=True)
class CurvePoint:
    """Hit ratios, 0 to 1, of one cache that holds `models` models of one size."""

    models: float
    lru: float | None
    """Least recently used, exact; None without a trace."""
    che: float | None
    """Che's approximation of LRU; None where only the exact ratio was computed."""
    static: float
    """The best fixed set of models."""
    belady: float | None
    """The clairvoyant optimum; None where it was not computed."""

    @property
    def hit_ratio(self) -> float:
        """LRU: exact if known, else Che's approximation."""
        ratio = self.che if self.lru is None else self.lru
        return 0.0 if ratio is None else ratio


@dataclass(frozen=True)
class PublishedRatio:
    """A published hit ratio of a cache of `models` models, next to what is computed for it."""

    models: int
    claimed: float | None
    """The published hit ratio, 0 to 1; None if only the computed one was asked for."""
    point: CurvePoint
    memory_mib: Mapping[str, float]
    """Memory that so many models take, by profile, MiB."""
    cheapest: Mapping[str, str | None]
    """The cheapest instances of the shared tier that hold them, by profile; None if no type with a price does."""
    usd: Mapping[str, float | None]
    """US dollars a month for those instances alone, by profile."""

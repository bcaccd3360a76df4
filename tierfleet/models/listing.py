"""What each tenant serves: the pointers compared with the routes, the pins and the artefacts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any

from tierfleet.config.routes import endpoint_name
from tierfleet.models.bucket import read_pointers, read_targets
from tierfleet.models.pointer import Held
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.names import version_of
from tierfleet.text import age, moment, size

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tierfleet.config import FleetConfig


@dataclass(frozen=True)
class Row:
    """One tenant. `serves`: what its endpoint loads, a whale's pin or else the pointer's version.

    problems: whatever needs a person: a broken pointer, a missing artefact, a pin that differs from the pointer.
    """

    tenant: str
    tier: str
    endpoint: str
    version: str | None
    pinned: str | None
    size_bytes: int | None
    published_at: str | None
    previous: str | None
    versions: int
    removed_at: str | None
    problems: tuple[str, ...]
    broken: bool

    @property
    def serves(self) -> str | None:
        return self.pinned or self.version

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "serves": self.serves}


@dataclass(frozen=True)
class Listing:
    """Every tenant in name order, and how many calls of S3 that took."""

    rows: list[Row]
    s3_calls: dict[str, int]


def list_models(
    s3: "S3Client",
    *,
    bucket: str,
    fleet: "FleetConfig",
    done: Callable[[int, int], None] = lambda _done, _all: None,
) -> Listing:
    """Read the catalog: a LIST for 1,000 tenants and for 1,000 versions of artefacts, a GET for each tenant.

    Tenants without a pointer are listed where the fleet file pins a model of theirs. Raises botocore's errors.
    """
    stored, lists = read_targets(s3, bucket)
    pointers = read_pointers(s3, bucket, done=done)
    pinned = {
        tenant: tuple(tier.pinned_models(tenant).values())
        for tier in fleet.tenant_endpoint_tiers.values()
        for tenant in tier.tenants
    }
    tenants = sorted(pointers.keys() | pinned.keys())
    rows = [_row(fleet, name, pointers.get(name), pinned.get(name, ()), stored.get(name, set())) for name in tenants]
    calls = {"LIST": lists + max(1, ceil(len(pointers) / 1000)), "GET": len(pointers)}
    return Listing(rows, calls)


def _row(
    fleet: "FleetConfig", tenant: str, held: Held | CatalogError | None, pins: Sequence[str], stored: set[str]
) -> Row:
    """pins: the artefacts that the fleet file pins for the tenant, its main one first; none where tenants share one."""
    pin = pins[0] if pins else None
    tier = fleet.tier_of(tenant)
    problems: list[str] = []
    entry = held.entry if isinstance(held, Held) else None
    if isinstance(held, CatalogError):
        problems.append(str(held))
    current = entry.target_model if entry else None
    if held is None:
        problems.append("nothing is published; a demotion would leave it without a model")
    for what, target in (("the pointer", current), *(("the pin", target) for target in pins)):
        if target is not None and target not in stored:
            problems.append(f"{what} names {version_of(target)}, which is not in the bucket")
    if pin is not None and current is not None and pin != current:
        problems.append(f"its endpoint serves the pin {version_of(pin)}, the pointer names {version_of(current)}")
    own = tenant if pin is not None else None
    return Row(
        tenant=tenant,
        tier=tier,
        endpoint=endpoint_name(fleet, tier, own),
        version=entry.version if entry else None,
        pinned=version_of(pin) if pin else None,
        size_bytes=entry.size_bytes if entry else None,
        published_at=entry.published_at if entry else None,
        previous=version_of(entry.previous) if entry and entry.previous else None,
        versions=len(stored),
        removed_at=entry.removed_at if entry else None,
        problems=tuple(problems),
        broken=isinstance(held, CatalogError) or any("not in the bucket" in problem for problem in problems),
    )


_HEADER = ("tenant", "tier", "current", "size", "age", "previous", "stored", "endpoint")


def table(rows: list[Row], now: datetime) -> list[tuple[str, ...]]:
    """The cells of the header and of each row."""
    return [_HEADER, *(_cells(row, now) for row in rows)]


def _cells(row: Row, now: datetime) -> tuple[str, ...]:
    version = row.version or ("removed" if row.removed_at else "-")
    since = row.published_at or row.removed_at
    return (
        row.tenant,
        row.tier,
        version if row.pinned in (None, row.version) else f"{version} (pinned: {row.pinned})",
        size(row.size_bytes),
        age(moment(since), now) if since else "-",
        row.previous or "-",
        str(row.versions),
        row.endpoint,
    )

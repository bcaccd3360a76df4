"""What an edit of a fleet file changes in its monthly cost, tier by tier and tenant by tenant, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tierfleet.config import FleetConfig
from tierfleet.cost.bill import Place
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.errors import InputError

# Anything below half a cent is rounding.
_CENT: Final = 0.005
# Keys that change no cost by themselves.
_FREE_KEYS: Final = ("alarms", "models_per_instance", "model_cache", "guardrail", "default", "probe")


@dataclass(frozen=True)
class CostChange:
    """What an edit changes in one tier, one tenant or, where both are None, the whole fleet."""

    tier: str | None
    tenant: str | None
    usd_before: float
    """US dollars a month; 0 for a new tier or tenant."""
    usd_after: float
    """US dollars a month; 0 for a removed tier or tenant."""
    reasons: tuple[str, ...]
    """The keys that differ, such as `instances.min 2 -> 3`."""

    @property
    def usd(self) -> float:
        """After less before."""
        return self.usd_after - self.usd_before


@dataclass(frozen=True)
class CostDiff:
    """The change between two versions of a fleet."""

    before: FleetCost
    after: FleetCost
    changes: tuple[CostChange, ...]

    @property
    def usd(self) -> float:
        """US dollars a month, after less before."""
        return self.after.usd - self.before.usd


# A fleet and its bill.
Priced = tuple[FleetConfig, FleetCost]


def cost_diff(old: Priced | None, new: Priced | None, *, every_place: bool = False) -> CostDiff:
    """The change from `old` to `new`, priced with the same table and usage; None: no such fleet before, or after.

    >>> from pathlib import Path
    >>> from tierfleet.config import load
    >>> from tierfleet.cost.monthly_cost import monthly_cost
    >>> from tierfleet.cost.prices import load_prices
    >>> prices, fleet = load_prices(), load(Path("config/churn-prod.toml"))
    >>> tail = fleet.tiers["tail"]
    >>> smaller = tail.model_copy(update={"volume_size_in_gb": 32})
    >>> edited = fleet.model_copy(update={"tiers": {"tail": smaller}})
    >>> diff = cost_diff((fleet, monthly_cost(fleet, prices)), (edited, monthly_cost(edited, prices)))
    >>> round(diff.usd, 2), diff.changes[0].reasons
    (-8.96, ('volume_size_in_gb 64 -> 32',))

    every_place: include places that cost the same, so that the changes add up to the totals.
    Raises ValueError where both are None.
    """
    given = old or new
    if given is None:
        raise ValueError("no fleet before and none after; give at least one")
    nothing = replace(given[1], lines=())
    old_cost, new_cost = old[1] if old else nothing, new[1] if new else nothing
    before, after = old_cost.by_place(), new_cost.by_place()
    places = sorted(before.keys() | after.keys(), key=lambda place: (place[0] or "", place[1] or ""))
    changes = [
        CostChange(*place, before.get(place, 0.0), after.get(place, 0.0), tuple(_reasons(place, old, new)))
        for place in places
    ]
    kept = [change for change in changes if every_place or abs(change.usd) >= _CENT]
    return CostDiff(old_cost, new_cost, tuple(kept))


def paired_files(old: Path, new: Path) -> list[tuple[Path | None, Path | None]]:
    """The fleet files to compare: two files with each other, or the `*.toml` of two directories by their names.

    Raises InputError for a file and a directory, and for directories without a fleet file.
    """
    if old.is_dir() != new.is_dir():
        raise InputError(f"{old} and {new}: give two fleet files or two directories of them")
    if not old.is_dir():
        return [(old, new)]
    names = sorted({file.name for directory in (old, new) for file in directory.glob("*.toml")})
    if not names:
        raise InputError(f"no fleet files in {old} and {new}; give directories with fleet files")
    return [
        (old / name if (old / name).is_file() else None, new / name if (new / name).is_file() else None)
        for name in names
    ]


def _reasons(place: Place, old: Priced | None, new: Priced | None) -> Iterator[str]:
    if old is None or new is None:
        yield "new fleet" if old is None else "fleet removed"
        return
    tier, tenant = place
    before, after = old[0], new[0]
    if before.region != after.region:
        yield f"region {before.region} -> {after.region}"
    if tenant:
        was, comes = _tier_of(before, tenant), _tier_of(after, tenant)
        if was != comes:
            # A tenant that moved has two places, and each gives its own reason.
            yield f"comes from {was}" if comes == tier else f"goes to {comes}"
            return
    if tier:
        old_tier, new_tier = before.tiers.get(tier), after.tiers.get(tier)
        if old_tier is None or new_tier is None:
            yield "new tier" if old_tier is None else "tier removed"
            return
        yield from _differences(_settings(old_tier), _settings(new_tier))
        if not old_tier.endpoint_per_tenant and len(old_tier.tenants) != len(new_tier.tenants):
            yield f"tenants {len(old_tier.tenants)} -> {len(new_tier.tenants)}"
    else:
        yield from _differences(before.routes.model_dump(), after.routes.model_dump(), "routes.")
        yield from _items(old[1], new[1])


def _tier_of(config: FleetConfig, tenant: str) -> str:
    return next((name for name, tier in config.tiers.items() if tenant in tier.tenants), config.default_tier)


def _settings(tier: Any) -> dict[str, Any]:
    settings = tier.model_dump(exclude={"tenants", *_FREE_KEYS})
    if settings.get("stages"):
        # What a stage costs is its alarm.
        settings["stages"] = [
            stage["name"] for stage in settings["stages"] if stage["max_average_latency_milliseconds"]
        ]
    if settings.get("warm_up"):
        settings["warm_up"]["tenants"] = len(settings["warm_up"]["tenants"])
    return dict(settings)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{above}{key}.")
        elif before != after:
            yield f"{above}{key} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "set"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _items(old: FleetCost, new: FleetCost) -> Iterator[str]:
    before = {line.item: line.detail for line in old.lines if line.tier is None}
    after = {line.item: line.detail for line in new.lines if line.tier is None}
    for item in sorted(before.keys() | after.keys()):
        if before.get(item) != after.get(item):
            yield f"{item}: {before.get(item, 'none')} -> {after.get(item, 'none')}"

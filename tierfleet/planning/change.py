"""What a fleet file is to say: sizes, who is dedicated with which model, who is warmed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tierfleet.config import FleetConfig, MultiModelTier
from tierfleet.config.rules.tier import MAX_WARM_UP_SHARE
from tierfleet.instance_types import describe
from tierfleet.planning.search.plan import Edit
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, proposed_tail
from tierfleet.text import counted

# A warm-up list is left alone unless another one covers so many more of the calls, in points of a ratio.
WARM_UP_BAND: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Target:
    """The default tier's type, lower bound and capacity; the dedicated tenants; the default tier's warm-up list.

    pins: model keys of tenants that are not dedicated yet. warm_up: hottest first; None leaves the list alone.
    models_per_instance: None leaves it alone, as for an instance type that was measured.
    """

    instance_type: str
    instances: int
    models_per_instance: int | None
    dedicated: frozenset[str]
    warm_up: tuple[str, ...] | None
    pins: Mapping[str, str]

    def promoted(self, config: FleetConfig) -> list[str]:
        """Tenants that get an endpoint."""
        return sorted(self.dedicated - dedicated_tenants(config).keys())

    def demoted(self, config: FleetConfig) -> list[str]:
        """Tenants that lose theirs."""
        return sorted(dedicated_tenants(config).keys() - self.dedicated)


def edits(config: FleetConfig, target: Target) -> tuple[Edit, ...]:
    """What changes in the file, in words; nothing if it stays as it is."""
    name = config.default_tier
    tail = config.multi_model_tiers[name]
    new = proposed_tail(tail, target.instance_type, target.instances)
    found = [
        _edit(f"[tiers.{name}] instance_type", tail.instance_type, new.instance_type),
        _edit(f"[tiers.{name}] instances", _bounds(tail), _bounds(new)),
        _edit(
            f"[tiers.{name}] scaling.max_requests_per_second",
            tail.scaling.max_requests_per_second,
            new.scaling.max_requests_per_second,
        ),
        _edit(f"[tiers.{name}] volume_size_in_gb", tail.volume_size_in_gb, new.volume_size_in_gb),
    ]
    if target.models_per_instance is not None:
        where = f"[tiers.{name}] models_per_instance"
        found.append(_edit(where, tail.models_per_instance, target.models_per_instance))
    if target.warm_up is not None and tail.warm_up is not None:
        before, after = tail.warm_up.tenants, target.warm_up
        gone, came = set(before) - set(after), set(after) - set(before)
        new_text = f"{counted(len(after), 'tenant')}, {len(came)} of them new, {len(gone)} gone, hottest first"
        found.append(_edit(f"[tiers.{name}.warm_up] tenants", counted(len(before), "tenant"), new_text))
    joins, now = dedicated_tier_name(config), dedicated_tenants(config)
    for tenant in target.promoted(config):
        found.append(
            Edit(f"[tiers.{joins}.tenants] {tenant}", "(not there)", target.pins.get(tenant, "(to be pinned)"))
        )
    for tenant in target.demoted(config):
        found.append(Edit(f"[tiers.{now[tenant]}.tenants] {tenant}", "dedicated", "(deleted)"))
    return tuple(edit for edit in found if edit.before != edit.after)


def warm_up_list(
    tail: MultiModelTier,
    *,
    instance_type: str,
    instances: int,
    models_per_instance: int,
    calls_per_day: Mapping[str, float],
    seconds_a_load: float,
) -> tuple[str, ...] | None:
    """Whom to warm, hottest first: as many as now, as far as they fit memory, deadline and scaling target.

    calls_per_day: of the tenants on the tier. None if the tier has no warm-up, or if its list covers nearly as many
    calls as a better one would.
    """
    if tail.warm_up is None:
        return None
    new = proposed_tail(tail, instance_type, instances)
    fewest = new.fewest_instances
    at_once = tail.warm_up.concurrency or describe(instance_type).vcpus * new.instances.initial
    most = min(
        int(models_per_instance * fewest * MAX_WARM_UP_SHARE),
        int(new.scaling.target_invocations_per_minute / 2 * fewest),
        int(tail.warm_up.deadline_seconds * at_once / max(seconds_a_load, 1e-3)),
    )
    listed = len(tail.warm_up.tenants)
    hottest = sorted(calls_per_day, key=lambda name: (-calls_per_day[name], name))
    best = tuple(hottest[: min(listed, most)])
    now = [name for name in tail.warm_up.tenants if name in calls_per_day]
    total = sum(calls_per_day.values()) or 1.0
    gain = _covered(best, calls_per_day) - _covered(now, calls_per_day)
    if not best or (listed <= most and gain / total < WARM_UP_BAND):
        return None
    return best


def _covered(names: Sequence[str], calls_per_day: Mapping[str, float]) -> float:
    return sum(calls_per_day[name] for name in names)


def _bounds(tier: MultiModelTier) -> str:
    return f"min {tier.instances.min}, max {tier.instances.max}, initial {tier.instances.initial}"


def _edit(where: str, before: object, after: object) -> Edit:
    return Edit(where, *("(none)" if value is None else str(value) for value in (before, after)))

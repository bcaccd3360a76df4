"""What a plan changes in the fleet file: sizes, dedicated tenants with their models, the warm-up list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tierfleet.config import FleetConfig, MultiModelTier
from tierfleet.config.rules.tier import MAX_WARM_UP_SHARE
from tierfleet.instance_types import InstanceType
from tierfleet.planning.plan_parts import Edit
from tierfleet.planning.request import ResolvedRequest
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, proposed_tail
from tierfleet.text import counted

# A warm-up list stays unless another one covers more of the calls by this share, 0 to 1.
WARM_UP_BAND: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class FleetChange:
    """The values that a plan gives the fleet file."""

    instance_type: InstanceType
    """Of the default tier."""
    instances: int
    """The default tier's lower bound."""
    models_per_instance: int | None
    """Of the default tier; None: stays, as for an instance type whose capacity was measured."""
    dedicated: frozenset[str]
    warm_up: tuple[str, ...] | None
    """Tenants of the default tier's warm-up list, most calls first; None: stays."""
    pins: Mapping[str, str]
    """Model keys of promoted tenants, by tenant."""

    def promoted(self, config: FleetConfig) -> list[str]:
        """Tenants that get a dedicated endpoint."""
        return sorted(self.dedicated - dedicated_tenants(config).keys())

    def demoted(self, config: FleetConfig) -> list[str]:
        """Tenants that lose theirs."""
        return sorted(dedicated_tenants(config).keys() - self.dedicated)


def fleet_change(resolved: ResolvedRequest, model: FleetModel, chosen: FleetOption) -> FleetChange:
    """The change that makes the fleet file describe the chosen fleet. A measured capacity of the same type stays."""
    config = resolved.request.config
    tail = config.multi_model_tiers[config.default_tier]
    measured = (
        tail.instance_type == chosen.instance_type.name
        and tail.models_per_instance is not None
        and resolved.container_change is None
    )
    each = tail.models_per_instance if measured and tail.models_per_instance else chosen.models_per_instance
    workload = model.tail(frozenset(chosen.dedicated)).workload
    size = float(workload.model_mb.mean()) if len(workload.tenants) else 1.0
    profile = model.profile
    seconds = profile.load_seconds(size) + profile.extract_seconds(size)
    seconds += profile.artefact_mb(size) / resolved.request.network.s3_megabytes_per_second
    warm_up = warm_up_list(
        tail,
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=each,
        calls_per_day=dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True)),
        seconds_per_load=seconds,
    )
    return FleetChange(
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=None if measured else chosen.models_per_instance,
        dedicated=frozenset(chosen.dedicated),
        warm_up=warm_up,
        pins={},
    )


def edits(config: FleetConfig, change: FleetChange) -> tuple[Edit, ...]:
    """The changed values of the fleet file, in words; empty if it stays as it is."""
    name = config.default_tier
    tail = config.multi_model_tiers[name]
    new = proposed_tail(tail, change.instance_type, change.instances)
    all_edits = [
        _edit(f"[tiers.{name}] instance_type", tail.instance_type, new.instance_type),
        _edit(f"[tiers.{name}] instances", _bounds(tail), _bounds(new)),
        _edit(
            f"[tiers.{name}] scaling.max_requests_per_second",
            tail.scaling.max_requests_per_second,
            new.scaling.max_requests_per_second,
        ),
        _edit(f"[tiers.{name}] volume_size_in_gb", tail.volume_size_in_gb, new.volume_size_in_gb),
    ]
    if change.models_per_instance is not None:
        where = f"[tiers.{name}] models_per_instance"
        all_edits.append(_edit(where, tail.models_per_instance, change.models_per_instance))
    if change.warm_up is not None and tail.warm_up is not None:
        before, after = tail.warm_up.tenants, change.warm_up
        removed, added = set(before) - set(after), set(after) - set(before)
        new_text = f"{counted(len(after), 'tenant')}, {len(added)} of them new, {len(removed)} removed, hottest first"
        all_edits.append(_edit(f"[tiers.{name}.warm_up] tenants", counted(len(before), "tenant"), new_text))
    joins, today = dedicated_tier_name(config), dedicated_tenants(config)
    for tenant in change.promoted(config):
        all_edits.append(
            Edit(f"[tiers.{joins}.tenants] {tenant}", "(not there)", change.pins.get(tenant, "(to be pinned)"))
        )
    for tenant in change.demoted(config):
        all_edits.append(Edit(f"[tiers.{today[tenant]}.tenants] {tenant}", "dedicated", "(deleted)"))
    return tuple(edit for edit in all_edits if edit.before != edit.after)


def warm_up_list(
    tail: MultiModelTier,
    *,
    instance_type: InstanceType,
    instances: int,
    models_per_instance: int,
    calls_per_day: Mapping[str, float],
    seconds_per_load: float,
) -> tuple[str, ...] | None:
    """The tenants to warm, most calls first: as many as today, as far as memory, deadline and scaling target allow.

    calls_per_day: of the tenants on the tier. None if the tier has no warm-up, or if its list covers nearly as many
    calls as a better one would.
    """
    if tail.warm_up is None:
        return None
    new = proposed_tail(tail, instance_type, instances)
    min_instances = new.fewest_instances
    at_once = tail.warm_up.concurrency or instance_type.vcpus * new.instances.initial
    # More than the memory holds, and the last loads evict the first ones; faster than half the scaling target, and the
    # probes add instances; longer than the deadline, and the hottest tenants, which come last, are left.
    limit = min(
        int(models_per_instance * min_instances * MAX_WARM_UP_SHARE),
        int(new.scaling.target_invocations_per_minute / 2 * min_instances),
        int(tail.warm_up.deadline_seconds * at_once / max(seconds_per_load, 1e-3)),
    )
    listed = len(tail.warm_up.tenants)
    hottest = sorted(calls_per_day, key=lambda name: (-calls_per_day[name], name))
    best = tuple(hottest[: min(listed, limit)])
    today = [name for name in tail.warm_up.tenants if name in calls_per_day]
    total = sum(calls_per_day.values()) or 1.0
    gain = _covered(best, calls_per_day) - _covered(today, calls_per_day)
    if not best or (listed <= limit and gain / total < WARM_UP_BAND):
        return None
    return best


def _covered(names: Sequence[str], calls_per_day: Mapping[str, float]) -> float:
    return sum(calls_per_day[name] for name in names)


def _bounds(tier: MultiModelTier) -> str:
    return f"min {tier.instances.min}, max {tier.instances.max}, initial {tier.instances.initial}"


def _edit(where: str, before: object, after: object) -> Edit:
    return Edit(where, *("(none)" if value is None else str(value) for value in (before, after)))

"""The parts of a plan that only tell what was found: who, from where, how often, for how much."""

from collections.abc import Mapping

import numpy as np

from tierfleet.config import FleetConfig
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.planning.change import Target, warm_up_list
from tierfleet.planning.request import Question, other_container
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.plan import Decision, FleetOption, Move
from tierfleet.planning.search.proposed import dedicated_tenants
from tierfleet.planning.search.tiering import TenantTier
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import dollars

# How many of those that share an endpoint are told about.
_NEARLY_DEDICATED = 3
_DAYS_PER_MONTH = 730 / 24


def target_of(question: Question, model: FleetModel, chosen: FleetOption) -> Target:
    """What the fleet file is to say. A capacity that was measured for the type stays."""
    config = question.config
    tail = config.multi_model_tiers[config.default_tier]
    measured = (
        tail.instance_type == chosen.instance_type
        and tail.models_per_instance is not None
        and other_container(config, model.profile) is None
    )
    each = tail.models_per_instance if measured and tail.models_per_instance else chosen.models_per_instance
    workload = model.tail(frozenset(chosen.dedicated)).workload
    size = float(workload.model_mb.mean()) if len(workload.tenants) else 1.0
    profile = model.profile
    seconds = profile.load_seconds(size) + profile.extract_seconds(size)
    seconds += profile.artefact_mb(size) / question.network.s3_megabytes_per_second
    warm_up = warm_up_list(
        tail,
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=each,
        calls_per_day=dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True)),
        seconds_a_load=seconds,
    )
    return Target(
        instance_type=chosen.instance_type,
        instances=chosen.instances,
        models_per_instance=None if measured else chosen.models_per_instance,
        dedicated=frozenset(chosen.dedicated),
        warm_up=warm_up,
        pins={},
    )


def decisions(
    workload: Workload,
    assigned: Mapping[str, TenantTier],
    dedicated: frozenset[str],
    cost: FleetCost,
    joins: str,
    tail_name: str,
) -> tuple[Decision, ...]:
    """Everybody with an endpoint, then the biggest of the others; by calls."""
    places = {tenant: (tier, usd) for (tier, tenant), usd in cost.by_place().items() if tenant}
    calls = dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True))
    # Of equals the last one first: it was judged against the others.
    by_calls = sorted(workload.tenants, key=lambda name: calls[name])[::-1]
    shared = [name for name in by_calls if name not in dedicated][:_NEARLY_DEDICATED]
    found = []
    for name in [*(name for name in by_calls if name in dedicated), *shared]:
        tier, usd = places.get(name, (tail_name, None))
        reason = assigned[name].reason
        if usd is not None and calls[name]:
            reason += f"; {dollars(usd)} a month, {dollars(usd / calls[name] / _DAYS_PER_MONTH * 1e6)} a million calls"
        found.append(Decision(name, tier or joins, assigned[name].share, calls[name], reason, usd))
    return tuple(found)


def moves(
    config: FleetConfig, assigned: Mapping[str, TenantTier], dedicated: frozenset[str], joins: str
) -> tuple[Move, ...]:
    """Promotions, then demotions, by name."""
    now = dedicated_tenants(config)
    promoted = [
        Move(name, config.default_tier, joins, assigned[name].reason) for name in sorted(dedicated - now.keys())
    ]
    demoted = [
        Move(name, now[name], config.default_tier, assigned[name].reason) for name in sorted(now.keys() - dedicated)
    ]
    return (*promoted, *demoted)


def hours_by_tier(
    workload: Workload, dedicated: frozenset[str], tail_name: str, joins: str
) -> dict[str, tuple[float, ...]]:
    """Mean calls a second in each hour of a day, UTC."""
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    found = {}
    for name, chosen in ((tail_name, ~own), (joins, own)):
        if chosen.any():
            day = workload.calls_by_hour[chosen].sum(axis=0).reshape(7, 24).mean(axis=0) / 3600
            found[name] = tuple(day.tolist())
    return found


def cost_by_tier(cost: FleetCost) -> dict[str, float]:
    """US dollars a month, endpoints of a tier together."""
    found: dict[str, float] = {}
    for (tier, _), usd in cost.by_place().items():
        found[tier or "whole fleet"] = found.get(tier or "whole fleet", 0.0) + usd
    return found

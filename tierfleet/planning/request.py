"""A plan request: its inputs, checked and translated into the planner's terms.

resolved = resolve(PlanRequest(config=config, workload=workload, ...))
resolved.tiering, resolved.bounds, resolved.models
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

import numpy as np

from tierfleet import images
from tierfleet.config import FleetConfig
from tierfleet.cost.prices import PriceTable
from tierfleet.cost.usage import Usage
from tierfleet.errors import InputError
from tierfleet.instance_types import InstanceType
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.call_times import container_p99
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.dedicated_limits import too_big
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.proposed import (
    dedicated_tenants,
    dedicated_tier_name,
    new_dedicated_tier,
    tenants_on_other_tiers,
)
from tierfleet.planning.search.requirements import Requirements, requirements_text
from tierfleet.planning.search.search import Bounds, Tiering
from tierfleet.planning.search.tail_cache import TailCache
from tierfleet.planning.search.tiering import TieringRules, assign_tiers
from tierfleet.planning.traffic.workload import Workload
from tierfleet.runtime.names import WORD_PATTERN
from tierfleet.text import counted

_PROFILE_OF_IMAGE: Final = {"sagemaker-xgboost": "stock", images.TIERFLEET_IMAGE: "tierfleet"}


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """The inputs of a plan."""

    config: FleetConfig
    workload: Workload
    source: str
    """Where the traffic comes from, for the reader."""
    days: float | None
    """Length of the trace; None for rates."""
    period: tuple[datetime, datetime] | None = None
    """First and last request of the trace, UTC, also where the workload is a forecast; None for rates."""
    requirements: Requirements
    prices: PriceTable
    profiles: Mapping[str, Profile]
    profile: str
    """The container to plan for, one of `profiles`."""
    network: Network = field(default_factory=Network)
    rules: TieringRules = field(default_factory=TieringRules)
    keep: frozenset[str] = frozenset()
    """Tenants that stay on their tier."""
    min_instances: int | None = None
    """Of the shared tier; None: 2, or 1 if the file has 1 today."""
    max_instances: int = 20
    """Of the shared tier."""
    size_band: float = 0.05
    """Today's type and count stay while they cost no more than (1 + size_band) of the cheapest."""
    published: Mapping[int, float | None] = field(default_factory=dict)
    """Published hit ratios, 0 to 1, by number of models; None: only compute the ratio."""
    published_usd: float | None = None
    notices: tuple[str, ...] = ()
    """What the reader of the plan must know about the inputs."""
    planned_on: date | None = None


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest:
    """A request that was checked, and what follows from it."""

    request: PlanRequest
    """With only the tenants that may be planned."""
    tiering: Tiering
    bounds: Bounds
    without_price: tuple[InstanceType, ...]
    """Types that the fleet may use and the price table does not know."""
    models: Mapping[str, FleetModel]
    """By container, the planned one first. They share the passes over the trace."""
    own_model: FleetModel
    """Of the file's own container; of the planned one if the own has no profile."""
    requirements_text: str
    container_change: str | None
    """Why the fleet file needs another container first; None if it does not."""
    joins: str
    """The dedicated tier that promoted tenants join."""
    notices: tuple[str, ...]


def own_profile(config: FleetConfig) -> str | None:
    """The profile of the file's container; None for an image that has none."""
    return _PROFILE_OF_IMAGE.get(config.container.image)


def profile_name(config: FleetConfig, profiles: Mapping[str, Profile], wanted: str | None) -> str:
    """The wanted profile, or that of the fleet's container. Raises InputError."""
    name = wanted or own_profile(config)
    if name is None:
        raise InputError(
            f"the container {config.container.image} has no profile: give --profile with one of "
            f"{', '.join(profiles)}, or measure yours (tierfleet plan calibrate)"
        )
    if name not in profiles:
        raise InputError(f"{name!r} is no profile; there are {', '.join(profiles)}")
    return name


def other_container(config: FleetConfig, profile: Profile) -> str | None:
    """Why sizes planned with this profile do not fit the file's container; None if they do."""
    own = own_profile(config)
    if profile.prototype:
        return f"profile {profile.name} is a prototype that nothing ships"
    if own is not None and profile.name != own and profile.name in _PROFILE_OF_IMAGE.values():
        return f"profile {profile.name} is not that of the file's container, {config.container.image}"
    return None


def resolve(request: PlanRequest) -> ResolvedRequest:
    """Check a request. Raises InputError.

    The workload keeps the tenants that may be planned: those on the default tier and on the dedicated tiers.
    """
    config, notices = request.config, []
    if request.min_instances is not None and request.min_instances > request.max_instances:
        raise InputError(
            f"--min-instances is {request.min_instances} and --max-instances {request.max_instances}: give a minimum "
            "up to the maximum"
        )
    notices += [notice for notice in (_other_fleet(config, request.workload), _no_tenants(request.workload)) if notice]
    workload, elsewhere = _without_further_tiers(config, request.workload)
    notices += elsewhere
    if not len(workload.tenants) or not workload.calls_per_day.any():
        raise InputError(f"{request.source} has no call of a tenant that may be planned")
    today = frozenset(dedicated_tenants(config))
    _check_tenants(request, frozenset(workload.tenants), today)
    without_traffic = today - frozenset(workload.tenants)
    if without_traffic:
        names = ", ".join(sorted(without_traffic))
        notices.append(f"dedicated and without a call in the traffic: {names}; they stay dedicated")
    rules = request.rules
    if config.dedicated_tiers and math.isinf(rules.filling_per_second):
        tier = config.dedicated_tiers[dedicated_tier_name(config)]
        filling = tier.instances.min * tier.scaling.target_invocations_per_minute / 60
        rules = replace(rules, filling_per_second=filling)
    tiering = Tiering(
        assigned=assign_tiers(
            workload.tenants,
            workload.calls_per_day_now,
            workload.peak_per_second,
            rules,
            dedicated_today=today,
            keep=request.keep,
            too_big=too_big(config, workload, request.profiles[request.profile], new_dedicated_tier(1.0)),
            promised_p99_seconds=request.requirements.dedicated_p99_seconds,
        ),
        dedicated_today=today,
        keep=request.keep,
        dedicated_without_traffic=without_traffic,
        band=rules.band,
    )
    types, without_price = candidate_types(config, request.prices)
    if not types:
        raise InputError(
            f"the price table knows no instance type of {config.region} that the fleet may use; run tierfleet prices "
            f"refresh --region {config.region}, or plan as elsewhere: --region {request.prices.another_region}"
        )
    # Two instances are in two availability zones. A file with one has chosen to do without.
    min_instances = request.min_instances or min(2, config.multi_model_tiers[config.default_tier].instances.min)
    request = replace(request, workload=workload, rules=rules, min_instances=min_instances)
    models = _fleet_models(request)
    planned = request.profiles[request.profile]
    return ResolvedRequest(
        request=request,
        tiering=tiering,
        bounds=Bounds(types=types, min_instances=min_instances, max_instances=request.max_instances),
        without_price=without_price,
        models=models,
        own_model=models.get(own_profile(config) or request.profile, models[request.profile]),
        requirements_text=requirements_text(request.requirements),
        container_change=other_container(config, planned),
        joins=dedicated_tier_name(config),
        notices=tuple(notices),
    )


def _fleet_models(request: PlanRequest) -> dict[str, FleetModel]:
    tails: dict[frozenset[str], TailCache] = {}
    models = {}
    workload = request.workload
    for name, profile in sorted(request.profiles.items(), key=lambda item: (item[0] != request.profile, item[0])):
        packed = float(np.mean([profile.artefact_mb(float(size)) for size in np.unique(workload.model_mb)]))
        usage = Usage(traffic=workload.traffic(), artefact_megabytes=packed)
        p99 = container_p99(profile, workload.model_mb, workload.calls_per_day)
        promised = min(request.requirements.tenant_p99_seconds.values(), default=2 * p99)
        new_tier = None if request.config.dedicated_tiers else new_dedicated_tier(math.ceil(promised * 1000))
        prices = OptionPrices(request.config, request.prices, usage, new_tier)
        models[name] = FleetModel(
            request.config, workload, profile, prices, request.requirements, request.network, tails
        )
    return models


def _other_fleet(config: FleetConfig, workload: Workload) -> str | None:
    """A notice if the traffic names no tenant of the fleet file."""
    named = {tenant for tier in config.tiers.values() for tenant in tier.tenants}
    named |= {tenant for tier in config.multi_model_tiers.values() if tier.warm_up for tenant in tier.warm_up.tenants}
    if not named or not named.isdisjoint(workload.tenants):
        return None
    return (
        f"none of the {len(named):,} tenants that the fleet file names ({min(named)}, ...) is in the traffic, "
        f"which has {workload.tenants[0]}, ...: is it this fleet's, and the tenant column the right one?"
    )


def _no_tenants(workload: Workload) -> str | None:
    """A notice if the traffic has names that no tenant can have."""
    wrong = [name for name in workload.tenants if not re.fullmatch(WORD_PATTERN, name)]
    if not wrong:
        return None
    return (
        f"{len(wrong):,} of {counted(len(workload.tenants), 'name')} in the traffic cannot be tenants of a fleet, such "
        f"as {wrong[0]!r} (allowed: {WORD_PATTERN}): is the tenant column the right one?"
    )


def _without_further_tiers(config: FleetConfig, workload: Workload) -> tuple[Workload, list[str]]:
    """The workload without tenants of tiers that are neither the default one nor dedicated, and a notice about them."""
    elsewhere = tenants_on_other_tiers(config)
    if elsewhere.keys().isdisjoint(workload.tenants):
        return workload, []
    names = ", ".join(sorted(set(elsewhere.values())))
    kept = workload.only(np.array([name not in elsewhere for name in workload.tenants], np.bool_))
    return kept, [f"the further tiers ({names}) and their tenants stay as they are"]


def _check_tenants(request: PlanRequest, in_traffic: frozenset[str], dedicated_today: frozenset[str]) -> None:
    mistakes = []
    if unknown := sorted(request.keep - in_traffic - dedicated_today):
        mistakes.append(f"--keep {', '.join(unknown)}: no such tenant in the traffic or in the fleet file")
    if unknown := sorted(request.requirements.tenant_p99_seconds.keys() - in_traffic):
        mistakes.append(f"--tenant-p99 {', '.join(unknown)}: no such tenant in the traffic")
    if mistakes:
        raise InputError("; ".join(mistakes))

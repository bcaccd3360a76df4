"""What a plan is made from, checked and put into the planner's terms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tierfleet import images
from tierfleet.config import FleetConfig
from tierfleet.cost.prices import PriceTable
from tierfleet.errors import InputError
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile import Profile
from tierfleet.planning.search.dedicated_limits import too_big
from tierfleet.planning.search.proposed import dedicated_tenants, dedicated_tier_name, new_dedicated_tier
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.search import Tiering
from tierfleet.planning.search.tiering import TieringRules, assign_tiers
from tierfleet.planning.traffic.workload import Workload

_PROFILE_OF_IMAGE: Final = {"sagemaker-xgboost": "stock", images.TIERFLEET_IMAGE: "tierfleet"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a plan is made from.

    source: of the traffic, for the reader. days: how long the trace is; None for rates. profile: the container to plan
    for. keep: tenants that stay where they are. least, most: instances of the shared tier; least None: 2, or 1 where
    the file has 1 today.
    size_band: today's type and count stay while they cost no more than (1 + size_band) of the cheapest.
    claims: published hit ratios by number of models; None as a ratio: only what is computed.
    """

    config: FleetConfig
    workload: Workload
    source: str
    days: float | None
    requirements: Requirements
    prices: PriceTable
    profiles: Mapping[str, Profile]
    profile: str
    network: Network = field(default_factory=Network)
    rules: TieringRules = field(default_factory=TieringRules)
    keep: frozenset[str] = frozenset()
    least: int | None = None
    most: int = 20
    size_band: float = 0.05
    claims: Mapping[int, float | None] = field(default_factory=dict)
    claimed_usd: float | None = None
    notices: tuple[str, ...] = ()


def own_profile(config: FleetConfig) -> str | None:
    """The profile of the file's container; None for an image of which nobody knows."""
    return _PROFILE_OF_IMAGE.get(config.container.image)


def profile_name(config: FleetConfig, profiles: Mapping[str, Profile], wanted: str | None) -> str:
    """The profile of the fleet's container, or the one that is wanted. Raises InputError."""
    name = wanted or own_profile(config)
    if name is None:
        raise InputError(
            f"nobody has measured the container {config.container.image}: give --profile with one of "
            f"{', '.join(profiles)}, or measure yours (tierfleet plan calibrate)"
        )
    if name not in profiles:
        raise InputError(f"{name!r} is no profile; there are {', '.join(profiles)}")
    return name


def other_container(config: FleetConfig, profile: Profile) -> str | None:
    """Why sizes planned with this profile do not belong into the file as it is; None if they do."""
    own = own_profile(config)
    if profile.prototype:
        return f"profile {profile.name} is a prototype that nothing ships"
    if own is not None and profile.name != own and profile.name in _PROFILE_OF_IMAGE.values():
        return f"profile {profile.name} is not that of the file's container, {config.container.image}"
    return None


def prepared(question: Question) -> tuple[Question, Tiering, list[str]]:
    """The question about those tenants that may move, the tier of each by traffic, and what was left aside."""
    config, workload, notices = question.config, question.workload, []
    if question.least is not None and question.least > question.most:
        raise InputError(
            f"--least-instances is {question.least} and --most-instances {question.most}: no count is between them"
        )
    named = {tenant for tier in config.tiers.values() for tenant in tier.tenants}
    named |= {tenant for tier in config.multi_model_tiers.values() if tier.warm_up for tenant in tier.warm_up.tenants}
    if named and named.isdisjoint(workload.tenants):
        notices.append(
            f"none of the {len(named):,} tenants that the fleet file names ({min(named)}, ...) is in the traffic, "
            f"which has {workload.tenants[0]}, ...: is it this fleet's, and the tenant column the right one?"
        )
    elsewhere = {tenant for tier in config.multi_model_tiers.values() for tenant in tier.tenants}
    if elsewhere & set(workload.tenants):
        workload = workload.only(np.array([name not in elsewhere for name in workload.tenants], np.bool_))
        names = ", ".join(name for name in config.multi_model_tiers if name != config.default_tier)
        notices.append(f"the further shared tiers ({names}) and their tenants stay as they are")
    if not len(workload.tenants) or not workload.calls_per_day.any():
        raise InputError(f"{question.source} has no call of a tenant that may be planned")
    now = frozenset(dedicated_tenants(config))
    anyway = now - frozenset(workload.tenants)
    if anyway:
        names = ", ".join(sorted(anyway))
        notices.append(f"dedicated and without a call in the traffic: {names}; left where they are")
    if unknown := sorted(question.keep - frozenset(workload.tenants) - now):
        raise InputError(f"--keep {', '.join(unknown)}: no such tenant in the traffic or in the fleet file")
    if unknown := sorted(question.requirements.tenant_p99_seconds.keys() - frozenset(workload.tenants)):
        raise InputError(f"a p99 is required of {', '.join(unknown)}, who is not in the traffic")
    rules = question.rules
    if config.dedicated_tiers and math.isinf(rules.filling_per_second):
        tier = config.dedicated_tiers[dedicated_tier_name(config)]
        filling = tier.instances.min * tier.scaling.target_invocations_per_minute / 60
        rules = replace(rules, filling_per_second=filling)
    assigned = assign_tiers(
        workload.tenants,
        workload.calls_per_day,
        workload.peak_per_second,
        rules,
        dedicated_now=now,
        keep=question.keep,
        too_big=too_big(config, workload, question.profiles[question.profile], new_dedicated_tier(1.0)),
        promised_p99_seconds=question.requirements.whale_p99_seconds,
    )
    tiering = Tiering(assigned=assigned, now=now, keep=question.keep, anyway=anyway, band=rules.band)
    least = question.least or min(2, config.multi_model_tiers[config.default_tier].instances.min)
    return replace(question, workload=workload, rules=rules, least=least), tiering, notices

"""From traffic, a fleet file and requirements to a plan."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tierfleet import images
from tierfleet.config import FleetConfig
from tierfleet.planning import plan_notes
from tierfleet.planning.call_times import container_p99
from tierfleet.planning.claims import claims, curve_points
from tierfleet.planning.cost import FleetCost
from tierfleet.planning.errors import PlanningInputError
from tierfleet.planning.fleet_model import FleetModel
from tierfleet.planning.latency import Network
from tierfleet.planning.option_prices import OptionPrices
from tierfleet.planning.plan import Comparison, Decision, FleetOption, Move, Plan, QuotaNeed
from tierfleet.planning.prices import PriceTable
from tierfleet.planning.profiles import Profile
from tierfleet.planning.proposed import dedicated_tenants, dedicated_tier_name, new_dedicated_tier, proposed_config
from tierfleet.planning.requirements import Requirements, requirements_text
from tierfleet.planning.search import (
    Bounds,
    Found,
    Tiering,
    candidate_types,
    compared,
    search,
    tiering_alternatives,
    why_it_lost,
)
from tierfleet.planning.sensitivity import sensitivity
from tierfleet.planning.tail_cache import TailCache
from tierfleet.planning.target import Target, edits, warm_up_list
from tierfleet.planning.tiering import TenantTier, TieringRules, assign_tiers
from tierfleet.planning.usage import Usage
from tierfleet.planning.wording import dollars
from tierfleet.planning.workload import Workload
from tierfleet.quotas import quotas

_PROFILE_OF_IMAGE: Final = {"sagemaker-xgboost": "stock", images.TIERFLEET_IMAGE: "tierfleet"}
_NEARLY_DEDICATED: Final = 3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a plan is made from.

    source: of the traffic, for the reader. days: how long the trace is; None for rates. profile: the container to plan
    for. keep: tenants that stay where they are. least, most: instances of the shared tier.
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
    least: int = 2
    most: int = 20
    size_band: float = 0.05
    claims: Mapping[int, float | None] = field(default_factory=dict)
    claimed_usd: float | None = None
    notices: tuple[str, ...] = ()


def profile_name(config: FleetConfig, profiles: Mapping[str, Profile], wanted: str | None) -> str:
    """The profile of the fleet's container, or the one that is wanted. Raises PlanningInputError."""
    name = wanted or _PROFILE_OF_IMAGE.get(config.container.image)
    if name is None:
        raise PlanningInputError(
            f"nobody has measured the container {config.container.image}: give --profile with one of "
            f"{', '.join(profiles)}, or measure yours (tierfleet plan calibrate)"
        )
    if name not in profiles:
        raise PlanningInputError(f"{name!r} is no profile; there are {', '.join(profiles)}")
    return name


def make_plan(question: Question, progress: Progress | None = None) -> tuple[Plan, Target | None]:
    """The plan, and what the fleet file is to say for it; None if nothing meets the requirements.

    Raises PlanningInputError.
    """
    question, tiering, notices = _prepared(question)
    config, workload = question.config, question.workload
    types, without_price = candidate_types(config, question.prices)
    bounds = Bounds(types=types, least=question.least, most=question.most)
    if not types:
        raise PlanningInputError(
            f"the price table knows no instance type of {config.region} that the fleet may use; run tierfleet prices "
            f"refresh --region {config.region}"
        )
    models = _models(question)
    found: dict[str, Found] = {}
    for name, model in models.items():
        found[name] = _searched(name, model, tiering, bounds, progress)
    model, own = models[question.profile], found[question.profile]
    today = model.judged(model.option(*_size_today(config), tiering.now))
    chosen, kept = _chosen(question, model, tiering, own)
    shown = chosen or own.nearest or today
    dedicated = frozenset(shown.dedicated)
    assigned = {tier.tenant: tier for tier in tiering.beside(model, shown.instance_type, shown.instances)}
    target = None if chosen is None else _target(question, model, chosen)
    if progress is not None:
        progress("bounds and sensitivity", 0, 1)
    cost = model.prices.cost(shown.instance_type, shown.instances, dedicated, shown.cold_share)
    tail = model.tail(dedicated).workload
    joins = dedicated_tier_name(config)
    proposed = proposed_config(
        config,
        instance_type=shown.instance_type,
        instances=shown.instances,
        dedicated=dedicated,
        new_tier=model.prices.new_tier,
    )
    runner_up = _runner_up(own, chosen)
    plan = Plan(
        fleet=f"{config.fleet}-{config.environment}",
        region=config.region,
        source=question.source,
        container=f"{config.container.image} {config.container.version or ''}".strip(),
        requirements=requirements_text(question.requirements),
        tenants=len(workload.tenants),
        tail_tenants=len(tail.tenants),
        calls_per_day=float(workload.calls_per_day.sum()),
        days=question.days,
        calls_per_session=workload.rates.sessions.calls,
        mean_gap_seconds=workload.rates.sessions.mean_gap_seconds,
        model_megabytes=(float(workload.model_mb.min()), float(workload.model_mb.max())),
        today=today,
        chosen=chosen,
        nearest=own.nearest,
        runner_up=runner_up,
        why_runner_up_lost=None if chosen is None or runner_up is None else why_it_lost(chosen, runner_up),
        cheaper=own.cheaper,
        kept_as_today=kept,
        options_possible=own.possible,
        options=own.options,
        front=own.front,
        fronts={name: each.front for name, each in found.items()},
        containers=tuple(compared(name, question.profiles[name].title, each) for name, each in found.items()),
        tierings=_tierings(model, tiering, bounds, chosen),
        tiering_rule=str(question.rules),
        decisions=_decisions(workload, assigned, dedicated, cost, joins, config.default_tier),
        moves=_moves(config, assigned, dedicated, joins),
        edits=() if target is None else edits(config, target),
        latencies=model.latencies(shown, joins),
        sensitivity=sensitivity(model, shown),
        quotas=tuple(
            QuotaNeed(quota.name, quota.while_updating, quota.default)
            for quota in quotas(proposed)
            if quota.request_increase
        ),
        curve=curve_points(tail),
        claims=claims(
            tail,
            question.claims,
            list(question.profiles.values()),
            question.prices,
            config.region,
            types,
            question.least,
        ),
        claimed_usd=question.claimed_usd,
        hours_by_tier=_hours(workload, dedicated, config.default_tier, joins),
        cost_by_tier=_by_tier(cost),
        notices=(*question.notices, *notices, *plan_notes.notices(config, model, shown, without_price)),
        assumptions=plan_notes.assumptions(
            question.profiles[question.profile], question.network, workload, cost, config
        ),
        prices_of=plan_notes.price_sources(cost),
    )
    if progress is not None:
        progress("bounds and sensitivity", 1, 1)
    return plan, target


def _prepared(question: Question) -> tuple[Question, Tiering, list[str]]:
    """The question about those tenants that may move, the tier of each by traffic, and what was left aside."""
    config, workload, notices = question.config, question.workload, []
    elsewhere = {tenant for tier in config.multi_model_tiers.values() for tenant in tier.tenants}
    if elsewhere & set(workload.tenants):
        workload = workload.only(np.array([name not in elsewhere for name in workload.tenants], np.bool_))
        names = ", ".join(name for name in config.multi_model_tiers if name != config.default_tier)
        notices.append(f"the further shared tiers ({names}) and their tenants stay as they are")
    if not len(workload.tenants) or not workload.calls_per_day.any():
        raise PlanningInputError(f"{question.source} has no call of a tenant that may be planned")
    now = frozenset(dedicated_tenants(config))
    anyway = now - frozenset(workload.tenants)
    if anyway:
        names = ", ".join(sorted(anyway))
        notices.append(f"dedicated and without a call in the traffic: {names}; left where they are")
    if unknown := sorted(question.keep - frozenset(workload.tenants) - now):
        raise PlanningInputError(f"--keep {', '.join(unknown)}: no such tenant in the traffic or in the fleet file")
    if unknown := sorted(question.requirements.tenant_p99_seconds.keys() - frozenset(workload.tenants)):
        raise PlanningInputError(f"a p99 is required of {', '.join(unknown)}, who is not in the traffic")
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
        promised_p99_seconds=question.requirements.whale_p99_seconds,
    )
    tiering = Tiering(assigned=assigned, now=now, keep=question.keep, anyway=anyway, band=rules.band)
    return replace(question, workload=workload, rules=rules), tiering, notices


def _models(question: Question) -> dict[str, FleetModel]:
    """One for each container; those that are no prototype first. They share the passes over the trace."""
    tails: dict[frozenset[str], TailCache] = {}
    found = {}
    workload = question.workload
    for name, profile in sorted(question.profiles.items(), key=lambda item: (item[0] != question.profile, item[0])):
        packed = float(np.mean([profile.artefact_mb(float(size)) for size in np.unique(workload.model_mb)]))
        usage = Usage(traffic=workload.traffic(), artefact_megabytes=packed)
        p99 = container_p99(profile, workload.model_mb, workload.calls_per_day)
        promised = min(question.requirements.tenant_p99_seconds.values(), default=2 * p99)
        new_tier = None if question.config.dedicated_tiers else new_dedicated_tier(math.ceil(promised * 1000))
        found[name] = FleetModel(
            question.config,
            workload,
            profile,
            OptionPrices(question.config, question.prices, usage, new_tier),
            question.requirements,
            question.network,
            tails,
        )
    return found


def _searched(name: str, model: FleetModel, tiering: Tiering, bounds: Bounds, progress: Progress | None) -> Found:
    if progress is None:
        return search(model, tiering, bounds)
    done, most = 0, 0

    def total(count: int) -> None:
        nonlocal most
        most = count

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(f"container {name}", done, most)

    return search(model, tiering, bounds, total=total, step=step)


def _size_today(config: FleetConfig) -> tuple[str, int]:
    tail = config.multi_model_tiers[config.default_tier]
    return tail.instance_type, tail.instances.min


def _chosen(question: Question, model: FleetModel, tiering: Tiering, found: Found) -> tuple[FleetOption | None, bool]:
    """The cheapest, or today's sizes if they are good enough; and whether those were kept."""
    if found.best is None:
        return None, False
    instance_type, instances = _size_today(question.config)
    if (found.best.instance_type, found.best.instances) == (instance_type, instances):
        return found.best, True
    assigned = tiering.beside(model, instance_type, instances)
    dedicated = frozenset(tier.tenant for tier in assigned if tier.dedicated) | tiering.anyway
    if instances < question.least or not model.fits(instance_type, dedicated):
        return found.best, False
    same = model.judged(model.option(instance_type, instances, dedicated))
    if same.meets and same.usd <= found.best.usd * (1 + question.size_band):
        return same, True
    return found.best, False


def _runner_up(found: Found, chosen: FleetOption | None) -> FleetOption | None:
    """The next cheapest that meets everything; the cheapest itself where today's sizes were kept."""
    if chosen is None:
        return None
    others = [option for option in (found.best, found.runner_up) if option is not None]
    return next((option for option in others if option.name != chosen.name), None)


def _tierings(
    model: FleetModel, tiering: Tiering, bounds: Bounds, chosen: FleetOption | None
) -> tuple[Comparison, ...]:
    if chosen is None:
        return ()
    return tuple(tiering_alternatives(model, tiering, bounds, frozenset(chosen.dedicated)))


def _target(question: Question, model: FleetModel, chosen: FleetOption) -> Target:
    config = question.config
    tail = config.multi_model_tiers[config.default_tier]
    measured = tail.instance_type == chosen.instance_type and tail.models_per_instance is not None
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


def _decisions(
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
    by_calls = sorted(workload.tenants, key=lambda name: -calls[name])
    shared = [name for name in by_calls if name not in dedicated][:_NEARLY_DEDICATED]
    found = []
    for name in [*(name for name in by_calls if name in dedicated), *shared]:
        tier, usd = places.get(name, (tail_name, None))
        reason = assigned[name].reason
        if usd is not None and calls[name]:
            reason += f"; {dollars(usd)} a month, {dollars(usd / calls[name] / 30.4 * 1e6)} a million calls"
        found.append(Decision(name, tier or joins, assigned[name].share, calls[name], reason, usd))
    return tuple(found)


def _moves(
    config: FleetConfig, assigned: Mapping[str, TenantTier], dedicated: frozenset[str], joins: str
) -> tuple[Move, ...]:
    now = dedicated_tenants(config)
    promoted = [
        Move(name, config.default_tier, joins, assigned[name].reason) for name in sorted(dedicated - now.keys())
    ]
    demoted = [
        Move(name, now[name], config.default_tier, assigned[name].reason) for name in sorted(now.keys() - dedicated)
    ]
    return (*promoted, *demoted)


def _hours(workload: Workload, dedicated: frozenset[str], tail_name: str, joins: str) -> dict[str, tuple[float, ...]]:
    own = np.array([name in dedicated for name in workload.tenants], np.bool_)
    found = {}
    for name, chosen in ((tail_name, ~own), (joins, own)):
        if chosen.any():
            day = workload.calls_by_hour[chosen].sum(axis=0).reshape(7, 24).mean(axis=0) / 3600
            found[name] = tuple(day.tolist())
    return found


def _by_tier(cost: FleetCost) -> dict[str, float]:
    found: dict[str, float] = {}
    for (tier, _), usd in cost.by_place().items():
        found[tier or "whole fleet"] = found.get(tier or "whole fleet", 0.0) + usd
    return found

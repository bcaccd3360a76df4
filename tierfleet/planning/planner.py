"""From traffic, a fleet file and requirements to a plan."""

import math
from collections.abc import Callable

import numpy as np

from tierfleet.config import FleetConfig
from tierfleet.config.quotas import quotas
from tierfleet.cost.usage import Usage
from tierfleet.errors import InputError
from tierfleet.planning import plan_notes, plan_parts
from tierfleet.planning.change import Target, edits
from tierfleet.planning.published import claims, curve_points
from tierfleet.planning.request import Question, other_container, own_profile, prepared
from tierfleet.planning.search.alternatives import sensitivity
from tierfleet.planning.search.call_times import container_p99
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.comparisons import compared, tiering_alternatives, why_it_lost
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.plan import Comparison, FleetOption, Plan, QuotaNeed
from tierfleet.planning.search.proposed import dedicated_tier_name, new_dedicated_tier, proposed_config
from tierfleet.planning.search.requirements import requirements_text
from tierfleet.planning.search.search import Bounds, Found, Tiering, search
from tierfleet.planning.search.tail_cache import TailCache

# Told the kind of work, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def make_plan(question: Question, progress: Progress | None = None) -> tuple[Plan, Target | None]:
    """The plan, and what the fleet file is to say for it; None if nothing meets the requirements.

    Raises InputError.
    """
    question, tiering, notices = prepared(question)
    config, workload = question.config, question.workload
    types, without_price = candidate_types(config, question.prices)
    least = question.least or 1
    bounds = Bounds(types=types, least=least, most=question.most)
    if not types:
        raise InputError(
            f"the price table knows no instance type of {config.region} that the fleet may use; run tierfleet prices "
            f"refresh --region {config.region}, or plan as elsewhere: --region {question.prices.another_region}"
        )
    models = _models(question)
    found: dict[str, Found] = {}
    for name, model in models.items():
        found[name] = _searched(name, model, tiering, bounds, progress)
    model, own = models[question.profile], found[question.profile]
    as_it_is = models.get(own_profile(config) or question.profile, model)
    today = as_it_is.judged(as_it_is.option(*_size_today(config), tiering.now))
    chosen, kept = _chosen(question, model, tiering, own)
    shown = chosen or own.nearest or today
    dedicated = frozenset(shown.dedicated)
    assigned = {tier.tenant: tier for tier in tiering.beside(model, shown.instance_type, shown.instances)}
    target = None if chosen is None else plan_parts.target_of(question, model, chosen)
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
        container=_container(question),
        requirements=requirements_text(question.requirements),
        required_usd=question.requirements.usd,
        required_hit_ratio=question.requirements.min_hit_ratio,
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
        why_runner_up_lost=(
            None if chosen is None or runner_up is None else why_it_lost(chosen, runner_up, kept_as_today=kept)
        ),
        cheaper=own.cheaper,
        kept_as_today=kept,
        options_possible=own.possible,
        options=own.options,
        front=own.front,
        fronts={name: each.front for name, each in found.items()},
        containers=tuple(compared(name, question.profiles[name].title, each) for name, each in found.items()),
        tierings=_tierings(model, tiering, bounds, chosen),
        tiering_rule=str(question.rules),
        decisions=plan_parts.decisions(workload, assigned, dedicated, cost, joins, config.default_tier),
        moves=plan_parts.moves(config, assigned, dedicated, joins),
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
            least,
        ),
        claimed_usd=question.claimed_usd,
        hours_by_tier=plan_parts.hours_by_tier(workload, dedicated, config.default_tier, joins),
        cost_by_tier=plan_parts.cost_by_tier(cost),
        notices=(
            *question.notices,
            *notices,
            *_about_container(question),
            *plan_notes.notices(config, model, shown, without_price),
        ),
        assumptions=plan_notes.assumptions(
            question.profiles[question.profile], question.network, workload, cost, config
        ),
        prices_of=plan_notes.price_sources(cost),
    )
    if progress is not None:
        progress("bounds and sensitivity", 1, 1)
    return plan, target


def _container(question: Question) -> str:
    image = " ".join(part for part in (question.config.container.image, question.config.container.version) if part)
    planned = question.profiles[question.profile]
    return image if other_container(question.config, planned) is None else f"{image}, planned for {planned.name}"


def _about_container(question: Question) -> list[str]:
    why = other_container(question.config, question.profiles[question.profile])
    return [] if why is None else [f"{why}: change [container] before you change sizes"]


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
    if instances < (question.least or 1) or not model.fits(instance_type, dedicated):
        return found.best, False
    same = model.judged(model.option(instance_type, instances, dedicated))
    if same.meets:
        same = model.in_every_placement(same)
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

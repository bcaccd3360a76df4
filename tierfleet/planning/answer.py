"""The answer of a plan: which fleet, why not the next one, who moves, and what to ask AWS for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tierfleet.config import FleetConfig
from tierfleet.config.quotas import quotas
from tierfleet.cost.monthly_cost import FleetCost
from tierfleet.instance_types import InstanceType, describe
from tierfleet.planning.change import FleetChange, edits, fleet_change
from tierfleet.planning.plan import Answer
from tierfleet.planning.plan_parts import Decision, Move, QuotaNeed
from tierfleet.planning.request import PlanRequest, ResolvedRequest
from tierfleet.planning.search.alternatives import why_not_chosen
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.proposed import dedicated_tenants, proposed_config
from tierfleet.planning.search.search import SearchResult, Tiering
from tierfleet.planning.search.tiering import TenantTier
from tierfleet.planning.traffic.workload import Workload
from tierfleet.text import dollars

# How many of the biggest tenants on the shared tier get a decision.
_BIGGEST_SHARED = 3
# AWS's month of 730 hours.
_DAYS_PER_MONTH = 730 / 24


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen fleet, and what the other parts of a plan need to know about it."""

    model: FleetModel
    """Of the planned container."""
    result: SearchResult
    today: FleetOption
    chosen: FleetOption | None
    kept_as_today: bool
    shown: FleetOption
    """The fleet that the plan's figures are for: chosen, else nearest, else today's."""
    assigned: Mapping[str, TenantTier]
    """The tier of each tenant next to the shown fleet."""
    change: FleetChange | None
    """What the fleet file is to say; None if no fleet meets the requirements."""
    cost: FleetCost
    """Of the shown fleet."""
    dedicated: frozenset[str]
    """Dedicated tenants of the shown fleet."""
    tail: Workload
    """The workload of its shared tier."""


def choose(resolved: ResolvedRequest, results: Mapping[str, SearchResult]) -> Choice:
    """The best fleet of the planned container, or today's sizes if they are good enough."""
    request, tiering = resolved.request, resolved.tiering
    model, result, own = resolved.models[request.profile], results[request.profile], resolved.own_model
    today = own.evaluate(own.option(*_sizes_today(own), tiering.dedicated_today))
    chosen, kept = _chosen(request, model, tiering, result)
    shown = chosen or result.nearest or today
    dedicated = frozenset(shown.dedicated)
    return Choice(
        model=model,
        result=result,
        today=today,
        chosen=chosen,
        kept_as_today=kept,
        shown=shown,
        assigned={tier.tenant: tier for tier in tiering.for_size(model, shown.instance_type, shown.instances)},
        change=None if chosen is None else fleet_change(resolved, model, chosen),
        cost=model.prices.cost(shown.instance_type, shown.instances, dedicated, shown.cold_share),
        dedicated=dedicated,
        tail=model.tail(dedicated).workload,
    )


def answer(resolved: ResolvedRequest, choice: Choice) -> Answer:
    """The answer with its reasons."""
    config, model, shown = resolved.request.config, choice.model, choice.shown
    runner_up = _runner_up(choice)
    joins = resolved.joins
    proposed = proposed_config(
        config,
        instance_type=shown.instance_type,
        instances=shown.instances,
        dedicated=choice.dedicated,
        new_tier=model.prices.new_tier,
    )
    return Answer(
        today=choice.today,
        chosen=choice.chosen,
        nearest=choice.result.nearest,
        runner_up=runner_up,
        why_runner_up_lost=(
            None
            if choice.chosen is None or runner_up is None
            else why_not_chosen(choice.chosen, runner_up, kept_as_today=choice.kept_as_today)
        ),
        cheaper=choice.result.cheaper,
        kept_as_today=choice.kept_as_today,
        container_change=resolved.container_change,
        tiering_rule=str(resolved.request.rules),
        decisions=tuple(_decisions(choice, model.workload, joins, config.default_tier)),
        moves=tuple(_moves(config, choice, joins)),
        edits=() if choice.change is None else edits(config, choice.change),
        quotas=tuple(
            QuotaNeed(quota.name, quota.while_updating, quota.default)
            for quota in quotas(proposed)
            if quota.request_increase
        ),
    )


def _sizes_today(model: FleetModel) -> tuple[InstanceType, int]:
    tail = model.config.multi_model_tiers[model.config.default_tier]
    return describe(tail.instance_type), tail.instances.min


def _chosen(
    request: PlanRequest, model: FleetModel, tiering: Tiering, result: SearchResult
) -> tuple[FleetOption | None, bool]:
    """The best fleet, or today's sizes if they are good enough; and whether those are kept."""
    if result.best is None:
        return None, False
    instance_type, instances = _sizes_today(model)
    if (result.best.instance_type, result.best.instances) == (instance_type, instances):
        return result.best, True
    dedicated = tiering.dedicated_for_size(model, instance_type, instances)
    if instances < (request.min_instances or 1) or not model.fits(instance_type, dedicated):
        return result.best, False
    same = model.evaluate(model.option(instance_type, instances, dedicated))
    if same.meets:
        same = model.in_every_placement(same)
    if same.meets and same.usd <= result.best.usd * (1 + request.size_band):
        return same, True
    return result.best, False


def _runner_up(choice: Choice) -> FleetOption | None:
    """The next cheapest that meets the requirements; the cheapest itself where today's sizes are kept."""
    if choice.chosen is None:
        return None
    others = [option for option in (choice.result.best, choice.result.runner_up) if option is not None]
    return next((option for option in others if option.name != choice.chosen.name), None)


def _decisions(choice: Choice, workload: Workload, joins: str, tail_name: str) -> Iterator[Decision]:
    """All dedicated tenants, then the biggest of the others; by calls."""
    places = {tenant: (tier, usd) for (tier, tenant), usd in choice.cost.by_place().items() if tenant}
    calls = dict(zip(workload.tenants, workload.calls_per_day.tolist(), strict=True))
    # Among tenants with equal calls the last one comes first: its reason compares it with the others.
    by_calls = sorted(workload.tenants, key=lambda name: calls[name])[::-1]
    shared = [name for name in by_calls if name not in choice.dedicated][:_BIGGEST_SHARED]
    for name in [*(name for name in by_calls if name in choice.dedicated), *shared]:
        tier, usd = places.get(name, (tail_name, None))
        reason = choice.assigned[name].reason
        if usd is not None and calls[name]:
            reason += f"; {dollars(usd)} a month, {dollars(usd / calls[name] / _DAYS_PER_MONTH * 1e6)} a million calls"
        yield Decision(name, tier or joins, choice.assigned[name].share, calls[name], reason, usd)


def _moves(config: FleetConfig, choice: Choice, joins: str) -> Iterator[Move]:
    """Promotions, then demotions, by name."""
    today, dedicated = dedicated_tenants(config), choice.dedicated
    for name in sorted(dedicated - today.keys()):
        yield Move(name, config.default_tier, joins, choice.assigned[name].reason)
    for name in sorted(today.keys() - dedicated):
        yield Move(name, today[name], config.default_tier, choice.assigned[name].reason)

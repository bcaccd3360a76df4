"""From traffic, a fleet file and requirements to a plan.

plan, change = make_plan(PlanRequest(config=config, workload=workload, ...))
print(plan_text(plan))                     # report/text.py
write(file_edits(path, config, change))    # apply.py
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

import tierfleet
from tierfleet.cost.usage import Usage
from tierfleet.planning.answer import Choice, answer, choose
from tierfleet.planning.change import FleetChange
from tierfleet.planning.money import money
from tierfleet.planning.notes import notes
from tierfleet.planning.plan import Alternatives, Plan, ServiceLevels
from tierfleet.planning.request import PlanRequest, ResolvedRequest, other_container, resolve
from tierfleet.planning.search.alternatives import compared, sensitivity, tiering_alternatives
from tierfleet.planning.search.call_times import container_p99
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import Comparison
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.proposed import dedicated_tier_name, new_dedicated_tier
from tierfleet.planning.search.requirements import requirements_text
from tierfleet.planning.search.search import SearchResult, search
from tierfleet.planning.search.service_levels import latencies
from tierfleet.planning.search.tail_cache import TailCache
from tierfleet.planning.traffic_summary import traffic_summary

# Called with the phase, how many steps are done, and how many there are; with 0 of them: how many more are done.
Progress = Callable[[str, int, int], None]


def make_plan(request: PlanRequest, progress: Progress = lambda *_: None) -> tuple[Plan, FleetChange | None]:
    """The plan, and the change of the fleet file; None if no fleet meets the requirements. Raises InputError."""
    resolved = resolve(request)
    models = _fleet_models(resolved.request)
    results = {
        name: search(model, resolved.tiering, resolved.bounds, name=f"container {name}", progress=progress)
        for name, model in models.items()
    }
    choice = choose(resolved, models, results)
    plan = Plan(
        fleet=f"{request.config.fleet}-{request.config.environment}",
        region=request.config.region,
        container=_container(request),
        tool_version=tierfleet.__version__,
        planned_on=request.planned_on,
        answer=answer(resolved, choice),
        search=_alternatives(resolved, choice, results, progress),
        service_levels=_service_levels(resolved.request, choice, progress),
        traffic=traffic_summary(resolved, choice, lambda done: progress("curve of the shared tier", done, 0)),
        money=money(choice.cost),
        notes=notes(resolved, choice),
    )
    return plan, choice.change


def _container(request: PlanRequest) -> str:
    image = " ".join(part for part in (request.config.container.image, request.config.container.version) if part)
    planned = request.profiles[request.profile]
    return image if other_container(request.config, planned) is None else f"{image}, planned for {planned.name}"


def _fleet_models(request: PlanRequest) -> dict[str, FleetModel]:
    """One model for each container, the planned one first. They share the passes over the trace."""
    tails: dict[frozenset[str], TailCache] = {}
    models = {}
    workload = request.workload
    for name, profile in sorted(request.profiles.items(), key=lambda item: (item[0] != request.profile, item[0])):
        packed = float(np.mean([profile.artefact_mb(float(size)) for size in np.unique(workload.model_mb)]))
        usage = Usage(traffic=workload.traffic(), artefact_megabytes=packed)
        p99 = container_p99(profile, workload.model_mb, workload.calls_per_day)
        promised = min(request.requirements.tenant_p99_seconds.values(), default=2 * p99)
        new_tier = None if request.config.dedicated_tiers else new_dedicated_tier(math.ceil(promised * 1000))
        models[name] = FleetModel(
            request.config,
            workload,
            profile,
            OptionPrices(request.config, request.prices, usage, new_tier),
            request.requirements,
            request.network,
            tails,
        )
    return models


def _alternatives(
    resolved: ResolvedRequest, choice: Choice, results: Mapping[str, SearchResult], progress: Progress
) -> Alternatives:
    own = choice.result
    tierings: tuple[Comparison, ...] = ()
    if choice.chosen is not None:
        tierings = tuple(
            tiering_alternatives(choice.model, resolved.tiering, resolved.bounds, choice.dedicated, progress=progress)
        )
    return Alternatives(
        possible=own.possible,
        options=own.options,
        front=own.front,
        fronts={name: result.front for name, result in results.items()},
        containers=tuple(
            compared(name, resolved.request.profiles[name].title, result) for name, result in results.items()
        ),
        tierings=tierings,
    )


def _service_levels(request: PlanRequest, choice: Choice, progress: Progress) -> ServiceLevels:
    return ServiceLevels(
        requirements=requirements_text(request.requirements),
        required_usd=request.requirements.usd,
        required_hit_ratio=request.requirements.min_hit_ratio,
        latencies=latencies(choice.model, choice.shown, dedicated_tier_name(request.config)),
        sensitivity=sensitivity(choice.model, choice.shown, progress),
    )

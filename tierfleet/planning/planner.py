"""From traffic, a fleet file and requirements to a plan.

plan, change = make_plan(PlanRequest(config=config, workload=workload, ...))
print(plan_text(plan))                     # report/text.py
write(file_edits(path, config, change))    # apply.py
"""

from collections.abc import Mapping

import tierfleet
from tierfleet.planning.answer import Choice, answer, choose
from tierfleet.planning.change import FleetChange
from tierfleet.planning.money import money
from tierfleet.planning.notes import notes
from tierfleet.planning.plan import Alternatives, Plan, ServiceLevels
from tierfleet.planning.request import PlanRequest, ResolvedRequest, resolve
from tierfleet.planning.search.alternatives import compared, sensitivity, tiering_alternatives
from tierfleet.planning.search.fleet_option import Comparison
from tierfleet.planning.search.search import Progress, SearchResult, search
from tierfleet.planning.search.service_levels import latencies
from tierfleet.planning.traffic_summary import traffic_summary


def make_plan(request: PlanRequest, progress: Progress = lambda *_: None) -> tuple[Plan, FleetChange | None]:
    """Plan a fleet: here for 200 models of 45 MB with 500 calls a day each, and nine of ten calls from memory.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from tierfleet.config import load
    >>> from tierfleet.cost.prices import load_prices
    >>> from tierfleet.planning.profiles.profile_files import load_profiles
    >>> from tierfleet.planning.search.requirements import Requirements
    >>> from tierfleet.planning.traffic.rates import steady_rates
    >>> from tierfleet.planning.traffic.workload import workload_from_rates
    >>> tenants = tuple(f"t{number:03}" for number in range(200))
    >>> request = PlanRequest(
    ...     config=load(Path("config/fraud-prod.toml")),
    ...     workload=workload_from_rates(steady_rates(tenants, np.full(200, 500.0)), np.full(200, 45.0)),
    ...     source="an example",
    ...     days=None,
    ...     requirements=Requirements(min_hit_ratio=0.9),
    ...     prices=load_prices(),
    ...     profiles=load_profiles(),
    ...     profile="stock",
    ... )
    >>> plan, change = make_plan(request)
    >>> plan.answer.chosen.instances, plan.answer.chosen.instance_type.name, plan.answer.chosen.hit_ratio
    (2, 'ml.r5.xlarge', 1.0)

    change: what the fleet file is to say; None if no fleet meets the requirements. Raises InputError.
    progress: called with the phase, how many steps are done, and of how many; of 0: how many more are done.
    """
    resolved = resolve(request)
    results = {
        name: search(model, resolved.tiering, resolved.bounds, name=f"container {name}", progress=progress)
        for name, model in resolved.models.items()
    }
    choice = choose(resolved, results)
    plan = Plan(
        fleet=f"{request.config.fleet}-{request.config.environment}",
        region=request.config.region,
        container=_container(resolved),
        tool_version=tierfleet.__version__,
        planned_on=request.planned_on,
        answer=answer(resolved, choice),
        search=_alternatives(resolved, choice, results, progress),
        service_levels=_service_levels(resolved, choice, progress),
        traffic=traffic_summary(resolved, choice, progress),
        money=money(choice.cost),
        notes=notes(resolved, choice),
    )
    return plan, choice.change


def _container(resolved: ResolvedRequest) -> str:
    container = resolved.request.config.container
    image = " ".join(part for part in (container.image, container.version) if part)
    return image if resolved.container_change is None else f"{image}, planned for {resolved.request.profile}"


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


def _service_levels(resolved: ResolvedRequest, choice: Choice, progress: Progress) -> ServiceLevels:
    required = resolved.request.requirements
    return ServiceLevels(
        requirements=resolved.requirements_text,
        required_usd=required.usd,
        required_hit_ratio=required.min_hit_ratio,
        latencies=latencies(choice.model, choice.shown, resolved.joins),
        sensitivity=sensitivity(choice.model, choice.shown, progress),
    )

"""The plan of a case, as `plan fleet` makes it, and the other fleet that the bench looks at."""

from typing import Final

import numpy as np

from benchmarks.planner_truth.fleets import Case
from local_cloud.testing.fleets import fleet
from tierfleet.cost.prices import load_prices
from tierfleet.cost.usage import Usage
from tierfleet.instance_types import describe
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.search.candidates import candidate_types
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.fleet_option import FleetOption
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.search import Bounds, Tiering, search
from tierfleet.planning.search.tiering import TieringRules, assign_tiers
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.workload import workload_from_trace

# As `plan fleet` does: a third of the trace fills the caches.
FILLS: Final = 1 / 3
WARM_P95_SECONDS: Final = 0.05


def planned(case: Case) -> tuple[FleetModel, list[FleetOption]]:
    """The fleet that the search chooses or comes nearest with, then the other one."""
    names = tuple(f"t{number:04}" for number in range(len(case.model_mb)))
    requests = Requests(names, case.tenant, case.seconds, np.full(len(names), np.nan))
    days = requests.duration_seconds / 86_400
    workload = workload_from_trace(requests, case.model_mb, skip_days=min(days * FILLS, 10.0))
    config, prices = fleet(region="us-east-1"), load_prices()
    profile = load_profiles()[case.profile]
    packed = float(profile.artefact_mb(float(case.model_mb.mean())))
    model = FleetModel(
        config,
        workload,
        profile,
        OptionPrices(config, prices, Usage(traffic=workload.traffic(), artefact_megabytes=packed), None),
        Requirements(
            min_hit_ratio=case.min_hit_ratio,
            cold_p95_seconds=case.cold_p95_seconds,
            warm_p95_seconds=WARM_P95_SECONDS,
        ),
        Network(),
        {},
    )
    assigned = assign_tiers(workload.tenants, workload.calls_per_day, workload.peak_per_second, TieringRules())
    tiering = Tiering(
        assigned=assigned,
        dedicated_today=frozenset(),
        keep=frozenset(workload.tenants),
        dedicated_without_traffic=frozenset(),
        band=0.3,
    )
    outcome = search(
        model, tiering, Bounds(types=candidate_types(config, prices)[0], min_instances=1, max_instances=20)
    )
    chosen = outcome.best or outcome.nearest
    name, instances = case.small
    small = model.evaluate(model.option(describe(name), instances, tiering.dedicated))
    return model, [option for option in (chosen,) if option is not None] + (
        [small] if chosen is None or small.name != chosen.name else []
    )

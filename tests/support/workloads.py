"""Small workloads and fleet models for the planner's tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from local_cloud.testing.fleets import CONFIG, fleet
from tierfleet.config import FleetConfig, load
from tierfleet.cost.prices import load_prices
from tierfleet.cost.usage import Usage
from tierfleet.planning.profiles.latency import Network
from tierfleet.planning.profiles.profile_files import load_profiles
from tierfleet.planning.request import PlanRequest
from tierfleet.planning.search.fleet_model import FleetModel
from tierfleet.planning.search.option_prices import OptionPrices
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.search.search import Tiering
from tierfleet.planning.search.tiering import TieringRules, assign_tiers
from tierfleet.planning.traffic.rates import steady_rates
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.workload import Workload, workload_from_rates

PRICES = load_prices()
# Only two types have a price in eu-west-1.
PRICES_FEW = replace(
    PRICES,
    hosting={
        **PRICES.hosting,
        "eu-west-1": {name: PRICES.hosting["eu-west-1"][name] for name in ("ml.m5.large", "ml.m5.xlarge")},
    },
)
PROFILES = load_profiles()
CHURN = CONFIG / "churn-prod.toml"
FRAUD = CONFIG / "fraud-prod.toml"


def steady(calls_per_day: dict[str, float], model_mb: float = 45.0, sessions: Sessions = INDEPENDENT) -> Workload:
    calls = np.array(list(calls_per_day.values()))
    rates = steady_rates(tuple(calls_per_day), calls, sessions=sessions)
    return workload_from_rates(rates, np.full(len(calls), model_mb))


def zipf(tenants: int, calls_per_day: float, exponent: float = 0.8) -> dict[str, float]:
    weights = np.arange(1, tenants + 1) ** -exponent
    return {f"t{n:04}": float(w) for n, w in enumerate(calls_per_day * weights / weights.sum(), 1)}


def no_whales(config: FleetConfig) -> FleetConfig:
    tiers = {
        name: tier.model_copy(update={"tenants": {}}) if tier.hosting == "dedicated" else tier
        for name, tier in config.tiers.items()
    }
    return config.model_copy(update={"tiers": tiers})


def model(workload: Workload, profile: str = "stock", config: FleetConfig | None = None, **required: Any) -> FleetModel:
    config = config or fleet(region="us-east-1")
    prices = OptionPrices(config, PRICES, Usage(traffic=workload.traffic(), artefact_megabytes=20.0), None)
    return FleetModel(config, workload, PROFILES[profile], prices, Requirements(**required), Network(), {})


def tiering(workload: Workload, today: frozenset[str] = frozenset(), rules: TieringRules | None = None) -> Tiering:
    rules = rules or TieringRules()
    assigned = assign_tiers(
        workload.tenants, workload.calls_per_day_now, workload.peak_per_second, rules, dedicated_today=today
    )
    return Tiering(
        assigned=assigned,
        dedicated_today=today,
        keep=frozenset(),
        dedicated_without_traffic=frozenset(),
        band=rules.band,
    )


def plan_request(workload: Workload, config: Path | FleetConfig, profile: str = "stock", **more: Any) -> PlanRequest:
    return PlanRequest(
        config=load(config) if isinstance(config, Path) else config,
        workload=workload,
        source="a test",
        days=None,
        prices=PRICES,
        profile=profile,
        **({"requirements": Requirements(), "profiles": PROFILES} | more),
    )

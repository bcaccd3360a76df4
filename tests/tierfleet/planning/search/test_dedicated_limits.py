"""Endpoints of one tenant: memory, load and SageMaker's time limit; who is not promoted for want of room."""

from dataclasses import replace

import numpy as np
import pytest
from workloads import FRAUD, PROFILES, model, plan_request, steady, zipf

from local_cloud.testing.fleets import DELETE, document, fleet, serverless_tier
from tierfleet.config import load
from tierfleet.instance_types import describe
from tierfleet.planning.planner import make_plan
from tierfleet.planning.profiles.profile import PredictTime
from tierfleet.planning.search.dedicated_limits import TenantLoad, dedicated_problems
from tierfleet.planning.search.proposed import new_dedicated_tier, tenants_on_other_tiers
from tierfleet.planning.search.requirements import Requirements

STOCK = PROFILES["stock"]
TIER = new_dedicated_tier(50)  # two ml.m5.large


def tenant(**changes: float | None) -> TenantLoad:
    return replace(TenantLoad(name="m01", model_mb=20.0, peak_per_second=5.0, p99_seconds=0.05), **changes)


def test_a_small_model_with_room_and_little_traffic_has_no_problem() -> None:
    assert dedicated_problems(STOCK, TIER, tenant()) == []


def test_a_model_that_fills_more_than_the_instance_is_named_with_both_sizes() -> None:
    [problem] = dedicated_problems(STOCK, TIER, tenant(model_mb=5_000.0))
    assert problem.startswith("m01: its model takes ")
    assert problem.endswith("of memory, and an ml.m5.large has 4.93 GiB for models")
    bigger = TIER.model_copy(update={"instance_type": "ml.m5.4xlarge"})
    assert not [text for text in dedicated_problems(STOCK, bigger, tenant(model_mb=5_000.0)) if "memory" in text]


def test_latency_is_that_at_the_tenants_own_peak() -> None:
    slow = replace(STOCK, predict=((1.0, PredictTime(p50=30.0, p95=35.0, p99=40.0)),))
    assert dedicated_problems(slow, TIER, tenant(peak_per_second=1.0)) == []
    [queued] = dedicated_problems(slow, TIER, tenant(peak_per_second=100.0))
    assert queued.startswith("m01 p99 ")
    assert queued.endswith("ms at its peak of 100 calls/s on 2 x ml.m5.large, required 50 ms")
    slower = replace(STOCK, predict=((1.0, PredictTime(p50=48.0, p95=48.5, p99=49.0)),))
    # Two vCPUs answer 42 calls of 48 ms a second, and InvocationsPerInstance allows twice as many.
    [too_many] = dedicated_problems(slower, TIER, tenant(peak_per_second=100.0))
    assert too_many == "m01 needs 120 % of the processors at its peak of 100 calls/s on 2 x ml.m5.large"


def test_a_call_that_takes_more_than_sagemaker_waits_fails_whatever_is_required() -> None:
    slow = replace(STOCK, predict=((1.0, PredictTime(p50=40_000.0, p95=55_000.0, p99=70_000.0)),))
    [problem] = dedicated_problems(slow, TIER, tenant(p99_seconds=None, peak_per_second=0.001))
    assert problem == "m01 p99 70.3 s in the container; SageMaker ends a call after 60 s"


def test_a_tenant_whose_model_has_no_room_on_a_dedicated_endpoint_is_not_promoted() -> None:
    calls = zipf(60, 50_000) | {"giant": 400_000.0}
    workload = steady(calls)
    sizes = np.where(np.array(workload.tenants) == "giant", 60_000.0, 20.0)
    big = replace(workload, model_mb=sizes)
    plan, _ = make_plan(plan_request(workload, fleet(region="us-east-1"), requirements=Requirements()))
    assert plan.answer.chosen is not None
    assert "giant" in plan.answer.chosen.dedicated
    plan, _ = make_plan(plan_request(big, fleet(region="us-east-1"), requirements=Requirements()))
    shown = plan.answer.chosen or plan.answer.nearest
    assert shown is None or "giant" not in shown.dedicated
    [reason] = [decision.reason for decision in plan.answer.decisions if decision.tenant == "giant"]
    assert "worth an endpoint of its own, but its model takes" in reason


def test_an_endpoint_that_is_there_and_too_small_is_a_failure_of_the_fleet_as_it_is() -> None:
    config = load(FRAUD)
    whale = next(iter(config.dedicated_tiers.values()))
    name = min(whale.tenants)
    workload = steady({name: 100_000.0, "other": 1_000.0}, model_mb=20_000.0)
    fleet_model = model(workload, config=config)
    option = fleet_model.evaluate(fleet_model.option(describe("ml.m5.xlarge"), 2, frozenset({name})))
    assert any(text.startswith(f"{name}: its model takes") for text in option.failures)


@pytest.mark.parametrize("peak", [0.0, 1e-9])
def test_a_tenant_that_hardly_calls_waits_for_nothing(peak: float) -> None:
    assert dedicated_problems(STOCK, TIER, tenant(peak_per_second=peak)) == []


def test_a_plan_leaves_tenants_of_other_shapes_where_they_are() -> None:
    rare = serverless_tier(memory_size_in_mb=1024, max_concurrency=1)
    further = {**document()["tiers"]["tail"], "default": False, "warm_up": DELETE, "tenants": ["s1"]}
    config = fleet(network_isolation=False, routes={"bake_minutes": 7}, tiers={"rare": rare, "further": further})
    assert tenants_on_other_tiers(config) == {"r1": "rare", "s1": "further"}

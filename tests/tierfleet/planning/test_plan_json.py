"""The document of `plan fleet --json`: scripts read its flat keys, so they stay as they were recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from workloads import CHURN, FRAUD, no_whales, plan_request, steady, zipf

from tierfleet.cli.console import json_text
from tierfleet.config import load
from tierfleet.planning.plan import Plan
from tierfleet.planning.planner import make_plan
from tierfleet.planning.search.requirements import requirements_of

# Written by the version before the plan was grouped; lists are cut after their first entries.
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_plan.json").read_text())
ADDED = ["container_change", "bill", "traffic_period", "tool_version", "planned_on", "models_in_memory"]

# At the end of each fleet.
ADDED_TO_OPTIONS = ["cold_p95_range"]


@pytest.fixture(scope="module")
def plans() -> list[dict[str, Any]]:
    """Plans that together fill every part: whales that move, published ratios, no fleet that meets the budget."""
    busy = steady(zipf(60, 50_000) | {"g1": 400_000.0, "g2": 300_000.0}, model_mb=30.0)
    fraud = no_whales(load(FRAUD))
    required = requirements_of(fraud, warm_p95_seconds=0.3)
    moves = make_plan(plan_request(busy, fraud, requirements=required, published={10: 0.9, 62: None}))[0]
    poor = make_plan(
        plan_request(steady(zipf(300, 40_000)), CHURN, requirements=requirements_of(load(CHURN), usd=5.0))
    )[0]
    return [document(moves), document(poor)]


def document(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json_text(plan.to_json()))
    return document


def test_the_keys_are_flat_and_in_the_recorded_order(plans: list[dict[str, Any]]) -> None:
    for plan in plans:
        assert list(plan) == [*RECORDED, *ADDED]


def test_every_nested_object_has_the_recorded_keys(plans: list[dict[str, Any]]) -> None:
    recorded = dict(shapes(RECORDED))
    for plan in plans:
        for path, keys in shapes(plan):
            if path and path.split(".")[0] not in ADDED and path in recorded:
                added = ADDED_TO_OPTIONS if "hit_ratio_range" in keys else []
                assert keys == [*recorded[path], *added], path
    seen = {path for plan in plans for path, _ in shapes(plan)}
    assert recorded.keys() <= seen


def shapes(value: Any, path: str = "") -> list[tuple[str, list[str]]]:
    """Path and keys of each object; objects by tier or by container are one path."""
    if isinstance(value, list):
        return [shape for part in value for shape in shapes(part, f"{path}[]")]
    if not isinstance(value, dict):
        return []
    if path in ("fronts", "hours_by_tier", "cost_by_tier") or path.endswith((".memory_mib", ".cheapest", ".usd")):
        return [shape for part in value.values() for shape in shapes(part, f"{path}.*")]
    inner = [shape for key, part in value.items() for shape in shapes(part, f"{path}.{key}".lstrip("."))]
    return [(path, list(value)), *inner]


def test_an_instance_type_is_its_name(plans: list[dict[str, Any]]) -> None:
    assert plans[0]["chosen"]["instance_type"].startswith("ml.")
    assert all(option["instance_type"].startswith("ml.") for option in plans[0]["front"])


def test_the_bill_adds_up_to_the_cost(plans: list[dict[str, Any]]) -> None:
    plan = plans[0]
    assert sum(line["usd"] for line in plan["bill"]) == pytest.approx(plan["chosen"]["usd"])
    assert sum(line["usd"] for line in plan["bill"]) == pytest.approx(sum(plan["cost_by_tier"].values()))
    assert [line["group"] for line in plan["bill"]] == sorted(
        (line["group"] for line in plan["bill"]), key=["instances", "volumes", "S3", "CloudWatch", "other"].index
    )
    assert any(" x ml." in line["detail"] and "730 hours" in line["detail"] for line in plan["bill"])

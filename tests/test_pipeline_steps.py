"""The steps of examples/pipeline refuse what they cannot read; tests/long runs them behind a model."""

import importlib.util
import math
import sys
from types import ModuleType
from typing import Any

import pytest

from local_cloud.testing.fleets import ROOT


def _example() -> ModuleType:
    """The module under a name of its own: tests have a module `steps` too."""
    file = ROOT / "examples" / "pipeline" / "steps.py"
    spec = importlib.util.spec_from_file_location("example_pipeline_steps", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


STEPS = _example()
ORDER = {"placed_at": "2027-09-18T03:15:00+02:00", "customer_since": "2027-09-16T12:00:00Z", "amount": 99.0, "note": ""}


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.01, 1.01])
def test_a_score_that_is_no_probability_is_not_approved(score: float) -> None:
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        STEPS.decision(score, STEPS.Policy(review_from=0.4, refuse_from=0.8))


@pytest.mark.parametrize(
    "order",
    [
        7,
        {},
        {**ORDER, "amount": 10**400},
        {**ORDER, "amount": math.nan},
        {**ORDER, "placed_at": "2027-09-18T03:15:00"},
    ],
)
def test_an_order_that_cannot_be_read_is_a_value_error(order: Any) -> None:
    with pytest.raises(ValueError, match=r"order |amount is "):
        STEPS.features(order)

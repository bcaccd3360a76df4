"""The worked examples in docstrings are true."""

import doctest
import importlib
from types import ModuleType

import pytest

from local_cloud.testing.fleets import CONFIG

MODULES = [
    "tierfleet.columns",
    "tierfleet.config.load",
    "tierfleet.cost.diff",
    "tierfleet.cost.monthly_cost",
    "tierfleet.cost.prices",
    "tierfleet.instance_types",
    "tierfleet.planning.planner",
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIG.parent)
    module: ModuleType = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

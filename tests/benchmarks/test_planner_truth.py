"""Plans against the independent simulation, on the fleets where planners go wrong most; the bench has all twelve."""

import pytest

from benchmarks.planner_truth.__main__ import compared
from benchmarks.planner_truth.fleets import Case, cases

HARDEST = ("nightly batch within 20 s", "launch", "models of 2 GB", "timers and bursts, as public functions")


@pytest.mark.parametrize("case", [case for case in cases() if case.name in HARDEST], ids=lambda case: case.name)
def test_a_plan_says_what_the_simulation_finds(case: Case) -> None:
    chosen, small = compared(case)
    assert chosen.misses == []
    assert small.misses == []

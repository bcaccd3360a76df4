"""The walk of one plan request, as docs/planning-model.md lists it, held by following the calls of a real plan."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from typer.testing import CliRunner
from workloads import zipf

from local_cloud.testing.fleets import CONFIG, ROOT
from tierfleet.cli import app

# What decides where the walk goes next.
GUIDES = ("tierfleet.cli.plan.fleet_command", "tierfleet.planning.planner")
ROOMS = ("tierfleet.cli.plan.", "tierfleet.planning.")


@contextmanager
def followed(calls: list[tuple[str, str]]) -> Iterator[None]:
    """Collects caller and callee of each call between our modules. A value that is made is no step."""

    def profile(frame: FrameType, event: str, _: Any) -> None:
        name = module(frame)
        if event != "call" or name is None or frame.f_code.co_name in ("__init__", "__post_init__", "<module>"):
            return
        back = frame.f_back
        while back is not None and module(back) is None:
            back = back.f_back
        if back is not None and module(back) != name:
            calls.append((str(module(back)), name))

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def module(frame: FrameType) -> str | None:
    name = frame.f_globals.get("__name__", "")
    return name if name.startswith(ROOMS) else None


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("walk")
    lines = (CONFIG / "fraud-prod.toml").read_text().splitlines(keepends=True)
    (folder / "fraud-prod.toml").write_text("".join(line for line in lines if "{ model = " not in line))
    rates = zipf(60, 50_000) | {"g1": 400_000.0}
    (folder / "rates.csv").write_text("tenant,requests_per_day\n" + "".join(f"{n},{r}\n" for n, r in rates.items()))
    files = ["--config", folder / "fraud-prod.toml", "--html", folder / "plan.html", "--model-megabytes", 30]
    entered: list[tuple[str, str]] = []
    with followed(entered):
        answer = CliRunner().invoke(app, ["plan", "fleet", str(folder / "rates.csv"), *map(str, files)])
    shutil.rmtree(folder)
    assert answer.exit_code == 0, answer.output
    return entered


def walk(calls: list[tuple[str, str]]) -> list[str]:
    """The modules that the command and the planner call, in the order of the first call."""
    entered = dict.fromkeys((GUIDES[0], *(callee for caller, callee in calls if caller in GUIDES)))
    return [name for name in entered if name.startswith(ROOMS)]


def test_a_plan_request_enters_the_modules_that_the_documentation_lists(calls: list[tuple[str, str]]) -> None:
    text = (ROOT / "docs" / "planning-model.md").read_text()
    listed = re.findall(r"^\d+\. `(tierfleet/[\w/]+)\.py`", text, re.MULTILINE)
    assert [name.replace("/", ".") for name in listed] == walk(calls)
    assert len(listed) <= 14


def test_it_returns_to_a_module_that_it_has_left_four_times(calls: list[tuple[str, str]]) -> None:
    order = {name: place for place, name in enumerate(walk(calls))}
    back = {(a, b) for a, b in calls if a in order and b in order and order[b] < order[a] and a not in GUIDES}
    assert {(a.rpartition(".")[2], b.rpartition(".")[2]) for a, b in back} == {
        ("fleet_options", "sources"),  # options are checked, then the traffic is read
        ("answer", "search"),  # the tiers next to the chosen size
        ("alternatives", "search"),  # the same search with other tenants dedicated
        ("notes", "service_levels"),  # endpoints that outgrow their bounds
    }

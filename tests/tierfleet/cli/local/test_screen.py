"""The live view draws whatever rows it is given: whole names, aligned numbers."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from local_cloud.testing.fleets import ROOT
from tierfleet.cli.local.alarm_lines import NEXT_COMMANDS
from tierfleet.cli.local.deployment_screen import ResourceProgress, StackProgress, deployment_screen
from tierfleet.cli.local.screen import fleet_screen
from tierfleet.local.drive import DriveSummary, TierTraffic
from tierfleet.local.status import EndpointStatus, ErrorStatus, FleetStatus, InstanceStatus

TAIL, WHALE = "fraud--dev--tail--all--mme-m5-large", "fraud--dev--whale--m07--dedicated-m5-large"
STATUS = FleetStatus(
    stacks={"fraud-dev-Models": "CREATE_COMPLETE", "fraud-dev-Fleet": "UPDATE_IN_PROGRESS"},
    endpoints=(EndpointStatus(TAIL, "InService", 2, 1, 2), EndpointStatus(WHALE, "Creating", 1, None, None)),
    red_alarms=(),
    routes={"everyone else": TAIL, "m07": WHALE},
)
SHARED = InstanceStatus(
    endpoint=TAIL,
    instance="i-1",
    status="InService",
    shared=True,
    retiring=False,
    traffic_percent=100,
    requests_per_second=1234.4,
    hit_ratio=0.986,
    loaded_models=26,
    disk_models=31,
    memory_used_mib=3000.0,
    memory_budget_mib=6000.0,
    load_wait_p95_milliseconds=723.4,
    cpu_percent=140.0,
)
OWN = replace(
    SHARED,
    endpoint=WHALE,
    instance="i-4",
    status="Starting",
    shared=False,
    traffic_percent=0,
    hit_ratio=None,
    memory_used_mib=None,
    load_wait_p95_milliseconds=None,
)


WIDTH = 118


def drawn(
    *instances: InstanceStatus,
    status: FleetStatus = STATUS,
    driven: DriveSummary | None = None,
    errors: tuple[ErrorStatus, ...] = (),
    width: int = WIDTH,
) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(fleet_screen(status, instances, driven, errors))
    return console.export_text().splitlines()


def row(lines: list[str], start: str) -> str:
    [matching] = [line for line in lines if line.strip().startswith(start)]
    return matching


def test_each_instance_is_below_its_endpoint_with_nothing_cut_off() -> None:
    lines = drawn(SHARED, OWN)

    assert [line.split()[0] for line in lines if line.strip().startswith(("tail", "whale", "i-"))] == [
        "tail--all--mme-m5-large",
        "i-1",
        "whale--m07--dedicated-m5-large",
        "i-4",
    ]
    assert row(lines, "tail--all").split()[1:] == ["InService", "2", "of", "1-2"]
    assert row(lines, "i-1").split()[1:] == (
        ["InService", "1,234", "98.6%", "26", "31", "████░░░░", "3,000/6,000", "723", "ms", "140", "%"]
    )
    assert row(lines, "i-4").split()[1:] == ["Starting", "0", "%", "1,234", "140", "%"]
    assert "…" not in "".join(lines)
    assert "UPDATE_IN_PROGRESS" in lines[0]


def test_numbers_end_below_the_end_of_their_headings() -> None:
    lines = drawn(SHARED)
    heading, cells = row(lines, "endpoint, instance"), row(lines, "i-1")

    for name, value in (("req/s", "1,234"), ("hits", "98.6%"), ("models", "26"), ("disk", "31"), ("CPU", "140 %")):
        assert cells.index(f" {value}") + 1 + len(value) == heading.index(name) + len(name), name


def test_a_small_memory_is_shown_with_decimals_and_a_first_look_has_no_rate() -> None:
    small = replace(SHARED, requests_per_second=None, memory_used_mib=0.44, memory_budget_mib=1.0)

    cells = row(drawn(small), "i-1").split()

    assert cells[1:6] == ["InService", "98.6%", "26", "31", "████░░░░"]
    assert cells[6] == "0.4/1.0"


def test_alarms_routes_and_callers_are_told() -> None:
    traffic = TierTraffic("tail", 1200, 3, 65, 12.34, 150.0, 151.0)
    driven = DriveSummary(30.0, (traffic,), {"ModelError": 3})
    lines = drawn(
        SHARED,
        status=replace(STATUS, red_alarms=("TargetTracking-endpoint/x-AlarmLow-1", "slow", "thrash")),
        driven=driven,
    )

    assert row(lines, "alarms").split() == ["alarms", "slow"]
    assert row(lines, "thrash").strip() == "thrash (and 1 by which target tracking scales)"
    assert row(lines, "m07 →").strip() == "m07 → whale--m07--dedicated-m5-large"
    assert row(lines, "tail  ").split() == ["tail", "65", "1,200", "3", "12.3", "150.0", "151.0"]
    assert lines[-1].strip() == "3 ModelError (0.1 a second)"


@pytest.mark.parametrize("width", [80, WIDTH])
def test_errors_are_told_by_class_and_endpoint(width: int) -> None:
    long = f"{WHALE}-{'x' * 40}"
    lines = drawn(
        SHARED,
        errors=(ErrorStatus(TAIL, "ModelError 400", 1234, 0.5), ErrorStatus(long, "ValidationError", 2, None)),
        width=width,
    )

    assert row(lines, "errors").rstrip() == "errors  1,234 ModelError 400 (0.5 a second)  tail--all--mme-m5-large"
    second = row(lines, "2 ValidationError")
    assert second.startswith("        2 ValidationError  whale--m07--dedicated-m5-large-xxx")
    assert len(second.rstrip()) <= width
    assert second.rstrip().endswith("…") == (width == 80)


def test_a_fleet_that_is_not_deployed_says_so() -> None:
    text = "\n".join(drawn(status=FleetStatus({}, (), (), {})))

    assert "no stack is deployed" in text
    assert "none is red" in text
    assert "none are deployed" in text


@pytest.mark.parametrize("width", [80, 100, 115])
def test_a_narrow_screen_has_every_number_and_no_wrapped_line(width: int) -> None:
    traffic = TierTraffic("tail", 1200, 3, 65, 12.34, 150.0, 151.0)
    leaving = replace(SHARED, retiring=True, memory_used_mib=7373.0, memory_budget_mib=7373.0)
    lines = drawn(leaving, OWN, driven=DriveSummary(30.0, (traffic,), {"ModelError": 3}), width=width)

    assert max(len(line.rstrip()) for line in lines) <= 80
    assert row(lines, "tail--all").split() == ["tail--all--mme-m5-large", "InService", "2", "of", "1-2"]
    numbers = ["1,234", "98.6%", "26", "31", "7,373/7,373", "723", "ms", "140", "%"]
    assert row(lines, "i-1").split()[-len(numbers) :] == numbers
    heading = row(lines, "status")
    assert heading.index("req/s") + len("req/s") == row(lines, "i-1").index("1,234") + len("1,234")


@pytest.mark.parametrize("width", [80, 115])
def test_a_narrow_screen_tells_the_containers_of_an_instance_apart(width: int) -> None:
    names = ("i-6/card-present", "i-6/document-check", "i-6/velocity")
    lines = drawn(*(replace(SHARED, instance=name) for name in names), width=width)
    assert [line.strip() for line in lines if "i-6" in line] == list(names)


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
STATES = st.sampled_from(["Creating", "InService", "RollingBack", "Updating", "OutOfService", "SystemUpdating"])
STACK_STATES = st.sampled_from(["CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"])
SENTENCES = st.lists(NAMES, min_size=1, max_size=20).map(" ".join)


@st.composite
def statuses(draw: st.DrawFn) -> FleetStatus:
    endpoints = [f"fleet--env--{name}" for name in draw(st.lists(NAMES, max_size=3, unique=True))]
    alarms = draw(st.lists(st.one_of(NAMES, NAMES.map("TargetTracking-{}".format)), max_size=4, unique=True))
    page = "https://example.com/runbook.md"
    told = {
        name: f"{draw(SENTENCES)} {draw(st.sampled_from(['Not an incident.', '']))} What to do: {page}#disk"
        for name in alarms
    }
    return FleetStatus(
        stacks=draw(st.dictionaries(NAMES, STACK_STATES, max_size=2)),
        endpoints=tuple(
            EndpointStatus(name, draw(STATES), 20, 1, draw(st.sampled_from([None, 20]))) for name in endpoints
        ),
        red_alarms=tuple(alarms),
        routes={draw(NAMES): name for name in endpoints},
        alarm_descriptions=told,
        clock_ahead_seconds=draw(st.sampled_from([0.0, 93_600.0, -1e9])),
    )


@given(statuses(), st.sampled_from([80, 81, 100, 115]))
def test_no_line_of_any_fleet_is_longer_than_the_screen_or_goes_on_in_the_next(status: FleetStatus, width: int) -> None:
    instances = [
        replace(SHARED, endpoint=endpoint.name, instance=instance)
        for endpoint in status.endpoints
        for instance in ("i-1", f"i-2/{'container' * 7}")
    ]
    errors = tuple(ErrorStatus(endpoint.name, "ModelError 400", 10**9, 0.5) for endpoint in status.endpoints)
    lines = [line.rstrip() for line in drawn(*instances, status=status, errors=errors, width=width)]

    assert max(map(len, lines)) <= width
    begins = ("alarms", "routes", "errors", "clock", "no stack", " ")
    others = [line for line in lines if line and not line.startswith(begins)]
    stacks = 1 if sum(len(f"{n} {s}  ") for n, s in status.stacks.items()) - 2 <= width else len(status.stacks)
    assert len(others) <= len(status.endpoints) + stacks
    assert len([line for line in lines if " → " in line]) == len(status.routes)


@given(st.lists(st.tuples(NAMES, NAMES, STACK_STATES), max_size=3), st.sampled_from([80, 81, 120]))
def test_no_line_of_a_deployment_is_longer_than_the_screen(rows: list[tuple[str, str, str]], width: int) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    stacks = [
        StackProgress(
            f"shop-test-Fleet-{name}",
            status,
            (ResourceProgress(resource, "AWS::ApplicationAutoScaling::ScalableTarget", "CREATE_IN_PROGRESS", now),),
        )
        for name, resource, status in rows
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(deployment_screen(stacks, width, now))
    lines = [line.rstrip() for line in console.export_text().splitlines()]

    assert max(map(len, lines), default=0) <= width
    assert len([line for line in lines if line]) == 2 * len(stacks)
    assert len([line for line in lines if line.endswith("1 resource done") or "0 resources done" in line]) == len(
        stacks
    )


def test_a_red_alarm_says_why_and_what_to_do() -> None:
    page = "https://example.com/runbook.md"
    status = replace(
        STATUS,
        red_alarms=("fleet-Disk", "fleet-Odd", "fleet-Running"),
        alarm_descriptions={
            "fleet-Disk": f"DiskUtilization is above 85 %: models are fetched again. What to do: {page}#disk",
            "fleet-Odd": "Something else.",
            "fleet-Running": f"A warm-up runs. Not an incident. What to do: {page}#warm-up",
        },
    )

    lines = [line.strip() for line in drawn(status=status)]

    start = lines.index("alarms  fleet-Disk")
    assert lines[start + 1 : start + 7] == [
        "DiskUtilization is above 85 %: models are fetched again.",
        f"runbook: {page}#disk",
        "next: tierfleet local status",
        "fleet-Odd",
        "Something else.",
        "A warm-up runs.",
    ]


def test_each_section_of_the_runbook_has_a_next_command() -> None:
    sections = re.findall(r"^## ([a-z-]+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert set(sections) == set(NEXT_COMMANDS)

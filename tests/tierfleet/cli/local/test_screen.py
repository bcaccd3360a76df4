"""The live view draws whatever rows it is given: whole names, aligned numbers."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from local_cloud.testing.fleets import ROOT
from tierfleet.cli.local.alarm_lines import NEXT_COMMANDS
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
    [found] = [line for line in lines if line.strip().startswith(start)]
    return found


def test_each_instance_stands_below_its_endpoint_with_nothing_cut_off() -> None:
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

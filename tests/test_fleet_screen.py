"""The live view draws whatever rows it is given: whole names, aligned numbers."""

import io
from dataclasses import replace

from rich.console import Console

from local_cloud.drive import DriveSummary, TierTraffic
from local_cloud.fleet_status import EndpointStatus, FleetStatus, InstanceStatus
from tierfleet.cli.fleet_screen import fleet_screen

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


def drawn(*instances: InstanceStatus, status: FleetStatus = STATUS, driven: DriveSummary | None = None) -> list[str]:
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(fleet_screen(status, instances, driven))
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
    assert lines[-2].split() == ["tail", "65", "1,200", "3", "12.3", "150.0", "151.0"]


def test_a_fleet_that_is_not_deployed_says_so() -> None:
    text = "\n".join(drawn(status=FleetStatus({}, (), (), {})))

    assert "no stack is deployed" in text
    assert "none is red" in text
    assert "none are deployed" in text

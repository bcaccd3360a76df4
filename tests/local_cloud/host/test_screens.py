"""The live screens of `tierfleet local` on a real terminal of 80 columns, with the longest ordinary names."""

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from real_fleet import Fleet
from terminal import Screen, on_terminal

from local_cloud import NotRunningError, running
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import DELETE, document

TIERFLEET = str(Path(sys.executable).parent / "tierfleet")
WIDTH = 80
DEDICATED = [str(uuid.UUID(int=number * 0x1234567890ABCDEF1234567890ABCDEF % 2**128)) for number in (1, 2)]
SHARED = [str(uuid.UUID(int=number * 0xFEDCBA0987654321FEDCBA0987654321 % 2**128)) for number in (3, 4, 5)]
CHANGES: dict[str, Any] = {
    "tiers": {
        "tail": {
            "warm_up": {
                "schedule": "cron(0,15,30,45 6,7,8,9,10,11 ? JAN,FEB,MAR,APR MON,TUE,WED,THU,FRI 2026-2030)",
                "timezone": "America/Argentina/ComodRivadavia",
                "tenants": SHARED,
            }
        },
        "whale": {
            "tenants": {"w1": DELETE}
            | {tenant: {"model": f"{tenant}/2026-11-14-monthly.tar.gz"} for tenant in DEDICATED},
        },
    }
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, synth: Callable[..., Path]) -> Iterator[Path]:
    """A folder in which a local emulator of that fleet runs; the fleet is deployed."""
    directory = tmp_path_factory.mktemp("screens")
    (directory / "shop-test.toml").write_text(tomlkit.dumps(document(**CHANGES)))
    screen, code = on_terminal([TIERFLEET, "local", "up", "shop-test.toml", "--constant"], directory)
    assert (code, screen.wrapped) == (0, [])
    try:
        cloud = running(directory / ".local-cloud")
        shop = Fleet(Account(cloud, "123456789012"), synth)
        shop.first_models = tuple(f"{tenant}/2026-11-14-monthly" for tenant in DEDICATED)
        shop.create(**CHANGES)
        cloud.admin("clock", {"mode": "real"})
        _turn_red(cloud.client("cloudwatch", "123456789012"))
        yield directory
    finally:
        with contextlib.suppress(NotRunningError):
            running(directory / ".local-cloud").stop()


def _turn_red(cloudwatch: Any) -> None:
    """The alarm of the longest name and the one of the longest description; more would not fit into the height."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    alarms = [alarm for page in pages for alarm in [*page["MetricAlarms"], *page["CompositeAlarms"]]]
    for length in (lambda alarm: len(alarm["AlarmName"]), lambda alarm: len(alarm.get("AlarmDescription", ""))):
        name = max(alarms, key=length)["AlarmName"]
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")


def assert_readable(screen: Screen) -> None:
    """No line is longer than the terminal, and none goes on in the middle of a name."""
    assert screen.wrapped == []
    heads = ("shop-test-", "tail--", "whale--", "alarms", "routes", "errors", "clock", "callers")
    assert [line for line in screen.lines if line and not line.startswith((" ", *heads))] == []


def test_status_fits(directory: Path) -> None:
    screen, code = on_terminal([TIERFLEET, "local", "status"], directory)
    assert code == 0
    assert_readable(screen)
    routes = [line for line in screen.lines if "→" in line]
    assert len(routes) == 1 + len(DEDICATED)
    for tenant in DEDICATED:
        assert any(tenant in line for line in routes)


def test_status_watched_fits(directory: Path) -> None:
    drawn = 0

    def drawn_twice(screen: Screen) -> bool:
        nonlocal drawn
        drawn += any("→" in line for line in screen.lines)
        return drawn > 1

    screen, code = on_terminal([TIERFLEET, "local", "status", "--watch"], directory, interrupt_when=drawn_twice)
    assert code == 0
    assert screen.wrapped == []


def test_drive_fits(directory: Path) -> None:
    screen, code = on_terminal(
        [TIERFLEET, "local", "drive", "--seconds", "2", "--requests-per-second", "20"], directory
    )
    assert code == 0, screen.lines
    assert_readable(screen)


def test_events_fit(directory: Path) -> None:
    screen, code = on_terminal([TIERFLEET, "local", "events"], directory)
    assert (code, screen.wrapped) == (0, [])


@pytest.mark.parametrize("command", [["config", "check"], ["config", "show"], ["cost"]])
def test_what_is_said_of_the_file_fits(directory: Path, command: list[str]) -> None:
    screen, code = on_terminal([TIERFLEET, *command, "shop-test.toml"], directory)
    assert (code, screen.wrapped) == (0, [])

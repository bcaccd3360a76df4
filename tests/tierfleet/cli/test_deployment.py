"""What a person sees while a fleet is deployed."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tierfleet.cli.local.deployment_screen import deployment_screen, stack_progress

START = datetime(2026, 11, 14, 8, 0, tzinfo=UTC)
STACK = "AWS::CloudFormation::Stack"


def event(second: int, logical_id: str, status: str, kind: str = "AWS::SageMaker::Endpoint") -> dict[str, Any]:
    return {
        "LogicalResourceId": logical_id,
        "ResourceType": kind,
        "ResourceStatus": status,
        "Timestamp": START + timedelta(seconds=second),
    }


EVENTS = [
    event(9, "Tail", "UPDATE_IN_PROGRESS"),
    event(8, "Config", "CREATE_COMPLETE", "AWS::SageMaker::EndpointConfig"),
    event(6, "Config", "CREATE_IN_PROGRESS", "AWS::SageMaker::EndpointConfig"),
    event(5, "shop-test-Fleet", "UPDATE_IN_PROGRESS", STACK),
    event(4, "shop-test-Fleet", "CREATE_COMPLETE", STACK),
    event(3, "Bucket", "CREATE_COMPLETE", "AWS::S3::Bucket"),
]


def test_a_stack_shows_the_resources_of_its_last_operation() -> None:
    progress = stack_progress("shop-test-Fleet", "UPDATE_IN_PROGRESS", EVENTS)

    assert [(row.logical_id, row.status) for row in progress.resources] == [
        ("Tail", "UPDATE_IN_PROGRESS"),
        ("Config", "CREATE_COMPLETE"),
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_screen_fits_and_shows_what_is_under_way_first(width: int) -> None:
    long = [event(9, f"{number:02d}" + "x" * 100, "CREATE_IN_PROGRESS") for number in range(20)]
    console = Console(width=width, record=True, file=io.StringIO())
    stacks = [stack_progress("shop-test-Fleet", "UPDATE_IN_PROGRESS", EVENTS), stack_progress("other", "X", long)]

    console.print(deployment_screen(stacks, width, START + timedelta(seconds=61)))

    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= width
    assert lines[1].split() == ["~", "SageMaker::Endpoint", "Tail", "52", "s"]
    assert lines[2].split()[0] == "ok"
    assert lines[-1].strip() == "and 12 more under way"

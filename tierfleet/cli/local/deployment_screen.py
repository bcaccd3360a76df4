"""The resources of a fleet's stacks while they are deployed into the local emulator, drawn again and again."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tierfleet.cli.console import out
from tierfleet.columns import shortened
from tierfleet.config import FleetConfig

if TYPE_CHECKING:
    from local_cloud import LocalCloud

_LOOKED_EVERY_SECONDS = 0.5
# A local emulator that hangs must not hold the command that waits for the last look.
_LAST_LOOK_SECONDS = 2.0
_MOST_ROWS = 8
_STACK = "AWS::CloudFormation::Stack"


@dataclass(frozen=True)
class ResourceProgress:
    """One resource in the running operation of its stack; since: when its last event happened."""

    logical_id: str
    resource_type: str
    status: str
    since: datetime


@dataclass(frozen=True)
class StackProgress:
    """One stack in its running operation; its resources are in the order of their last events, the newest first."""

    name: str
    status: str
    resources: tuple[ResourceProgress, ...]


@contextmanager
def watching_stacks(cloud: "LocalCloud", fleet: FleetConfig) -> Iterator[None]:
    """Draw the stacks that are being deployed until the block ends. Draw nothing if the output is not a terminal."""
    if not out.is_terminal:
        yield
        return
    screen = _Screen(cloud, fleet)
    with Live(console=out, get_renderable=screen.render, refresh_per_second=8, transient=True):
        looker = threading.Thread(target=screen.look_until_ended, daemon=True)
        looker.start()
        try:
            yield
        finally:
            screen.ended.set()
            looker.join(_LAST_LOOK_SECONDS)


def stack_progress(name: str, status: str, events: Sequence[Mapping[str, Any]]) -> StackProgress:
    """A stack from its events as DescribeStackEvents lists them, the newest first: those of the last operation."""
    resources: dict[str, ResourceProgress] = {}
    for event in events:
        if event["ResourceType"] == _STACK and event["LogicalResourceId"] == name:
            if event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"):
                break
            continue
        logical_id = event["LogicalResourceId"]
        if logical_id not in resources:
            resources[logical_id] = ResourceProgress(
                logical_id, event["ResourceType"], event["ResourceStatus"], event["Timestamp"]
            )
    return StackProgress(name, status, tuple(resources.values()))


def deployment_screen(stacks: Sequence[StackProgress], width: int, now: datetime | None = None) -> RenderableType:
    """Each stack with what is under way and what has just been completed, in lines of at most `width` characters."""
    lines: list[RenderableType] = []
    for stack in stacks:
        under_way = [row for row in stack.resources if row.status.endswith("_IN_PROGRESS")]
        ended = [row for row in stack.resources if not row.status.endswith("_IN_PROGRESS")]
        count = f"{len(ended)} resource{'' if len(ended) == 1 else 's'} done"
        name = shortened(stack.name, width - len(f"  {stack.status}  {count}"))
        lines.append(Text.assemble((name, "bold"), f"  {stack.status}  ", (count, "dim"), no_wrap=True))
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(no_wrap=True, min_width=4)
        rows.add_column(no_wrap=True, min_width=24)
        rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        rows.add_column(no_wrap=True, justify="right", min_width=5)
        for row in [*under_way, *ended][:_MOST_ROWS]:
            rows.add_row(*_cells(row, now))
        lines.append(rows)
        if len(under_way) > _MOST_ROWS:
            lines.append(Text(f"    and {len(under_way) - _MOST_ROWS} more under way", "dim"))
    return Group(*lines)


def _cells(row: ResourceProgress, now: datetime | None) -> tuple[Text, Text, Text, Text]:
    kind, seconds = row.resource_type.removeprefix("AWS::"), ""
    if row.status.endswith("_IN_PROGRESS"):
        style, mark = "", "  ~"
        seconds = f"{max(0.0, ((now or datetime.now(row.since.tzinfo)) - row.since).total_seconds()):.0f} s"
    elif row.status.endswith("_FAILED"):
        style, mark = "red", "  x"
    else:
        style, mark = "dim", "  ok"
    return Text(mark, style), Text(kind, style), Text(row.logical_id, style), Text(seconds, style)


class _Screen:
    def __init__(self, cloud: "LocalCloud", fleet: FleetConfig) -> None:
        self._client: Any = cloud.client("cloudformation", fleet.account, region=fleet.region)
        self._names = {f"{fleet.fleet}-{fleet.environment}-{stack}" for stack in ("Models", "Fleet")}
        self._started = time.monotonic()
        self._stacks: list[StackProgress] = []
        self._spinner = Spinner("line")
        self.ended = threading.Event()

    def look_until_ended(self) -> None:
        while not self.ended.wait(_LOOKED_EVERY_SECONDS):
            # The list is a convenience: what fails here fails in the deployment too, which says so.
            with suppress(BotoCoreError, ClientError, OSError):
                self._stacks = list(self._look())

    def render(self) -> RenderableType:
        self._spinner.update(text=Text(f"{time.monotonic() - self._started:.0f} s", "dim"))
        return Group(deployment_screen(self._stacks, out.width), self._spinner)

    def _look(self) -> Iterator[StackProgress]:
        """The stacks under way: the two of the fleet, and its nested ones, which have the name of theirs in front."""
        for stack in self._client.describe_stacks()["Stacks"]:
            name, status = stack["StackName"], stack["StackStatus"]
            ours = name in self._names or any(name.startswith(f"{above}-") for above in self._names)
            if ours and not status.endswith(("_COMPLETE", "_FAILED")):
                pages = self._client.get_paginator("describe_stack_events").paginate(StackName=name)
                yield stack_progress(name, status, [event for page in pages for event in page["StackEvents"]])

"""What a person watches: a fleet in the local emulator as tables, from the data of `tierfleet.local.status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tierfleet.cli.local.alarm_lines import alarm_lines
from tierfleet.columns import fitting, shortened

if TYPE_CHECKING:
    from tierfleet.local.drive import DriveSummary
    from tierfleet.local.status import EndpointStatus, ErrorStatus, FleetStatus, InstanceStatus

_BAR_WIDTH = 8
# From this width on there is a table with bars.
_WIDE = 116
# Headings and widths of an instance's line on a narrower terminal.
_NARROW = {
    "": 6,
    "status": 14,
    "req/s": 5,
    "hits": 6,
    "models": 6,
    "disk": 4,
    "memory MiB": 13,
    "wait p95": 9,
    "CPU": 5,
}
_GOOD_STATUSES = ("InService", "CREATE_COMPLETE", "UPDATE_COMPLETE")


def fleet_screen(
    status: "FleetStatus",
    instances: "Sequence[InstanceStatus]",
    driven: "DriveSummary | None" = None,
    errors: "Sequence[ErrorStatus]" = (),
) -> RenderableType:
    """Stacks, endpoints with their instances, alarms, errors, routes; what a driver saw comes last. Fits 80 columns."""
    return _FleetScreen(status, instances, driven, errors)


@dataclass(frozen=True)
class _FleetScreen:
    status: "FleetStatus"
    instances: "Sequence[InstanceStatus]"
    driven: "DriveSummary | None"
    errors: "Sequence[ErrorStatus]"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _stacks(self.status, options.max_width)
        yield ""
        if options.max_width >= _WIDE:
            yield _endpoints(self.status, self.instances)
        else:
            yield from _narrow_endpoints(self.status, self.instances, options.max_width)
        yield ""
        yield alarm_lines(self.status.red_alarms, self.status.alarm_descriptions, options.max_width)
        if self.errors:
            yield from _told(self.errors)
        yield from _routes(self.status, options.max_width)
        if abs(self.status.clock_ahead_seconds) >= 1:
            yield from _clock(self.status.clock_ahead_seconds, options.max_width)
        if self.driven is not None:
            yield ""
            yield traffic_table(self.driven)
            yield from error_lines(self.driven)


def _stacks(status: "FleetStatus", width: int) -> Iterator[Text]:
    """All of them on one line, or one on each where they do not fit."""
    if not status.stacks:
        yield Text("no stack is deployed", "bold")
        return
    one_line = sum(len(f"{name} {state}  ") for name, state in status.stacks.items()) - 2 <= width
    stacks = [
        Text.assemble((shortened(name, width - len(state) - 1), "bold"), " ", (state, _colour(state)))
        for name, state in status.stacks.items()
    ]
    if one_line:
        yield Text("  ").join(stacks)
    else:
        yield from stacks


def error_lines(driven: "DriveSummary") -> Iterator[Text]:
    """How often each kind of error was seen, and how often a second."""
    for kind, count in sorted(driven.errors.items(), key=lambda item: -item[1]):
        rate = count / driven.seconds if driven.seconds else 0.0
        yield Text(f"{count:,} {kind} ({rate:.2g} a second)", "red")


def _told(errors: "Sequence[ErrorStatus]") -> Iterator[Text]:
    """Each class of error that callers were told since the local emulator started, and how often a second now."""
    for number, error in enumerate(errors):
        rate = f" ({error.per_second:.2g} a second)" if error.per_second is not None else ""
        line = Text("errors  " if number == 0 else "        ", "bold", no_wrap=True, overflow="ellipsis")
        line.append(f"{error.count:,} {error.kind}{rate}", "not bold red" if error.per_second != 0 else "not bold")
        yield line.append(f"  {error.endpoint.split('--', 2)[-1]}", "not bold")


def traffic_table(driven: "DriveSummary") -> Table:
    """Requests and latency by tier, as the callers saw them."""
    table = Table(box=SIMPLE_HEAD, title=f"callers, {driven.seconds:.0f} s", title_justify="left", pad_edge=False)
    table.add_column("tier")
    for name in ("tenants", "requests", "failed", "p50 ms", "p99 ms", "slowest ms"):
        table.add_column(name, justify="right")
    for tier in driven.tiers:
        latencies = (tier.p50_milliseconds, tier.p99_milliseconds, tier.slowest_milliseconds)
        table.add_row(
            tier.tier,
            f"{tier.tenants}",
            f"{tier.requests:,}",
            Text(f"{tier.failed}", style="red" if tier.failed else ""),
            *(f"{latency:.1f}" for latency in latencies),
        )
    return table


def _endpoints(status: "FleetStatus", instances: "Sequence[InstanceStatus]") -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("endpoint, instance", no_wrap=True)
    table.add_column("status", no_wrap=True, min_width=18)
    for name, width in (("req/s", 5), ("hits", 6), ("models", 6), ("disk", 4)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("memory MiB", no_wrap=True, min_width=16)
    for name, width in (("wait p95", 8), ("CPU", 5)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for endpoint in status.endpoints:
        table.add_row(f"[bold]{_short(endpoint)}[/]", _state(endpoint))
        for instance in instances:
            if instance.endpoint == endpoint.name:
                table.add_row(*_instance(instance))
    return table


def _narrow_endpoints(
    status: "FleetStatus", instances: "Sequence[InstanceStatus]", width: int
) -> Iterator[RenderableType]:
    """The same for 80 columns: each endpoint on a line of its own, its instances below it without the bar."""
    yield _narrow_table([Text(heading, "dim") for heading in _NARROW])
    for endpoint in status.endpoints:
        state = Text.from_markup(_state(endpoint))
        yield Text.assemble((shortened(_short(endpoint), width - state.cell_len - 2), "bold"), "  ", state)
        for instance in instances:
            if instance.endpoint == endpoint.name:
                cells = _instance(instance)
                cells[6] = _memory_numbers(instance.memory_used_mib, instance.memory_budget_mib)
                if len(name := f"  {instance.instance}") > _NARROW[""]:
                    # Of a container, as i-5/features.
                    yield Text(shortened(name, width))
                    cells[0] = ""
                yield _narrow_table(cells)


def _narrow_table(cells: "Sequence[RenderableType]") -> Table:
    """One row: tables of fixed widths stay below each other whatever is between them."""
    table = Table.grid(padding=(0, 1))
    for number, width in enumerate(_NARROW.values()):
        table.add_column(justify="left" if number < 2 else "right", no_wrap=True, width=width, overflow="ellipsis")
    table.add_row(*cells)
    return table


def _short(endpoint: "EndpointStatus") -> str:
    """Every name begins with fleet and environment, which the first line has said."""
    return endpoint.name.split("--", 2)[-1]


def _state(endpoint: "EndpointStatus") -> str:
    bounds = f" of {endpoint.min_instances}-{endpoint.max_instances}" if endpoint.max_instances else ""
    return f"{_status(endpoint.status)} [dim]{endpoint.instances}{bounds}[/]"


def _instance(instance: "InstanceStatus") -> list[RenderableType]:
    moves = (
        "leaving" if instance.retiring else f"{instance.traffic_percent} %" if instance.traffic_percent < 100 else ""
    )
    return [
        f"  {instance.instance}",
        Text.from_markup(f"{_status(instance.status)} [yellow]{moves}[/]"),
        "" if instance.requests_per_second is None else f"{instance.requests_per_second:,.0f}",
        "" if instance.hit_ratio is None else f"{instance.hit_ratio:.1%}",
        f"{instance.loaded_models}" if instance.shared else "",
        f"{instance.disk_models}" if instance.shared else "",
        _memory(instance.memory_used_mib, instance.memory_budget_mib),
        "" if instance.load_wait_p95_milliseconds is None else f"{instance.load_wait_p95_milliseconds:.0f} ms",
        f"{instance.cpu_percent:.0f} %",
    ]


def _memory(used_mib: float | None, budget_mib: float) -> Text:
    if used_mib is None:
        return Text("")
    full = min(_BAR_WIDTH, round(_BAR_WIDTH * used_mib / budget_mib))
    bar = Text("█" * full, style="cyan")
    bar.append("░" * (_BAR_WIDTH - full), style="dim")
    return bar.append(f" {_memory_numbers(used_mib, budget_mib)}")


def _memory_numbers(used_mib: float | None, budget_mib: float) -> str:
    decimals = 0 if budget_mib >= 10 else 1
    return "" if used_mib is None else f"{used_mib:,.{decimals}f}/{budget_mib:,.{decimals}f}"


def _routes(status: "FleetStatus", width: int) -> Iterator[Text]:
    """A line for each route. The endpoint loses its middle where both do not fit, and only then the tenant."""
    if not status.routes:
        yield Text.assemble(("routes  ", "bold"), "none are deployed")
    for number, (who, endpoint) in enumerate(status.routes.items()):
        name, room = endpoint.split("--", 2)[-1], width - len("routes   → ")
        of_who, of_name = fitting(fitting([len(who), len(name)], room, (1,)), room, (0,))
        line = Text("routes  " if number == 0 else "        ", "bold", no_wrap=True, overflow="ellipsis")
        yield line.append_text(
            Text.assemble(
                (shortened(who, of_who), "not bold"), (" → ", "not bold dim"), (shortened(name, of_name), "not bold")
            )
        )


def _clock(ahead_seconds: float, width: int) -> Iterator[Text]:
    """Metrics are dated by a clock that was moved, so `date` does not say when they were. The command is not broken."""
    seconds = round(ahead_seconds)
    apart = f"{timedelta(seconds=abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} this machine's; its now is"
    command = f"$(date -u -d '{seconds:+} seconds' +%FT%TZ)"
    lines = [f"{apart} {command}"] if len(f"clock   {apart} {command}") <= width else [apart, command]
    for number, line in enumerate(lines):
        yield Text.assemble(("clock   " if number == 0 else "        ", "yellow"), line)


def _status(word: str) -> str:
    return f"[{_colour(word)}]{word}[/]"


def _colour(status: str) -> str:
    return "green" if status in _GOOD_STATUSES else "yellow"

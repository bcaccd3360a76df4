"""What a person watches: a fleet in the stand-in as tables, from the data of `local_cloud.fleet_status`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from local_cloud.drive import DriveSummary
    from local_cloud.fleet_status import FleetStatus, InstanceStatus

_BAR_WIDTH = 8
_GOOD_STATUSES = ("InService", "CREATE_COMPLETE", "UPDATE_COMPLETE")


def fleet_screen(
    status: "FleetStatus", instances: "Sequence[InstanceStatus]", driven: "DriveSummary | None" = None
) -> RenderableType:
    """Stacks, endpoints with their instances, alarms and routes; what a driver saw comes last."""
    stacks = "  ".join(f"{name} {_status(state)}" for name, state in status.stacks.items()) or "no stack is deployed"
    parts: list[RenderableType] = [Text.from_markup(f"[bold]{stacks}[/]"), "", _endpoints(status, instances), ""]
    parts.append(_alarms(status))
    parts.append(Text.from_markup(_routes(status)))
    if abs(status.clock_ahead_seconds) >= 1:
        parts.append(_clock(status.clock_ahead_seconds))
    if driven is not None:
        parts += ["", traffic_table(driven)]
    return Group(*parts)


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
        bounds = f" of {endpoint.min_instances}-{endpoint.max_instances}" if endpoint.max_instances else ""
        # Every name begins with fleet and environment, which the first line has said.
        name = endpoint.name.split("--", 2)[-1]
        table.add_row(f"[bold]{name}[/]", f"{_status(endpoint.status)} [dim]{endpoint.instances}{bounds}[/]")
        for instance in instances:
            if instance.endpoint == endpoint.name:
                table.add_row(*_instance(instance))
    return table


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
    decimals = 0 if budget_mib >= 10 else 1
    bar = Text("█" * full, style="cyan")
    bar.append("░" * (_BAR_WIDTH - full), style="dim")
    return bar.append(f" {used_mib:,.{decimals}f}/{budget_mib:,.{decimals}f}")


def _alarms(status: "FleetStatus") -> Text:
    """The red ones, a line each. Those of target tracking are its means of scaling, red when an endpoint is idle."""
    red = [name for name in status.red_alarms if not name.startswith("TargetTracking-")]
    tracking = len(status.red_alarms) - len(red)
    heading = "[bold red]alarms[/]  " if red else "[green]alarms[/]  none is red"
    line = heading + "\n        ".join(red)
    return Text.from_markup(line + (f" [dim](and {tracking} by which target tracking scales)[/]" if tracking else ""))


def _routes(status: "FleetStatus") -> str:
    moved = [f"{who} [dim]→[/] {endpoint.split('--', 2)[-1]}" for who, endpoint in status.routes.items()]
    return "[bold]routes[/]  " + ("\n        ".join(moved) or "none are deployed")


def _clock(ahead_seconds: float) -> Text:
    """Metrics lie on a clock that was moved: what `date` says is not when they are."""
    seconds = round(ahead_seconds)
    apart = f"{timedelta(seconds=abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"
    line = Text("clock   ", style="yellow")
    return line.append(f"{apart} this machine's; its now is $(date -u -d '{seconds:+} seconds' +%FT%TZ)", style="")


def _status(word: str) -> str:
    return f"[{'green' if word in _GOOD_STATUSES else 'yellow'}]{word}[/]"

"""A replay as text: each endpoint with its shares, a sparkline and a table of its days or hours, 80 columns wide."""

from collections.abc import Callable, Sequence
from typing import Final

from tierfleet.planning.replay.outcome import Endpoint, Replay, Served
from tierfleet.planning.replay.timeline import MOST_ROWS, timeline, together
from tierfleet.text import counted, days, duration, milliseconds, percent, points, wrapped

_BARS: Final = "▁▂▃▄▅▆▇█"
_SPARK_COLUMNS: Final = 60
_WORST_TENANTS: Final = 5
_DEDICATED_SHOWN: Final = 12


def replay_text(replay: Replay, width: int | None) -> str:
    """Plain text. width: columns of the terminal; None: lines of any length."""
    lines = [
        f"{replay.fleet}: {replay.calls:,} calls of {replay.source}, {_moment(replay.begins)} to "
        f"{_moment(replay.ends)} UTC ({days(replay.days)}), container profile {replay.profile}",
        f"required: {replay.requirements}; {points(replay.outside_share)} of the calls were slower",
        kept_text(replay),
    ]
    dedicated = [endpoint for endpoint in replay.endpoints if endpoint.tenant is not None]
    for endpoint in replay.endpoints:
        if endpoint.tenant is None:
            lines += ["", *_shared(endpoint)]
    if dedicated:
        lines += ["", *_dedicated(dedicated)]
    if replay.notices:
        lines += ["", *(f"note: {notice}" for notice in replay.notices)]
    return "\n".join(wrapped(lines, width))


def kept_text(replay: Replay) -> str:
    """Whether the requirements were kept, and which were not."""
    return f"requirements not kept: {'; '.join(replay.misses)}" if replay.misses else "all requirements were kept"


def _moment(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _shared(endpoint: Endpoint) -> list[str]:
    served = endpoint.served
    lines = [
        f"{endpoint.tier}: {instances_text(endpoint)}",
        f"  in memory {points(served.hit_ratio)}, waits for a running load "
        f"{_share(served.waited_for_running_load, served)}, from disk {_share(served.from_disk, served)}, "
        f"from S3 {_share(served.from_s3, served)}",
    ]
    if endpoint.load_p95_seconds is not None and endpoint.load_p50_seconds is not None:
        lines.append(
            f"  calls that wait: p50 {duration(endpoint.load_p50_seconds)}, p95 {duration(endpoint.load_p95_seconds)}; "
            f"longest wait {duration(served.longest_wait_seconds)}; "
            f"others p95 {milliseconds(endpoint.warm_p95_seconds)}"
        )
    lines.append(
        f"  outside what is required {points(served.outside / max(served.calls, 1))}; "
        f"{counted(endpoint.unloads, 'model')} unloaded"
    )
    lines += _sparklines(endpoint)
    lines += ["", *_timeline(endpoint)]
    worst = [tenant for tenant in endpoint.tenants[:_WORST_TENANTS] if tenant.served.outside >= 1]
    if worst:
        lines += ["", "  tenants with most calls outside:"]
        for tenant in worst:
            one = tenant.served
            lines.append(
                f"    {tenant.tenant}: {one.outside:,.0f} of {one.calls:,}, in memory {points(one.hit_ratio)}, "
                f"longest wait {duration(one.longest_wait_seconds)}"
            )
    return lines


def instances_text(endpoint: Endpoint) -> str:
    """Count and type of the instances, how often they scaled, and their hours."""
    counts = [count for _, count in endpoint.instances]
    low, high = min(counts), max(counts)
    span = f"{low}" if low == high else f"{low} to {high}"
    changes = len(counts) - 1
    scaled = f"scaled {counted(changes, 'time')}" if changes else "never scaled"
    at_most = f", at its upper bound of {endpoint.most_allowed}" if changes and high == endpoint.most_allowed else ""
    return f"{span} x {endpoint.instance_type}, {scaled}{at_most}, {endpoint.instance_hours:,.0f} instance hours"


def _share(calls: int, served: Served) -> str:
    return points(calls / max(served.calls, 1))


def _sparklines(endpoint: Endpoint) -> list[str]:
    """Of the whole time: calls, hit ratio and the share outside, each scaled from its least to its greatest."""
    group = max(-(-len(endpoint.hours) // _SPARK_COLUMNS), 1)
    parts = [together(endpoint.hours[start : start + group]) for start in range(0, len(endpoint.hours), group)]
    if len(parts) < 2:
        return []
    rows: list[tuple[str, Callable[[Served], float], Callable[[float], str]]] = [
        ("calls", lambda part: part.calls, lambda value: f"{value:,.0f}"),
        ("in memory", lambda part: part.hit_ratio, points),
        ("outside", lambda part: part.outside / max(part.calls, 1), points),
    ]
    lines = []
    for name, of, written in rows:
        values = [of(part) for part in parts]
        low, high = min(values), max(values)
        if written(low) == written(high):
            continue
        scale = (len(_BARS) - 1) / (high - low)
        bars = "".join(_BARS[round((value - low) * scale)] for value in values)
        lines.append(f"  {name:<10}{bars}")
        lines.append(f"  {'':<10}{written(low)} to {written(high)}")
    return lines


def _timeline(endpoint: Endpoint) -> list[str]:
    unit, rows = timeline(endpoint)
    shares = f"{'memory':>7} {'wait':>6} {'disk':>6} {'S3':>6} {'outside':>7}"
    lines = [f"  {unit:<13} {'calls':>9} {shares} {'longest':>7} {'inst.':>5}"]
    for row in rows[:MOST_ROWS]:
        total = row.served
        parts = (total.waited_for_running_load, total.from_disk, total.from_s3, total.outside)
        wait, disk, s3, outside = (f"{100 * part / max(total.calls, 1):.1f}" for part in parts)
        memory = f"{100 * total.hit_ratio:.1f}" if total.calls else ""
        lines.append(
            f"  {row.name:<13} {total.calls:>9,} {memory:>7} {wait:>6} {disk:>6} {s3:>6} {outside:>7} "
            f"{duration(total.longest_wait_seconds):>7} {row.instances:>5.3g}"
        )
    if len(rows) > MOST_ROWS:
        lines.append(f"  and {len(rows) - MOST_ROWS} more; --json has every hour")
    lines.append("  shares in %; times are UTC")
    return lines


def _dedicated(endpoints: Sequence[Endpoint]) -> list[str]:
    lines = ["dedicated endpoints: every call finds its model in memory"]
    for endpoint in endpoints[:_DEDICATED_SHOWN]:
        served = endpoint.served
        outside = percent(served.outside / max(served.calls, 1))
        lines.append(f"  {endpoint.tenant}: {served.calls:,} calls, {instances_text(endpoint)}, {outside} outside")
    if len(endpoints) > _DEDICATED_SHOWN:
        lines.append(f"  and {len(endpoints) - _DEDICATED_SHOWN} more; --json has all")
    return lines

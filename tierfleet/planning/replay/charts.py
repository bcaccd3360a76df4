"""The charts of a replay's report: one shared tier over time."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator, NullFormatter

from tierfleet.planning.replay.outcome import Endpoint, Served
from tierfleet.planning.replay.timeline import Row, rows_of_hours
from tierfleet.planning.report.svg import (
    COUNT,
    GREEN,
    GREY,
    ORANGE,
    PERCENT,
    RED,
    SECONDS,
    SKY,
    Chart,
    svg_of,
)
from tierfleet.text import counted, duration, percent, points

# Hours are put together until there are at most this many steps.
_MOST_STEPS: Final = 240
# A logarithmic axis for waits that differ by more than this factor.
_LOG_FROM: Final = 20.0
# Where each call found its model: the name, the colour, and the number.
_OUTCOMES: Final[tuple[tuple[str, str, Callable[[Served], int]], ...]] = (
    ("in memory", SKY, lambda served: served.in_memory),
    ("waits for a running load", ORANGE, lambda served: served.waited_for_running_load),
    ("from disk", GREEN, lambda served: served.from_disk),
    ("from S3", RED, lambda served: served.from_s3),
)


def shared_tier_charts(endpoint: Endpoint, cold_limit_seconds: float | None) -> list[Chart]:
    """Calls by outcome, calls slower than required, longest waits, instances. cold_limit_seconds: as required."""
    hours = -(-len(endpoint.hours) // _MOST_STEPS)
    rows = rows_of_hours(endpoint, hours)
    step = "hour" if hours == 1 else counted(hours, "hour")
    return [
        _calls(endpoint, rows, hours, step),
        _outside(endpoint, rows, step),
        _waits(endpoint, rows, step, cold_limit_seconds),
        _instances(endpoint),
    ]


def _calls(endpoint: Endpoint, rows: Sequence[Row], hours: int, step: str) -> Chart:
    def draw(axes: Axes) -> None:
        edges, layers = _edges(endpoint, rows), []
        for _, _, of in _OUTCOMES:
            values = [of(row.served) / hours for row in rows]
            layers.append([*values, values[-1]])
        names, colours = [name for name, _, _ in _OUTCOMES], [colour for _, colour, _ in _OUTCOMES]
        axes.stackplot(edges, *layers, labels=names, colors=colours, step="post")
        _time_axis(axes, edges)
        axes.set_ylim(0)
        axes.yaxis.set_major_formatter(COUNT)
        axes.set_ylabel("calls an hour")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    most = max(rows, key=lambda row: row.served.calls)
    served = endpoint.served
    listed = ", ".join(f"{name} {points(of(served) / max(served.calls, 1))}" for name, _, of in _OUTCOMES)
    alt = (
        f"Area chart of calls an hour of {endpoint.tier}, a step a {step}, by where the model was: {listed}. Most "
        f"calls at {most.name} UTC: {most.served.calls / hours:,.0f} an hour."
    )
    return Chart(
        f"Calls an hour of {endpoint.tier}, by where their model was", svg_of(_id(endpoint, "calls"), alt, draw)
    )


def _outside(endpoint: Endpoint, rows: Sequence[Row], step: str) -> Chart:
    shares = [row.served.outside / max(row.served.calls, 1) for row in rows]
    cold = [1 - row.served.hit_ratio for row in rows]

    def draw(axes: Axes) -> None:
        edges = _edges(endpoint, rows)
        axes.stairs(cold, edges, color=GREY, linewidth=1.2, label="calls that wait for a load", baseline=None)
        axes.stairs(shares, edges, color=RED, fill=True, label="calls slower than required")
        _time_axis(axes, edges)
        axes.set_ylim(0, max(*cold, *shares, 0.05) * 1.05)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_ylabel("share of the calls")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    worst = max(range(len(rows)), key=shares.__getitem__)
    alt = (
        f"Step chart of the share of the calls of {endpoint.tier} slower than required, a step a {step}: "
        f"{percent(endpoint.served.outside / max(endpoint.served.calls, 1))} of all, most at {rows[worst].name} UTC: "
        f"{percent(shares[worst])}. {percent(1 - endpoint.served.hit_ratio)} of all calls wait for a load."
    )
    return Chart("Calls that wait, and calls slower than required", svg_of(_id(endpoint, "outside"), alt, draw))


def _waits(endpoint: Endpoint, rows: Sequence[Row], step: str, limit: float | None) -> Chart:
    longest = [row.served.longest_wait_seconds for row in rows]
    known = [seconds for seconds in longest if seconds > 0]

    def draw(axes: Axes) -> None:
        edges = _edges(endpoint, rows)
        axes.stairs([seconds or math.nan for seconds in longest], edges, color=ORANGE, linewidth=1.5, baseline=None)
        if limit is not None:
            axes.axhline(limit, color=RED, linewidth=0.9, linestyle="--", label="cold p95 required")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
        shown = [*known, *([] if limit is None else [limit])] or [1.0]
        if max(shown) > _LOG_FROM * min(shown):
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(min(shown) / 2, max(shown) * 2)
        else:
            axes.set_ylim(0, max(shown) * 1.1)
        axes.yaxis.set_major_formatter(SECONDS)
        _time_axis(axes, edges)
        axes.set_ylabel("longest wait for a load")

    required = "" if limit is None else f" The required cold p95 is {duration(limit)}."
    if known:
        worst = max(range(len(rows)), key=longest.__getitem__)
        alt = f"longest {duration(longest[worst])} at {rows[worst].name} UTC, least {duration(min(known))}"
    else:
        alt = "0 calls waited"
    return Chart(
        "Longest wait for a load",
        svg_of(
            _id(endpoint, "waits"),
            f"Step chart of the longest wait for a load on {endpoint.tier}, a step a {step}: {alt}.{required}",
            draw,
        ),
    )


def _instances(endpoint: Endpoint) -> Chart:
    counts = [count for _, count in endpoint.instances]

    def draw(axes: Axes) -> None:
        end = _edges(endpoint, ())[-1]
        axes.stairs(
            counts, [*(_moment(begins) for begins, _ in endpoint.instances), end], color=GREEN, fill=True, alpha=0.6
        )
        _time_axis(axes, [_moment(endpoint.hours[0].begins), end])
        axes.set_ylim(0, max(counts) + 1)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_ylabel("instances in service")

    changes = len(counts) - 1
    alt = (
        f"Step chart of the instances of {endpoint.tier} in service: {min(counts)} to {max(counts)} "
        f"{endpoint.instance_type}, {counted(changes, 'change')}, {endpoint.instance_hours:,.0f} instance hours in all."
    )
    return Chart("Instances in service", svg_of(_id(endpoint, "instances"), alt, draw))


def _id(endpoint: Endpoint, name: str) -> str:
    """Unique on a page with several tiers."""
    return f"{endpoint.tier}-{name}"


def _moment(iso: str) -> datetime:
    return datetime.fromisoformat(iso).astimezone(UTC)


def _edges(endpoint: Endpoint, rows: Sequence[Row]) -> list[Any]:
    """Where each row begins, and where the last one ends."""
    end = _moment(endpoint.hours[-1].begins) + timedelta(hours=1)
    return [*(datetime.strptime(row.name, "%Y-%m-%d %H").replace(tzinfo=UTC) for row in rows), end]


def _time_axis(axes: Axes, edges: Sequence[Any]) -> None:
    axes.set_xlim(edges[0], edges[-1])
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time (UTC)")

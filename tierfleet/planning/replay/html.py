"""A replay, and a backtest, as one HTML page without network and scripts: like a plan's report."""

from collections.abc import Iterator, Sequence
from html import escape

from tierfleet.planning.replay.backtest import Backtest
from tierfleet.planning.replay.backtest_text import figure_text, planned_text
from tierfleet.planning.replay.charts import shared_tier_charts
from tierfleet.planning.replay.outcome import Endpoint, Replay, Served
from tierfleet.planning.replay.text import instances_text, kept_text
from tierfleet.planning.replay.timeline import timeline
from tierfleet.planning.report.page import answer_box, bullets, figure_grid, figures, page, sentence
from tierfleet.planning.report.tables import MEETS, MISSES, table
from tierfleet.planning.search.requirements import Requirements
from tierfleet.text import counted, days, duration, milliseconds, points

_MOST_TENANTS = 40
_MOST_DEDICATED = 40
_MOST_ROWS = 60


def replay_html(replay: Replay, required: Requirements, tool_version: str) -> str:
    """The page of a replay. required: what its calls were held to."""
    return page(f"Replay on {replay.fleet}", _replay(replay, required, tool_version))


def backtest_html(backtest: Backtest, required: Requirements, tool_version: str) -> str:
    """The page of a backtest: planned next to what happened, then the replay of the rest."""
    return page(f"Backtest of a plan of {backtest.rest.fleet}", _backtest(backtest, required, tool_version))


def _replay(replay: Replay, required: Requirements, tool_version: str) -> Iterator[str]:
    yield _about(replay)
    yield answer_box(list(_verdict(replay, tool_version)), good=not replay.misses)
    yield from _endpoints(replay, required)


def _backtest(backtest: Backtest, required: Requirements, tool_version: str) -> Iterator[str]:
    yield _about(backtest.rest)
    planned = f'<p class="soft">{escape(sentence(planned_text(backtest)))}</p>'
    yield answer_box(list(_verdict(backtest.rest, tool_version)), good=not backtest.failures)
    yield "<h2>Planned, and what happened</h2>"
    yield planned
    rows = (
        (one.what, figure_text(one.planned, one.unit), figure_text(one.happened, one.unit))
        for one in backtest.comparisons
    )
    yield table("Planned, and what happened", ("figure", "#planned", "#happened"), rows)
    if backtest.new_tenants:
        share = points(backtest.new_tenants_share)
        yield f"<p>{counted(backtest.new_tenants, 'tenant')} call in the rest only, {share} of its calls.</p>"
    yield from _endpoints(backtest.rest, required)


def _about(replay: Replay) -> str:
    calls = f"{replay.calls:,} calls of {replay.source}, {_moment(replay.begins)} to {_moment(replay.ends)} UTC"
    return f'<p class="soft">{escape(calls)} ({escape(days(replay.days))}).</p>'


def _verdict(replay: Replay, tool_version: str) -> Iterator[str]:
    kind = "good" if not replay.misses else "bad"
    slower = f"{points(replay.outside_share)} of the calls were slower than required"
    yield f"<strong>{escape(sentence(slower))}</strong>"
    yield f'<span class="{kind}">{escape(sentence(kept_text(replay)))}</span>'
    yield escape(f"Required: {replay.requirements}.")
    for endpoint in replay.endpoints:
        if endpoint.tenant is None:
            yield escape(f"{endpoint.tier}: {instances_text(endpoint)}.")
    dedicated = [endpoint for endpoint in replay.endpoints if endpoint.tenant is not None]
    if dedicated:
        hours = sum(endpoint.instance_hours for endpoint in dedicated)
        yield escape(f"{counted(len(dedicated), 'dedicated endpoint')}: {hours:,.0f} instance hours.")
    yield f'<span class="soft">tierfleet {escape(tool_version)}; container profile {escape(replay.profile)}.</span>'


def _endpoints(replay: Replay, required: Requirements) -> Iterator[str]:
    for endpoint in replay.endpoints:
        if endpoint.tenant is None:
            yield from _shared(endpoint, required)
    yield from _dedicated([endpoint for endpoint in replay.endpoints if endpoint.tenant is not None])
    yield from bullets("Notices", replay.notices)


def _shared(endpoint: Endpoint, required: Requirements) -> Iterator[str]:
    served = endpoint.served
    yield f"<h2>Shared tier {escape(endpoint.tier)}</h2>"
    yield figures(
        {
            "calls": f"{served.calls:,}",
            "in memory": points(served.hit_ratio),
            "slower than required": _share(served.outside, served),
            "longest wait": duration(served.longest_wait_seconds),
            "warm p95": milliseconds(endpoint.warm_p95_seconds),
            "cold p95": _time(endpoint.load_p95_seconds) or "next to none",
            "models unloaded": f"{endpoint.unloads:,}",
            "instance hours": f"{endpoint.instance_hours:,.0f}",
        }
    )
    yield figure_grid(shared_tier_charts(endpoint, required.cold_p95_seconds))
    unit, rows = timeline(endpoint)
    yield f"<h2>{escape(endpoint.tier)} over time</h2>"
    columns = (unit, "#calls", *_OUTCOME_COLUMNS, "#longest wait", "#instances")
    lines = (
        (row.name, f"{row.served.calls:,}", *_outcomes(row.served), *_longest(row.served), f"{row.instances:.3g}")
        for row in rows[:_MOST_ROWS]
    )
    yield table(f"{endpoint.tier} over time, UTC", columns, lines)
    more = f" {len(rows) - _MOST_ROWS} more are in the JSON." if len(rows) > _MOST_ROWS else ""
    yield f'<p class="soft">Times are UTC; <em>slower</em> is slower than required.{more}</p>'
    yield f"<h2>Tenants of {escape(endpoint.tier)}</h2>"
    each = (
        (
            one.tenant,
            f"{one.served.calls:,}",
            *_outcomes(one.served),
            *_longest(one.served),
            _wait(one.mean_wait_seconds),
        )
        for one in endpoint.tenants[:_MOST_TENANTS]
    )
    yield table(
        f"Tenants of {endpoint.tier}",
        ("tenant", "#calls", *_OUTCOME_COLUMNS, "#longest wait", "#mean wait"),
        each,
    )
    rest = len(endpoint.tenants) - _MOST_TENANTS
    more = f" {rest:,} more are in the JSON." if rest > 0 else ""
    yield f'<p class="soft">The tenant with most calls slower than required comes first.{more}</p>'


_OUTCOME_COLUMNS = ("#in memory", "#running load", "#disk", "#S3", "#slower")


def _outcomes(served: Served) -> Iterator[str]:
    for part in (served.in_memory, served.waited_for_running_load, served.from_disk, served.from_s3, served.outside):
        yield _share(part, served) if served.calls else ""


def _longest(served: Served) -> Iterator[str]:
    yield _wait(served.longest_wait_seconds)


def _dedicated(endpoints: Sequence[Endpoint]) -> Iterator[str]:
    if not endpoints:
        return
    yield "<h2>Dedicated endpoints</h2>"
    rows = (
        (
            str(endpoint.tenant),
            MEETS if endpoint.served.outside <= 0.01 * endpoint.served.calls else f"{MISSES}p99",
            endpoint.tier,
            f"{endpoint.served.calls:,}",
            instances_text(endpoint),
            _share(endpoint.served.outside, endpoint.served),
        )
        for endpoint in endpoints[:_MOST_DEDICATED]
    )
    yield table("Dedicated endpoints", ("tenant", "verdict", "tier", "#calls", "instances", "#slower"), rows)
    more = f" {len(endpoints) - _MOST_DEDICATED} more are in the JSON." if len(endpoints) > _MOST_DEDICATED else ""
    yield f'<p class="soft">Every call finds its model in memory.{more}</p>'


def _share(part: float, served: Served) -> str:
    return points(part / max(served.calls, 1))


def _wait(seconds: float) -> str:
    return duration(seconds) if seconds else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds)


def _moment(iso: str) -> str:
    return iso[:16].replace("T", " ")

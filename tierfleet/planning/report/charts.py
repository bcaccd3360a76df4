"""The report's charts: small SVGs without scripts, drawn by matplotlib, that a phone and a printer take as they are."""

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from tierfleet.planning.plan import Plan
from tierfleet.planning.search.fleet_option import FleetOption, TierLatency

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#666666"
_SERIES: Final = (_BLUE, _ORANGE, _GREEN, _PURPLE)
_STYLE: Final[Any] = {
    # Text stays text: it can be searched, and the file stays small.
    "svg.fonttype": "none",
    "svg.hashsalt": "tierfleet",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_PERCENT: Final = FuncFormatter(lambda value, _: f"{value * 100:.0f} %")
_SECONDS: Final = FuncFormatter(lambda value, _: f"{value * 1000:g} ms" if value < 1 else f"{value:g} s")
_COUNT: Final = FuncFormatter(lambda value, _: f"{value:,.0f}")
_DOLLARS: Final = FuncFormatter(lambda value, _: f"${value:,.0f}")


def miss_ratio_chart(plan: Plan) -> str:
    """The shared tier as one cache: misses by models in memory, with the bounds, the plan and what was published."""

    def draw(axes: Axes) -> None:
        models = [point.models for point in plan.traffic.curve]
        lru = [1 - point.hit_ratio for point in plan.traffic.curve]
        method = "LRU, from the trace" if plan.traffic.curve[0].lru is not None else "LRU, by approximation"
        axes.plot(models, lru, color=_BLUE, linewidth=2, label=method)
        static = [1 - point.static for point in plan.traffic.curve]
        axes.plot(models, static, color=_GREEN, linestyle="--", label="best fixed set")
        known = [(point.models, 1 - point.belady) for point in plan.traffic.curve if point.belady is not None]
        if known:
            axes.plot(*zip(*known, strict=True), color=_GREY, linestyle=":", label="clairvoyant (no cache beats it)")
        shown = plan.answer.shown
        held = min(shown.models_per_instance * shown.instances, plan.traffic.tail_tenants)
        axes.plot([held], [1 - shown.hit_ratio], "*", color=_RED, markersize=13, label="this plan")
        claimed = [(claim.models, 1 - claim.claimed) for claim in plan.traffic.published if claim.claimed is not None]
        if claimed:
            axes.plot(
                *zip(*claimed, strict=True), "x", color=_ORANGE, markersize=9, markeredgewidth=2.5, label="claimed"
            )
        _log_scale(axes, models, _COUNT)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlabel("models in memory, all instances")
        axes.set_ylabel("calls that load their model")
        # At its place while the curve leaves it free.
        axes.legend(loc="lower left" if lru[0] > 0.5 else "upper right")

    return _svg("miss-ratio curve", draw)


def traffic_chart(plan: Plan) -> str:
    """Calls a second through the day, one layer a tier."""

    def draw(axes: Axes) -> None:
        hours = [*range(24), 24]
        layers = [[*values, values[-1]] for values in plan.traffic.hours_by_tier.values()]
        axes.stackplot(
            hours,
            *layers,
            labels=list(plan.traffic.hours_by_tier),
            colors=_SERIES[: len(layers)],
            step="post",
            alpha=0.85,
        )
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 4))
        axes.set_ylim(0)
        axes.set_xlabel("hour of the day (UTC), mean day")
        axes.set_ylabel("calls a second")
        axes.legend(loc="upper left")

    return _svg("traffic by hour and tier", draw)


def cost_chart(plan: Plan) -> str:
    """Cost against hit ratio: what no other fleet beats in both, by container; the plan, and today."""

    def draw(axes: Axes) -> None:
        prototypes = {found.name for found in plan.search.containers if found.prototype}
        for (name, front), colour in zip(plan.search.fronts.items(), _SERIES, strict=False):
            if front:
                mark = " (PROTOTYPE)" if name in prototypes else ""
                style = ":" if name in prototypes else "-"
                xs, ys = _cost_and_hits(front)
                axes.plot(
                    xs, ys, f"{style}o", color=colour, markersize=4, label=f"{name}{mark}", drawstyle="steps-post"
                )
        axes.plot(*_cost_and_hits((plan.answer.today,)), "s", color=_GREY, markersize=7, label="today")
        label = "this plan" if plan.answer.chosen else "nearest"
        axes.plot(*_cost_and_hits((plan.answer.shown,)), "*", color=_RED, markersize=13, label=label)
        if plan.service_levels.required_usd is not None:
            axes.axvline(plan.service_levels.required_usd, color=_RED, linewidth=0.8, linestyle="--")
        if plan.service_levels.required_hit_ratio is not None:
            axes.axhline(plan.service_levels.required_hit_ratio, color=_RED, linewidth=0.8, linestyle="--")
        axes.xaxis.set_major_formatter(_DOLLARS)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.set_xlim(0)
        axes.set_xlabel("a month, the whole fleet")
        axes.set_ylabel("hit ratio of the shared tier")
        axes.legend(loc="lower right")

    return _svg("cost against hit ratio", draw)


def latency_chart(plan: Plan) -> str:
    """p50, p95 and p99 of each tier by class of call."""
    rows = [
        (f"{times.tier}\n{name}{'' if math.isfinite(found.p99) else ', no end'}", found)
        for times in plan.service_levels.latencies
        for name, found in _classes(times)
    ]
    known = [value for _, found in rows for value in (found.p50, found.p99) if math.isfinite(value)]

    def draw(axes: Axes) -> None:
        for place, (_, found) in enumerate(rows):
            # A queue of loads that never ends has no place on an axis.
            if not math.isfinite(found.p99):
                continue
            axes.plot([found.p50, found.p99], [place, place], color="#bbbbbb", linewidth=2, zorder=1)
            for value, colour, marker in ((found.p50, _BLUE, "o"), (found.p95, _ORANGE, "s"), (found.p99, _RED, "D")):
                axes.plot([value], [place], marker, color=colour, markersize=6)
        for name, colour, marker in (("p50", _BLUE, "o"), ("p95", _ORANGE, "s"), ("p99", _RED, "D")):
            axes.plot([], [], marker, color=colour, label=name)
        _log_scale(axes, known, _SECONDS)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("call time, as callers see it")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=3)

    return _svg("latency percentiles", draw)


def _classes(times: TierLatency) -> list[tuple[str, Any]]:
    found = [("warm", times.warm)]
    if times.loads is not None:
        found += [("cold", times.loads), ("all calls", times.every)]
    return found


def _cost_and_hits(options: tuple[FleetOption, ...]) -> tuple[list[float], list[float]]:
    return [option.usd for option in options], [option.hit_ratio for option in options]


def _log_scale(axes: Axes, values: Sequence[float], formatter: FuncFormatter) -> None:
    """With labels enough for a short range, and not too many for a long one."""
    wide = max(values) / min(values)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide < 100 else (1, 3) if wide < 1e4 else (1,)))
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.set_minor_locator(NullLocator())


def _svg(name: str, draw: Callable[[Axes], None]) -> str:
    """Narrow, so that the letters stay legible on a phone."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.7), layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return _own_ids(svg, name.replace(" ", "-")).replace(
        "<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1
    )


def _own_ids(svg: str, prefix: str) -> str:
    """Several charts share a page: ids that nothing refers to go, the others get the chart's name."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", svg)

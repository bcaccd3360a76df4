"""The charts of a plan's report."""

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tierfleet.planning.plan import Plan
from tierfleet.planning.report.svg import (
    BLUE,
    COUNT,
    DOLLARS,
    GREEN,
    GREY,
    ORANGE,
    PERCENT,
    PURPLE,
    RED,
    SECONDS,
    SKY,
    Chart,
    log_scale,
    svg_of,
)
from tierfleet.planning.report.text import latency_text, option_text
from tierfleet.planning.search.fleet_option import FleetOption, Percentiles, TierLatency
from tierfleet.text import a_second, percent

_LAYERS: Final = (BLUE, ORANGE)
# A container has the same colour in all reports, whichever one is planned; containers of the user's own get the rest.
_SHIPPED: Final = {"stock": BLUE, "tierfleet": ORANGE, "booster": GREEN}
_OTHERS: Final = (PURPLE, SKY, "#a6761d", "#000000")


def charts(plan: Plan) -> list[Chart]:
    """The charts that the plan has data for."""
    drawn = [_miss_ratio_chart(plan)] if plan.traffic.curve else []
    drawn += [_cost_chart(plan), _traffic_chart(plan)]
    return [*drawn, _latency_chart(plan)] if plan.service_levels.latencies else drawn


def _miss_ratio_chart(plan: Plan) -> Chart:
    """The shared tier as one cache: misses by models in memory, with bounds, the plan and published ratios."""
    curve, held = plan.traffic.curve, max(plan.traffic.models_in_memory, 1)
    loads = 1 - plan.answer.shown.hit_ratio

    def draw(axes: Axes) -> None:
        models = [point.models for point in curve]
        lru = [1 - point.hit_ratio for point in curve]
        method = "LRU, from the trace" if curve[0].lru is not None else "LRU, by approximation"
        axes.plot(models, lru, color=BLUE, linewidth=2, label=method)
        axes.plot(models, [1 - point.static for point in curve], color=GREEN, linestyle="--", label="best fixed set")
        known = [(point.models, 1 - point.belady) for point in curve if point.belady is not None]
        if known:
            axes.plot(*zip(*known, strict=True), color=GREY, linestyle=":", label="clairvoyant (no cache beats it)")
        axes.plot([held], [loads], "*", color=RED, markersize=13, label="this plan")
        claimed = [(ratio.models, 1 - ratio.claimed) for ratio in plan.traffic.published if ratio.claimed is not None]
        if claimed:
            axes.plot(
                *zip(*claimed, strict=True), "x", color=ORANGE, markersize=9, markeredgewidth=2.5, label="published"
            )
        log_scale(axes, models, COUNT)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("models in memory, all instances")
        axes.set_ylabel("calls that load their model")
        # The lower left corner is free while the curve begins high.
        axes.legend(loc="lower left" if lru[0] > 0.5 else "upper right")

    points = [curve[index] for index in sorted({0, len(curve) // 2, len(curve) - 1})]
    listed = ", ".join(f"{percent(1 - point.hit_ratio)} with {point.models:,.0f} models" for point in points)
    alt = (
        f"Line chart of the share of calls that load their model against models in memory: {listed}. "
        f"This plan: {percent(loads)} with {held:,} models."
    )
    return Chart("Miss-ratio curve of the shared tier, as one cache", svg_of("miss-ratio", alt, draw))


def _traffic_chart(plan: Plan) -> Chart:
    """Calls a second through the day, a layer for each tier."""
    hours_by_tier = plan.traffic.hours_by_tier

    def draw(axes: Axes) -> None:
        hours = [*range(24), 24]
        layers = [[*values, values[-1]] for values in hours_by_tier.values()]
        colours = _LAYERS[: len(layers)]
        axes.stackplot(hours, *layers, labels=list(hours_by_tier), colors=colours, step="post", alpha=0.85)
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 4))
        axes.set_ylim(0)
        axes.set_xlabel("hour of the day (UTC), mean day")
        axes.set_ylabel("calls a second")
        axes.legend(loc="upper left")

    def peak(values: Sequence[float]) -> str:
        return f"{a_second(max(values))} at {values.index(max(values))} h, least {a_second(min(values))}"

    listed = "; ".join(f"{tier} most {peak(values)}" for tier, values in hours_by_tier.items())
    alt = f"Area chart of calls a second in each hour of a mean day, UTC, by tier: {listed}."
    return Chart("Traffic by hour and tier", svg_of("traffic", alt, draw))


def _cost_chart(plan: Plan) -> Chart:
    """Cost against hit ratio by container: the fleets that no other beats in both; the plan, and today."""
    shown, levels = plan.answer.shown, plan.service_levels
    label = "this plan" if plan.answer.chosen else "nearest"

    def draw(axes: Axes) -> None:
        prototypes = {container.name for container in plan.search.containers if container.prototype}
        for name, front in plan.search.fronts.items():
            if front:
                mark = " (PROTOTYPE)" if name in prototypes else ""
                line = f"{':' if name in prototypes else '-'}o"
                xs, ys = _cost_and_hits(front)
                colour = _colour(name, list(plan.search.fronts))
                axes.plot(xs, ys, line, color=colour, markersize=4, label=f"{name}{mark}", drawstyle="steps-post")
        axes.plot(*_cost_and_hits((plan.answer.today,)), "s", color=GREY, markersize=7, label="today")
        axes.plot(*_cost_and_hits((shown,)), "*", color=RED, markersize=13, label=label)
        if levels.required_usd is not None:
            axes.axvline(levels.required_usd, color=RED, linewidth=0.8, linestyle="--")
        if levels.required_hit_ratio is not None:
            axes.axhline(levels.required_hit_ratio, color=RED, linewidth=0.8, linestyle="--")
        axes.xaxis.set_major_formatter(DOLLARS)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlim(0)
        axes.set_xlabel("a month, the whole fleet")
        axes.set_ylabel("hit ratio of the shared tier")
        axes.legend(loc="lower right")

    ends = [(name, front[0], front[-1]) for name, front in plan.search.fronts.items() if front]
    listed = "; ".join(f"{name} from {option_text(first)} to {option_text(last)}" for name, first, last in ends)
    alt = (
        f"Step chart of the hit ratio against cost by container, only fleets that no other beats in both: {listed}. "
        f"{label.capitalize()}: {option_text(shown)}. Today: {option_text(plan.answer.today)}."
    )
    return Chart("Cost against hit ratio", svg_of("cost", alt, draw))


def _latency_chart(plan: Plan) -> Chart:
    """p50, p95 and p99 of each tier by class of call."""
    latencies = plan.service_levels.latencies
    rows = [
        (f"{times.tier}\n{name}{'' if math.isfinite(calls.p99) else ', no end'}", calls)
        for times in latencies
        for name, calls in _classes(times)
    ]
    known = [value for _, calls in rows for value in (calls.p50, calls.p99) if math.isfinite(value)]

    def draw(axes: Axes) -> None:
        for place, (_, calls) in enumerate(rows):
            # A queue that never ends has no place on an axis.
            if not math.isfinite(calls.p99):
                continue
            axes.plot([calls.p50, calls.p99], [place, place], color="#bbbbbb", linewidth=2, zorder=1)
            for value, colour, marker in ((calls.p50, BLUE, "o"), (calls.p95, ORANGE, "s"), (calls.p99, RED, "D")):
                axes.plot([value], [place], marker, color=colour, markersize=6)
        for name, colour, marker in (("p50", BLUE, "o"), ("p95", ORANGE, "s"), ("p99", RED, "D")):
            axes.plot([], [], marker, color=colour, label=name)
        log_scale(axes, known, SECONDS)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("call time, as callers see it")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=3)

    shares = [(times.tier, times.outside_share) for times in latencies if times.outside_share is not None]
    outside = ", ".join(f"{tier} {percent(share)}" for tier, share in shares)
    caption = f"Latency percentiles{f'; calls outside the SLA: {outside}' if outside else ''}"
    alt = f"Dot chart of call times on a logarithmic axis. {'; '.join(map(latency_text, latencies))}."
    return Chart(caption, svg_of("latency", alt, draw))


def _classes(times: TierLatency) -> list[tuple[str, Percentiles]]:
    if times.loads is None:
        return [("warm", times.warm)]
    return [("warm", times.warm), ("cold", times.loads), ("all calls", times.every)]


def _colour(container: str, containers: Sequence[str]) -> str:
    others = sorted(name for name in containers if name not in _SHIPPED)
    return _SHIPPED.get(container) or _OTHERS[others.index(container) % len(_OTHERS)]


def _cost_and_hits(options: Sequence[FleetOption]) -> tuple[list[float], list[float]]:
    return [option.usd for option in options], [option.hit_ratio for option in options]

"""A backtest as text: planned next to what happened."""

from tierfleet.planning.replay.backtest import Backtest
from tierfleet.text import milliseconds, points, wrapped


def backtest_text(outcome: Backtest, width: int | None) -> str:
    """Plain text. width: columns of the terminal; None: lines of any length."""
    said = "meets everything" if outcome.meets_by_plan else "meets not everything; it comes nearest"
    kept = "kept" if not outcome.failures else "not kept: " + "; ".join(outcome.failures)
    lines = [
        f"{outcome.rest.fleet}: planned on {outcome.rest.source} until {outcome.split}, replayed from then on",
        f"planned: {outcome.planned_fleet}, which {said} by the plan ({outcome.rest.requirements})",
        f"in the rest: {kept}",
        "",
        f"  {'':<38} {'planned':>12} {'happened':>12}",
        *(
            f"  {one.what:<38} {_figure(one.planned, one.unit):>12} {_figure(one.happened, one.unit):>12}"
            for one in outcome.comparisons
        ),
    ]
    if outcome.new_tenants:
        share = points(outcome.new_tenants_share)
        lines += ["", f"note: {outcome.new_tenants:,} tenants call in the rest only, {share} of its calls"]
    lines += [f"note: {notice}" for notice in outcome.rest.notices]
    return "\n".join(wrapped(lines, width))


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    written = {"share": points, "seconds": milliseconds, "calls a day": "{:,.0f}".format}
    return written.get(unit, "{:.3g}".format)(value)

"""A backtest as text: planned next to what happened."""

from tierfleet.planning.replay.backtest import Backtest
from tierfleet.planning.replay.text import kept_text
from tierfleet.text import a_second, milliseconds, points, wrapped


def backtest_text(outcome: Backtest, width: int | None) -> str:
    """Plain text. width: columns of the terminal; None: lines of any length."""
    lines = [
        f"{outcome.rest.fleet}: planned on {outcome.rest.source} until {outcome.split}, replayed from then on",
        planned_text(outcome),
        f"in the rest: {kept_text(outcome.rest)}",
        "",
        f"  {'':<38} {'planned':>14} {'happened':>14}",
        *(
            f"  {one.what:<38} {figure_text(one.planned, one.unit):>14} {figure_text(one.happened, one.unit):>14}"
            for one in outcome.comparisons
        ),
    ]
    if outcome.new_tenants:
        share = points(outcome.new_tenants_share)
        lines += ["", f"note: {outcome.new_tenants:,} tenants call in the rest only, {share} of its calls"]
    lines += [f"note: {notice}" for notice in outcome.rest.notices]
    return "\n".join(wrapped(lines, width))


def planned_text(outcome: Backtest) -> str:
    """The planned fleet, and what the plan said of it."""
    said = "meets everything" if outcome.meets_by_plan else "does not meet everything, but comes nearest"
    return f"planned: {outcome.planned_fleet}, which {said} by the plan ({outcome.rest.requirements})"


def figure_text(value: float | None, unit: str) -> str:
    """One figure of a comparison with its unit."""
    if value is None:
        return "none"
    written = {"share": points, "seconds": milliseconds, "calls a day": "{:,.0f}".format, "calls a second": a_second}
    return written.get(unit, "{:.3g}".format)(value)

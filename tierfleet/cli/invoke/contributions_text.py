"""Contributions as text for a terminal: some lines per row, the largest contribution first."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierfleet.runtime.contributions import Contributions, RowContributions

_MOST_FEATURES = 10
_BAR_CHARACTERS = 24


def contributions_text(explained: Contributions) -> RenderableType:
    """The score, the margin and the largest contributions of each row; of several outputs the one with most margin."""
    return Group(*(part for number, row in enumerate(explained.rows) for part in _row(explained, number, row)))


def _row(explained: Contributions, number: int, row: RowContributions) -> list[RenderableType]:
    place, output = max(enumerate(row.outputs), key=lambda pair: pair[1].margin)
    several = f", output {place} of {len(row.outputs)} (the highest)" if len(row.outputs) > 1 else ""
    score = row.score if isinstance(row.score, float) else row.score[min(place, len(row.score) - 1)]
    line = f"row {number}: score {score:.6g}{several}, margin {output.margin:.4g} = bias {output.bias:.4g} and"
    reasons = explained.reasons(number, place)
    shown, others = reasons[:_MOST_FEATURES], reasons[_MOST_FEATURES:]
    if others:
        shown.append((f"{len(others)} others", sum(contribution for _, contribution in others)))
    most = max(abs(contribution) for _, contribution in shown)
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(overflow="fold", max_width=36)
    table.add_column(justify="right")
    table.add_column()
    for name, contribution in shown:
        filled = round(_BAR_CHARACTERS * abs(contribution) / most) if most else 0
        bar = "█" * filled or ("▏" if contribution else "")
        table.add_row(" ", Text(name), f"{contribution:+.4g}", Text(bar, "red" if contribution < 0 else "cyan"))
    return [Text(line), table]

"""Tables of the HTML report: header cells with scopes, verdicts in colour, one block a row on a phone."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

MEETS: Final = "meets all"
MISSES: Final = "misses: "


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first cell in each row is the row's header.

    A column whose name begins with # holds numbers; one called fleet is not wrapped. Roles are explicit, because a
    phone shows each row as a block, and browsers drop the meaning of tables that are not laid out as tables.
    """
    names = [column.removeprefix("#") for column in columns]
    kinds = ["number" if column.startswith("#") else "fleet" if column == "fleet" else "" for column in columns]
    head = "".join(
        f'<th scope="col" role="columnheader"{_class(kind)}>{escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(f'<tr role="row">{"".join(_cells(names, kinds, row))}</tr>' for row in rows)
    narrow = ' class="narrow"' if len(columns) <= 3 else ""
    return (
        f'<div class="wide"><table role="table" aria-label="{escape(caption)}"{narrow}><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _cells(names: Sequence[str], kinds: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for place, (name, kind, value) in enumerate(zip(names, kinds, row, strict=True)):
        label = f' data-label="{escape(name)}"' if value else ""
        if not place:
            label = label if kind == "number" else ""
            yield f'<th scope="row" role="rowheader"{_class(kind)}{label}>{_value(value)}</th>'
        else:
            yield f'<td role="cell"{_class(kind)}{label}>{_value(value)}</td>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _value(value: str) -> str:
    text = escape(value)
    if value == MEETS:
        return f'<span class="good">{text}</span>'
    return f'<span class="bad">{text}</span>' if value.startswith(MISSES) else text

"""Rows and sentences for a terminal of any width: names lose their middle, sentences break between words."""

import textwrap
from collections.abc import Collection, Sequence

# What is left of a name still tells it from its neighbours.
_LEAST_CHARACTERS = 12
_INDENT = 4


def in_columns(
    rows: Sequence[Sequence[str]], width: int | None, *, shrink: Collection[int] = (), right: Collection[int] = ()
) -> list[str]:
    """A line for each row, its cells below those of the other rows.

    width: of the terminal; None: there is none, and nothing is cut. shrink: the columns whose cells lose characters
    from their middle until a line fits, the widest one first. right: the columns of numbers. A row may be short.
    """
    columns = max(map(len, rows), default=0)
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(columns)]
    if width is not None:
        while sum(widths) + 2 * (columns - 1) > width:
            widest = max((column for column in shrink if column < columns), key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= _LEAST_CHARACTERS:
                break
            widths[widest] -= 1
    lines = []
    for row in rows:
        cells = [shortened(cell, most) for cell, most in zip(row, widths, strict=False)]
        padded = (
            cell.rjust(most) if column in right else cell.ljust(most)
            for column, (cell, most) in enumerate(zip(cells, widths, strict=False))
        )
        lines.append("  ".join(padded).rstrip())
    return lines


def shortened(text: str, characters: int) -> str:
    """The text, or its beginning and its end around an ellipsis, in at most so many characters."""
    if len(text) <= characters:
        return text
    end = (characters - 1) // 2
    return f"{text[: characters - 1 - end]}…{text[len(text) - end :]}"


def sentence(text: str, width: int | None, *, first: str = "") -> str:
    """`first` and the text, in lines of at most `width`, which begin below where the text did if that leaves room.

    width: of the terminal; None: there is none, and it is one line. What has no space is not broken: it may be copied.
    """
    if width is None:
        return first + text
    longest = max(map(len, text.split()), default=0)
    indent = len(first) if len(first) <= width // 3 and len(first) + longest <= width else _INDENT
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )

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
        widths = fitting(widths, width - 2 * (columns - 1), shrink)
    lines = []
    for row in rows:
        cells = [shortened(cell, most) for cell, most in zip(row, widths, strict=False)]
        padded = (
            cell.rjust(most) if column in right else cell.ljust(most)
            for column, (cell, most) in enumerate(zip(cells, widths, strict=False))
        )
        lines.append("  ".join(padded).rstrip())
    return lines


def fitting(widths: Sequence[int], room: int, shrink: Collection[int]) -> list[int]:
    """The widths of columns whose sum is at most `room`, as far as those of `shrink` can give, the widest first."""
    found = list(widths)
    while sum(found) > room:
        widest = max((column for column in shrink if column < len(found)), key=found.__getitem__, default=None)
        if widest is None or found[widest] <= _LEAST_CHARACTERS:
            break
        found[widest] -= 1
    return found


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
    words = text.split()
    room = width - len(first)
    indent = len(first) if len(first) <= width // 3 and max(map(len, words), default=0) <= room else _INDENT
    fits = not words or len(words[0]) <= room
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first if fits else " " * indent,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join([*([] if fits and words else [first.rstrip()]), *lines])

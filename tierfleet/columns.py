"""Rows and sentences for a terminal of any width: names lose their middle, sentences break between words."""

import textwrap
from collections.abc import Collection, Sequence

# A name of this length can still be told from its neighbours.
_LEAST_CHARACTERS = 12
_INDENT = 4
# A last column narrower than this is harder to read than a line of its own.
_LEAST_COLUMNS = 30


def in_columns(
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    shrink: Collection[int] = (),
    right: Collection[int] = (),
    gap: int = 2,
) -> list[str]:
    """A line for each row, its cells below those of the other rows.

    >>> print("\\n".join(in_columns([("tier", "usd"), ("tail", "9.00"), ("whale", "10.00")], None, right=(1,))))
    tier     usd
    tail    9.00
    whale  10.00

    width: of the terminal; None: there is none, and nothing is cut. shrink: the columns whose cells lose characters
    from their middle until a line fits, the widest one first. right: the columns of numbers. gap: spaces between two
    columns. A row may be short.
    """
    columns = max(map(len, rows), default=0)
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(columns)]
    if width is not None:
        widths = fitting(widths, width - gap * (columns - 1), shrink)
    lines = []
    for row in rows:
        cells = [shortened(cell, most) for cell, most in zip(row, widths, strict=False)]
        padded = (
            cell.rjust(most) if column in right else cell.ljust(most)
            for column, (cell, most) in enumerate(zip(cells, widths, strict=False))
        )
        lines.append((" " * gap).join(padded).rstrip())
    return lines


def in_columns_and_text(
    rows: Sequence[Sequence[str]], width: int | None, *, right: Collection[int] = (), indent: int = 2
) -> list[str]:
    """As `in_columns`, with a last cell that is a sentence: it is wrapped, or put below where its room is too narrow.

    Where the other columns alone are wider than `width`, names lose characters from their middle. Every line begins
    with `indent` spaces.
    """
    last = max(len(row[-1]) for row in rows)
    before = [row[:-1] for row in rows]
    names = [column for column in range(len(rows[0]) - 1) if column not in right]
    heads = in_columns(before, width and width - indent, shrink=names, right=right)
    start = max(map(len, heads)) + 2
    room = width - indent - start if width else max(1, last)
    lines = []
    for head, row in zip(heads, rows, strict=True):
        if room < min(_LEAST_COLUMNS, last):
            lines.append(f"{' ' * indent}{head}")
            lines += textwrap.wrap(row[-1], width or 80, initial_indent=" " * 6, subsequent_indent=" " * 8)
            continue
        first, *more = textwrap.wrap(row[-1], room) or [""]
        lines.append(f"{' ' * indent}{head.ljust(start)}{first}".rstrip())
        lines += [" " * (indent + start) + line for line in more]
    return lines


def fitting(widths: Sequence[int], room: int, shrink: Collection[int]) -> list[int]:
    """Widths whose sum is at most `room`, as far as the columns of `shrink` can give way, the widest first."""
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max((column for column in shrink if column < len(fitted)), key=fitted.__getitem__, default=None)
        if widest is None or fitted[widest] <= _LEAST_CHARACTERS:
            break
        fitted[widest] -= 1
    return fitted


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

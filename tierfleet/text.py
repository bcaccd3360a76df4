"""Numbers, sizes, ages and moments as a reader wants them: the same in the terminal, in messages and in reports."""

import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime


def wrapped(lines: Iterable[str], width: int | None) -> list[str]:
    """The lines, each broken between words before `width`; the rest is indented by two. None: unchanged."""
    if width is None:
        return list(lines)
    broken = []
    for line in lines:
        further = " " * (len(line) - len(line.lstrip()) + 2)
        short = (
            line
            if len(line) <= width
            else textwrap.fill(line, width, subsequent_indent=further, break_on_hyphens=False, break_long_words=False)
        )
        broken += short.split("\n")
    return broken


def percent(share: float) -> str:
    """0.176 -> 18 %, 0.0152 -> 1.5 %; whole from 10 % on, except just below 100 %, where the rest matters."""
    points = share * 100
    if 10 <= points < 99:
        return f"{points:.0f} %"
    if points >= 100:
        return f"{points:.0f} %"
    if points >= 99:
        return "100 %" if points > 99.995 else f"{points:.2f} %"
    return f"{points:.2g} %"


def signed_percent(change: float) -> str:
    """A relative change with its sign: 0.042 -> +4.2 %."""
    return f"{change * 100:+.1f} %"


def points(ratio: float) -> str:
    """A ratio with one decimal, for comparing ratios: 0.4686 -> 46.9 %."""
    return f"{ratio * 100:.1f} %"


def milliseconds(seconds: float) -> str:
    """A time with its unit, as short as it can be read: 43 ms, 2.9 s."""
    if seconds == float("inf"):
        return "without end"
    if seconds < 0.0095:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 999.5 else f"{seconds:,.0f} s"


def duration(seconds: float) -> str:
    """A time that may be long: 43 ms, 2.9 s, 13 min, 1.5 h."""
    if seconds < 120 or seconds == float("inf"):
        return milliseconds(seconds)
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.2g} h" if seconds < 99.5 * 3600 else f"{seconds / 3600:,.0f} h"


def days(number: float) -> str:
    """A length of time: 9 s, 12 h, 30 days, 1,500 days."""
    if number < 1:
        return duration(number * 86_400)
    return f"{number:.3g} days" if number < 999.5 else f"{number:,.0f} days"


def a_second(calls: float) -> str:
    """Calls a second: 0.93 calls/s, 4.3 calls/s, 1,250 calls/s."""
    return f"{calls:,.0f} calls/s" if calls >= 9.95 else f"{calls:.2g} calls/s"


def dollars(usd: float) -> str:
    """$1,234 from ten dollars on, $1.23 below."""
    return f"${usd:,.0f}" if abs(usd) >= 10 else f"${usd:,.2f}"


def gibibytes(mib: float) -> str:
    """1,234 GiB, 12.3 GiB."""
    gib = mib / 1024
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"


def stamp(moment: datetime) -> str:
    """As the catalog writes moments, in UTC and whole seconds: `2027-09-14T12:00:00+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def moment(text: str) -> datetime:
    """The moment a stamp names; one without an offset is UTC. Raises ValueError."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def age(since: datetime, now: datetime) -> str:
    """`3 d`, `5 h`, `12 min`: one unit, rounded down."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def counted(number: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(size_bytes: int | None) -> str:
    """`45.1 MB`, decimal units; `-` for an unknown size."""
    if size_bytes is None:
        return "-"
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError

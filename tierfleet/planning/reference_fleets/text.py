"""The comparison as text, Markdown and data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tierfleet.columns import in_columns, sentence
from tierfleet.planning.reference_fleets.assumptions import TEXT
from tierfleet.planning.reference_fleets.fleets import ReferenceFleet
from tierfleet.planning.reference_fleets.options import Option
from tierfleet.text import dollars, milliseconds, points

Compared = Sequence[tuple[ReferenceFleet, Sequence[Option]]]

_COLUMNS = 80
_HEAD = ("hosted as", "endpoints", "a month", "warm p95", "waiting", "their p95")


def reference_fleets_text(compared: Compared) -> str:
    """A table for each fleet and the assumptions, at most 80 columns wide."""
    blocks = []
    for fleet, options in compared:
        rows = [_HEAD, *(_cells(option) for option in options)]
        blocks.append(
            "\n".join([_title(fleet), *(f"  {line}" for line in in_columns(rows, None, right=range(1, 6), gap=1))])
        )
    assumed = (sentence(line, _COLUMNS, first="assumed: ") for line in TEXT)
    return "\n\n".join([*blocks, "\n".join(assumed)])


def reference_fleets_markdown(compared: Compared) -> str:
    """The same for docs/choosing.md, with what each option is made of."""
    blocks = []
    for fleet, options in compared:
        head = "| Hosted as | Endpoints | Made of | A month | Warm p95 | Waiting calls | Their p95 |"
        lines = [f"{_title(fleet)}:", "", head, "|---|--:|---|--:|--:|--:|--:|"]
        for option in options:
            name, endpoints, *rest = _cells(option)
            lines.append(f"| {' | '.join((name, endpoints, option.made_of, *rest))} |")
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, "Assumed:\n\n" + "\n".join(f"- {line}" for line in TEXT)])


def reference_fleets_json(compared: Compared) -> list[dict[str, Any]]:
    """The same for scripts: US dollars a month and seconds."""
    return [
        {"fleet": fleet.name, "options": [asdict(option) for option in options], "assumed": list(TEXT)}
        for fleet, options in compared
    ]


def _title(fleet: ReferenceFleet) -> str:
    tenants, calls = len(fleet.workload.tenants), float(fleet.workload.calls_per_day.sum())
    return f"{fleet.name}: {tenants:,} tenants, {calls:,.0f} calls a day, {fleet.config.region}"


def _cells(option: Option) -> tuple[str, ...]:
    waits = option.waiting_p95_seconds is not None
    return (
        option.name,
        f"{option.endpoints:,}",
        dollars(option.usd),
        milliseconds(option.warm_p95_seconds),
        points(option.waiting_share) if waits else "none",
        milliseconds(option.waiting_p95_seconds) if option.waiting_p95_seconds is not None else "",
    )

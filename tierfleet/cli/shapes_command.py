"""`tierfleet shapes`: the hosting shapes side by side, and what they cost the two reference fleets."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.console import Json, columns, fail, json_text, planning_or_fail
from tierfleet.config.hosting_guide import shapes_markdown, shapes_table
from tierfleet.cost.prices import load_prices

_LABEL_COLUMNS = 24


def shapes(
    reference_fleets: Annotated[
        bool, typer.Option("--reference-fleets", help="Show the cost and the call times of fraud-prod and churn-prod.")
    ] = False,
    directory: Annotated[Path, typer.Option(help="Where fraud-prod.toml and churn-prod.toml are.")] = Path("config"),
    prices: Annotated[Path | None, typer.Option(help="A price table; default: the shipped one.")] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare the hosting shapes of a tier, or with --reference-fleets what two known fleets cost hosted in each way.

    --reference-fleets needs the extra `planning`, and no account.
    """
    if as_json and markdown:
        fail("--json and --markdown cannot be combined; give one")
    if prices is not None and not reference_fleets:
        fail("--prices does nothing without --reference-fleets: give both, or neither")
    if reference_fleets:
        typer.echo(reference_fleets_shown(directory, prices, as_json=as_json, markdown=markdown))
    elif as_json:
        typer.echo(json_text(shapes_table()))
    else:
        typer.echo(shapes_markdown() if markdown else _text(columns() or 80))


def reference_fleets_shown(
    directory: Path, prices: Path | None, *, as_json: bool = False, markdown: bool = False
) -> str:
    """The tables of both fleets, as text, JSON or Markdown."""
    with planning_or_fail():
        from tierfleet.planning.profiles.profile_files import load_profiles
        from tierfleet.planning.reference_fleets import fleets, text
        from tierfleet.planning.reference_fleets.options import options

        table, profiles = load_prices(prices), load_profiles()
        compared = [(each, list(options(each, table, profiles))) for each in fleets.reference_fleets(directory)]
        if as_json:
            return json_text(text.reference_fleets_json(compared))
        return text.reference_fleets_markdown(compared) if markdown else text.reference_fleets_text(compared)


def _text(width: int) -> str:
    blocks = []
    for hosting, rows in shapes_table().items():
        lines = [hosting]
        for label, value in rows.items():
            first = f"  {label.ljust(_LABEL_COLUMNS)}"
            room = max(width - len(first), 20)
            begun, *more = textwrap.wrap(value, room, break_on_hyphens=False)
            lines += [first + begun, *(" " * len(first) + line for line in more)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)

"""`tierfleet prices`: the table of AWS's list prices."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from tierfleet.cli.console import Json, columns, fail, out, print_json
from tierfleet.cli.progress import counter
from tierfleet.columns import in_columns, sentence
from tierfleet.cost.offer_files import download
from tierfleet.cost.price_file import write_prices
from tierfleet.cost.prices import load_prices, shipped_prices_file
from tierfleet.cost.refresh import PriceChange, Refreshed, refresh
from tierfleet.errors import InputError
from tierfleet.files import check_writable
from tierfleet.instance_types import hosting_regions
from tierfleet.text import counted, signed_percent

app = typer.Typer(no_args_is_help=True, help="Show and refresh the table of AWS's list prices.")

Table = Annotated[Path | None, typer.Option("--prices", help="A price table; default: the shipped one.")]
_MOST_CHANGES_SHOWN: Final = 20


@app.command("show")
def prices_show(
    prices: Table = None,
    region: Annotated[str | None, typer.Option(help="Only this region.")] = None,
    as_json: Json = False,
) -> None:
    """Show every price with its date and sources; one that has no second source is marked as unchecked."""
    try:
        table = load_prices(prices)
    except InputError as error:
        fail(str(error))
    regions = [region] if region else table.regions
    if region and region not in table.regions:
        have = ", ".join(table.regions)
        fail(f"{table.file} has no prices of {region}, only of {have}; run tierfleet prices refresh --region {region}")
    shown = [
        price
        for name in regions
        for prices_of in (table.hosting.get(name, {}), table.units.get(name, {}))
        for price in prices_of.values()
    ]
    if as_json:
        print_json([{**asdict(price), "unchecked": price.unchecked} for price in shown])
        return
    sources = {price.source: None for price in shown} | {price.second: None for price in shown if price.second}
    numbers = {source: number for number, source in enumerate(sorted(sources, key=lambda source: source.name), start=1)}
    rows = [
        (
            price.name,
            f"{price.usd:g}",
            str(price.source.as_of),
            f"[{numbers[price.source]}]{f' [{numbers[price.second]}]' if price.second else ''}",
            "unchecked" if price.unchecked else "",
        )
        for price in shown
    ]
    region_before = None
    width = columns()
    for price, line in zip(shown, in_columns(rows, width and width - 2, shrink=(0,)), strict=True):
        if price.region != region_before:
            out.print(escape(f"{price.region}: US dollars, date and sources"))
            region_before = price.region
        out.print(escape(f"  {line}"))
    for source, number in numbers.items():
        address = f" ({source.aws_url}, sha256 {source.sha256})" if source.aws_url else ""
        out.print(escape(sentence(f"{source.name}: {source.text}{address}", columns(), first=f"[{number}] ")))


@app.command("refresh")
def prices_refresh(
    region: Annotated[list[str] | None, typer.Option(help="Regions; default: those of the table.")] = None,
    all_regions: Annotated[bool, typer.Option("--all-regions", help="Every region that hosts models.")] = False,
    prices: Table = None,
    output: Annotated[Path | None, typer.Option("--out", help="Write to this file; default: the table.")] = None,
) -> None:
    """Read the prices from AWS's public price list files, and say what changed. Needs no account."""
    if region and all_regions:
        fail("--region and --all-regions cannot be combined; give one")
    file = output or prices or shipped_prices_file()
    try:
        table = load_prices(prices)
        # Before the download, whose result would be lost.
        check_writable(file, "--out" if output else "--prices")
        wanted = None if all_regions else list(dict.fromkeys(region or table.regions))
        with counter("regions", len(wanted or hosting_regions())) as told:
            refreshed = refresh(download, table, wanted, datetime.now(UTC).date(), told=told)
    except InputError as error:
        fail(str(error))
    try:
        write_prices(refreshed.table, file)
    except OSError as error:
        fail(f"{file} cannot be written: {error}; give another file with --out")
    out.print(escape(f"wrote {file}"))
    for line in _report(refreshed):
        out.print(escape(sentence(line, columns())))


def _report(refreshed: Refreshed) -> list[str]:
    changed = refreshed.changed
    numbers = f"{len(changed)} changed, {len(refreshed.added)} new, {len(refreshed.gone)} gone"
    largest = f"; the largest change is {signed_percent(changed[0].ratio)}" if changed else ""
    lines = [f"{counted(refreshed.same, 'price')} confirmed, {numbers}{largest}"]
    lines += [f"  {_changed(change)}" for change in changed[:_MOST_CHANGES_SHOWN]]
    if len(changed) > _MOST_CHANGES_SHOWN:
        lines.append(f"  and {len(changed) - _MOST_CHANGES_SHOWN} smaller changes")
    if refreshed.gone:
        gone = ", ".join(f"{price.region} {price.name}" for price in refreshed.gone)
        lines.append(f"removed, since AWS's files do not have them: {gone}")
    if refreshed.kept:
        lines.append(f"unchanged, since AWS's files do not have them: {', '.join(refreshed.kept)}")
    if refreshed.absent:
        lines.append(f"missing, since AWS's files do not have them: {', '.join(refreshed.absent)}")
    return lines


def _changed(change: PriceChange) -> str:
    before, after = change.before, change.after
    was = "derived as" if before.derived else f"on {before.source.as_of}"
    return f"{after.region} {after.name}: ${after.usd:g}, {was} ${before.usd:g} ({signed_percent(change.ratio)})"

"""`tierfleet prices`: the table of AWS's list prices."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import boto3
import typer
from rich.markup import escape

from tierfleet.cli.aws import aws_or_fail
from tierfleet.cli.console import Json, columns, fail, out, print_json
from tierfleet.columns import in_columns, sentence
from tierfleet.cost.price_list import PRICING_REGION, refresh, write_prices
from tierfleet.cost.prices import load_prices, shipped_prices_file
from tierfleet.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Show and refresh the table of AWS's list prices.")

Table = Annotated[Path | None, typer.Option("--prices", help="A price table; default: the included one.")]


@app.command("show")
def prices_show(
    prices: Table = None,
    region: Annotated[str | None, typer.Option(help="Only this region.")] = None,
    as_json: Json = False,
) -> None:
    """Show every price with its date and source."""
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
        print_json([asdict(price) for price in shown])
        return
    sources = sorted({price.source for price in shown}, key=lambda source: source.name)
    rows = [
        (
            price.name,
            f"{price.usd:g}",
            str(price.source.as_of),
            f"[{sources.index(price.source) + 1}]",
            "verify" if price.source.check else "",
        )
        for price in shown
    ]
    region_before = None
    width = columns()
    for price, line in zip(shown, in_columns(rows, width and width - 2, shrink=(0,)), strict=True):
        if price.region != region_before:
            out.print(escape(f"{price.region}: US dollars, date and source"))
            region_before = price.region
        out.print(escape(f"  {line}"))
    for number, source in enumerate(sources, start=1):
        out.print(escape(sentence(f"{source.name}: {source.text}", columns(), first=f"[{number}] ")))


@app.command("refresh")
def prices_refresh(
    region: Annotated[list[str] | None, typer.Option(help="Regions; default: those of the table.")] = None,
    prices: Table = None,
    output: Annotated[Path | None, typer.Option("--out", help="Write to this file; default: the table.")] = None,
) -> None:
    """Read the prices from AWS's Price List API. Needs credentials with pricing:GetProducts."""
    try:
        table = load_prices(prices)
        with aws_or_fail("the Price List API", permissions="pricing:GetProducts must be allowed"):
            client = boto3.client("pricing", region_name=PRICING_REGION)
            refreshed = refresh(client, table, region or table.regions, datetime.now(UTC).date())
    except InputError as error:
        fail(str(error))
    file = output or prices or shipped_prices_file()
    try:
        write_prices(refreshed.table, file)
    except OSError as error:
        fail(f"{file} cannot be written: {error}; give another file with --out")
    out.print(escape(f"wrote {file}"))
    if refreshed.kept:
        out.print(escape(f"not in the API's answer, so unchanged: {', '.join(refreshed.kept)}"))
    if refreshed.absent:
        out.print(escape(f"not in the API's answer, so missing: {', '.join(refreshed.absent)}"))

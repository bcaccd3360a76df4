"""`tierfleet cost`: what a fleet costs a month, and what an edit changes in it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.config_commands import load_or_fail
from tierfleet.cli.console import Json, fail
from tierfleet.planning.cost import monthly_cost, tenant_costs
from tierfleet.planning.cost_diff import cost_diff
from tierfleet.planning.cost_text import cost_json, cost_markdown, cost_text, diff_json, diff_markdown, diff_text
from tierfleet.planning.errors import PlanningInputError
from tierfleet.planning.prices import load_prices
from tierfleet.planning.usage import Usage, read_traffic


def cost(
    files: Annotated[list[Path], typer.Argument(help="A fleet file; with --diff the old one, then the new one.")],
    diff: Annotated[bool, typer.Option("--diff", help="Compare two versions of a fleet file.")] = False,
    traffic: Annotated[Path | None, typer.Option(help="CSV: tenant,calls_per_day[,hour] (hours in UTC).")] = None,
    artefact_megabytes: Annotated[float | None, typer.Option(help="Size of one packed model.")] = None,
    tail_tenants: Annotated[int | None, typer.Option(help="Tenants of the default tier.")] = None,
    versions_kept: Annotated[int, typer.Option(help="Versions of a model in the bucket.")] = 1,
    cold_share: Annotated[float | None, typer.Option(help="Calls that fetch their model from S3, 0 to 1.")] = None,
    callers: Annotated[int, typer.Option(help="Processes that poll the routes.")] = 1,
    client_metrics: Annotated[bool, typer.Option("--client-metrics", help="Callers publish metrics.")] = False,
    log_bytes_per_call: Annotated[float, typer.Option(help="What the container logs for a call.")] = 0.0,
    nat_gateways: Annotated[int, typer.Option(help="Of a VPC without an S3 gateway endpoint.")] = 0,
    region: Annotated[str | None, typer.Option(help="Price it as in this region.")] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table; default: the one that comes along.")] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,
) -> None:
    """What a fleet costs a month at AWS's list prices; with --diff OLD NEW what an edit changes. Needs no account."""
    if len(files) != 1 + diff:
        fail(f"{len(files)} files given; give one fleet file, or with --diff the old one and the new one")
    if as_json and markdown:
        fail("--json and --markdown exclude each other; give one")
    configs = [load_or_fail(file) for file in files]
    try:
        table = load_prices(prices)
        usage = Usage(
            traffic=read_traffic(traffic) if traffic else None,
            artefact_megabytes=artefact_megabytes,
            tail_tenants=tail_tenants,
            versions_kept=versions_kept,
            cold_share=cold_share,
            callers=callers,
            client_metrics=client_metrics,
            log_bytes_per_call=log_bytes_per_call,
            nat_gateways=nat_gateways,
        )
        costs = [monthly_cost(config, table, usage, region=region) for config in configs]
    except PlanningInputError as error:
        fail(str(error))
    if diff:
        changes = cost_diff((configs[0], costs[0]), (configs[1], costs[1]))
        shown = diff_markdown(changes) if markdown else diff_text(changes)
        typer.echo(json.dumps(diff_json(changes)) if as_json else shown)
        return
    tenants = tenant_costs(costs[0], configs[0], usage) if traffic else None
    shown = cost_markdown(costs[0]) if markdown else cost_text(costs[0], tenants)
    typer.echo(json.dumps(cost_json(costs[0], tenants)) if as_json else shown)

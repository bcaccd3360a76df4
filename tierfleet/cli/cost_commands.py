"""`tierfleet cost`: what a fleet costs a month, and what an edit changes in it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.console import Json, columns, fail, load_all_or_fail, load_or_fail, print_json
from tierfleet.cli.diff_command import Against
from tierfleet.cli.fleet_file import ConfigOption
from tierfleet.cost.diff import Priced, cost_diff, paired_files
from tierfleet.cost.monthly_cost import monthly_cost, tenant_costs
from tierfleet.cost.prices import load_prices
from tierfleet.cost.text import cost_json, cost_markdown, cost_text, diff_json, diff_markdown, diff_text
from tierfleet.cost.usage import Usage, read_traffic
from tierfleet.errors import InputError
from tierfleet.git_versions import GitVersionsError, Versions, changed_versions, with_origins
from tierfleet.text import counted

_DIRECTORY = Path("config")


def cost(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="A fleet file; with --diff one or a directory, default config, or the old and the new one.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compare with git's HEAD, or two files with each other.")
    ] = False,
    against: Against = "HEAD",
    traffic: Annotated[Path | None, typer.Option(help="CSV: tenant,requests_per_day, or a rates table.")] = None,
    artefact_megabytes: Annotated[float | None, typer.Option(help="Size of one packed model.")] = None,
    tail_tenants: Annotated[int | None, typer.Option(help="Tenants of the default tier.")] = None,
    versions_kept: Annotated[int, typer.Option(help="Versions of a model in the bucket.")] = 1,
    cold_share: Annotated[float | None, typer.Option(help="Calls that fetch their model from S3, 0 to 1.")] = None,
    callers: Annotated[int, typer.Option(help="Processes that poll the routes.")] = 1,
    client_metrics: Annotated[bool, typer.Option("--client-metrics", help="Callers publish metrics.")] = False,
    log_bytes_per_call: Annotated[float, typer.Option(help="What the container logs for a call.")] = 0.0,
    nat_gateways: Annotated[int, typer.Option(help="Of a VPC without an S3 gateway endpoint.")] = 0,
    region: Annotated[str | None, typer.Option(help="Price it as in this region.")] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table; default: the shipped one.")] = None,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name the source of every price.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,
) -> None:
    """What a fleet costs a month at AWS's list prices; with --diff what an edit changes. Needs no account."""
    given = [*(files or []), *([config] if config else [])]
    if len(given) > 1 + diff or not (given or diff):
        files_given = counted(len(given), "file")
        fail(f"{files_given} given; give one fleet file, or with --diff the old one and the new one")
    if as_json and markdown:
        fail("--json and --markdown exclude each other; give one")
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
    except InputError as error:
        fail(str(error))

    def priced(file: Path) -> Priced:
        fleet = load_or_fail(file)
        return fleet, monthly_cost(fleet, table, usage, region=region)

    if diff:
        with tempfile.TemporaryDirectory(prefix="tierfleet-cost-") as folder:
            versions: list[Versions] = []
            try:
                if len(given) == 2:
                    pairs = paired_files(given[0], given[1])
                else:
                    versions = changed_versions(given[0] if given else _DIRECTORY, against, Path(folder))
                    pairs = [(version.before, version.after) for version in versions]
            except (InputError, GitVersionsError) as error:
                fail(str(error))
            if not pairs and not as_json:
                typer.echo(f"{given[0] if given else _DIRECTORY} is as in {against}: no change")
                return

            def told(text: str) -> str:
                return with_origins(text, versions)

            load_all_or_fail([file for pair in pairs for file in pair if file], told)
            _print_diffs(pairs, priced, told, as_json=as_json, markdown=markdown, verbose=verbose)
        return
    try:
        fleet, bill = priced(given[0])
    except InputError as error:
        fail(str(error))
    tenants = tenant_costs(bill, fleet, usage) if traffic else None
    shown = cost_markdown(bill) if markdown else cost_text(bill, tenants, width=columns(), verbose=verbose)
    if as_json:
        print_json(cost_json(bill, tenants))
    else:
        typer.echo(shown)


def _print_diffs(
    pairs: list[tuple[Path | None, Path | None]],
    priced: Callable[[Path], Priced],
    told: Callable[[str], str],
    *,
    as_json: bool,
    markdown: bool,
    verbose: bool,
) -> None:
    """Every fleet's change; one that cannot be priced does not hide the others, but ends with exit code 2."""
    diffs, failed = [], []
    for old, new in pairs:
        try:
            diffs.append(cost_diff(priced(old) if old else None, priced(new) if new else None))
        except InputError as error:
            failed.append(told(f"{new or old}: {error}"))
    if as_json:
        found = [diff_json(diff) for diff in diffs]
        print_json(found[0] if len(pairs) == len(found) == 1 else found)
    for diff in () if as_json else diffs:
        typer.echo(diff_markdown(diff) if markdown else diff_text(diff, width=columns(), verbose=verbose))
    if markdown and failed:
        typer.echo("\n".join(["### Cost not known", "", *(f"- {message}" for message in failed)]))
    if failed:
        fail("\n".join(failed))

"""`tierfleet cost`: the monthly cost of a fleet, and how an edit changes it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tierfleet.cli.console import Json, columns, fail, load_all_or_fail, load_or_fail, print_json
from tierfleet.cli.diff_command import HEAD, Against
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
            help="A fleet file. With --diff: a file, a directory (default: config), or an old and a new file.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compare with a commit (--against), or two files with each other.")
    ] = False,
    against: Against = HEAD,
    traffic: Annotated[Path | None, typer.Option(help="A CSV of tenant,requests_per_day, or a rates table.")] = None,
    artefact_megabytes: Annotated[float | None, typer.Option(help="The size of one artefact.")] = None,
    tail_tenants: Annotated[int | None, typer.Option(help="The number of tenants on the default tier.")] = None,
    versions_kept: Annotated[int, typer.Option(help="The versions of each model in the bucket.")] = 1,
    cold_share: Annotated[float | None, typer.Option(help="The share of calls that load their model, 0 to 1.")] = None,
    callers: Annotated[int, typer.Option(help="The number of processes that poll the routes.")] = 1,
    client_metrics: Annotated[bool, typer.Option("--client-metrics", help="Callers publish metrics.")] = False,
    log_bytes_per_call: Annotated[float, typer.Option(help="The bytes that the container logs per call.")] = 0.0,
    call_milliseconds: Annotated[
        float | None,
        typer.Option(help="The duration of a call to a serverless endpoint; default: its latency alarm's limit."),
    ] = None,
    nat_gateways: Annotated[int, typer.Option(help="The NAT gateways of a VPC without an S3 gateway endpoint.")] = 0,
    region: Annotated[str | None, typer.Option(help="Use the prices of this region.")] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table; default: the shipped one.")] = None,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the source of every price.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,
) -> None:
    """Show what a fleet costs a month at AWS's list prices, or with --diff what an edit changes. Needs no account."""
    given = [*(files or []), *([config] if config else [])]
    if len(given) > 1 + diff or not (given or diff):
        fail(
            f"{counted(len(given), 'fleet file')} given; give one, or with --diff an old and a new one"
            if given
            else "no fleet file is given, for example: tierfleet cost config/fraud-prod.toml"
        )
    if as_json and markdown:
        fail("--json and --markdown cannot be combined; give one")
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
            milliseconds_per_call=call_milliseconds,
            nat_gateways=nat_gateways,
        )
    except InputError as error:
        fail(str(error))
    if idle := _idle(usage, diff=diff, files=len(given), against=against):
        fail("; ".join(idle))

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
                typer.echo(f"{given[0] if given else _DIRECTORY} is the same as in {against}: no change")
                return

            def told(text: str) -> str:
                return with_origins(text, versions)

            # All files first, so that one run reports the errors of each.
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


def _idle(usage: Usage, *, diff: bool, files: int, against: str) -> list[str]:
    """Every option without an effect."""
    compared = against != HEAD
    by_need: dict[str, dict[str, object]] = {
        "--traffic": {
            "--cold-share": usage.cold_share and usage.traffic is None,
            "--log-bytes-per-call": usage.log_bytes_per_call and usage.traffic is None,
            "--call-milliseconds": usage.milliseconds_per_call and usage.traffic is None,
        },
        "--artefact-megabytes": {"--versions-kept": usage.versions_kept > 1 and usage.artefact_megabytes is None},
        "--diff": {"--against": compared and not diff},
    }
    idle = [
        f"{option} does nothing without {needed}: give both, or neither"
        for needed, options in by_need.items()
        for option, without_effect in options.items()
        if without_effect
    ]
    if compared and diff and files == 2:
        idle.append("two files are compared with each other, so --against does nothing: leave it out")
    return idle


def _print_diffs(
    pairs: list[tuple[Path | None, Path | None]],
    priced: Callable[[Path], Priced],
    told: Callable[[str], str],
    *,
    as_json: bool,
    markdown: bool,
    verbose: bool,
) -> None:
    """Print the change of every fleet. A fleet without prices does not hide the others, but the exit code is 2."""
    diffs, failed = [], []
    for old, new in pairs:
        try:
            diffs.append(cost_diff(priced(old) if old else None, priced(new) if new else None))
        except InputError as error:
            failed.append(told(f"{new or old}: {error}"))
    if as_json:
        documents = [diff_json(diff) for diff in diffs]
        print_json(documents[0] if len(pairs) == len(documents) == 1 else documents)
    for diff in () if as_json else diffs:
        typer.echo(diff_markdown(diff) if markdown else diff_text(diff, width=columns(), verbose=verbose))
    if markdown and failed:
        typer.echo("\n".join(["### Cost unknown", "", *(f"- {message}" for message in failed)]))
    if failed:
        fail("\n".join(failed))

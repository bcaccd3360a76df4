"""`tierfleet plan fleet`: the cheapest fleet that meets what is required, and the edit that makes it so."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tierfleet.cli.console import Json, columns, err, fail, json_text, load_or_fail, out, planning_or_fail
from tierfleet.cli.progress import steps
from tierfleet.config import FleetConfig

_SLA = "What is required"
_TRAFFIC = "Traffic"
_CHOICES = "What may be chosen"
_OUTPUT = "Output"


def plan_fleet(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://), or a table of rates.")],
    config: Annotated[Path, typer.Option(help="The fleet file to plan for.")],
    budget_usd: Annotated[float | None, typer.Option(help="A month, for everything.", rich_help_panel=_SLA)] = None,
    min_hit_ratio: Annotated[
        float | None, typer.Option(help="Default: alarms.min_cache_hit_ratio.", rich_help_panel=_SLA)
    ] = None,
    warm_p95_milliseconds: Annotated[
        float | None, typer.Option(help="Of calls whose model is in memory.", rich_help_panel=_SLA)
    ] = None,
    cold_p95_seconds: Annotated[
        float | None,
        typer.Option(help="Of calls that load. Default: alarms.max_loading_wait_seconds.", rich_help_panel=_SLA),
    ] = None,
    tenant_p99: Annotated[
        list[str] | None, typer.Option(help="TENANT=MILLISECONDS in the container; repeatable.", rich_help_panel=_SLA)
    ] = None,
    model_megabytes: Annotated[
        float | None, typer.Option(min=0.001, help="Where the source has no sizes.", rich_help_panel=_TRAFFIC)
    ] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="Sizes are those of tar.gz artefacts.", rich_help_panel=_TRAFFIC)
    ] = False,
    skip_days: Annotated[
        float | None, typer.Option(min=0, help="Days that only fill the caches.", rich_help_panel=_TRAFFIC)
    ] = None,
    calls_per_session: Annotated[
        float | None, typer.Option(min=1, help="Burstiness of rates; 1: independent.", rich_help_panel=_TRAFFIC)
    ] = None,
    mean_gap_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Between the calls of a session. Default: 600.", rich_help_panel=_TRAFFIC),
    ] = None,
    tenant_column: Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)] = None,
    timestamp_column: Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)] = None,
    model_bytes_column: Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)] = None,
    timezone: Annotated[str | None, typer.Option(help="Of times without a zone.", rich_help_panel=_TRAFFIC)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Bad rows are an error.", rich_help_panel=_TRAFFIC)] = False,
    profile: Annotated[
        str | None, typer.Option(help="Container; default: the file's own.", rich_help_panel=_CHOICES)
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="A profiles file; default: the shipped one.", rich_help_panel=_CHOICES)
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A price table.", rich_help_panel=_CHOICES)] = None,
    region: Annotated[
        str | None, typer.Option(help="Plan as in this region: its prices, its types.", rich_help_panel=_CHOICES)
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A tenant that stays on its tier; repeatable.", rich_help_panel=_CHOICES)
    ] = None,
    band: Annotated[float, typer.Option(min=0, max=0.9, help="Hysteresis of tiers.", rich_help_panel=_CHOICES)] = 0.3,
    least_instances: Annotated[
        int | None, typer.Option(min=1, help="Default: 2, or 1 as in the file.", rich_help_panel=_CHOICES)
    ] = None,
    most_instances: Annotated[int, typer.Option(min=1, max=100, rich_help_panel=_CHOICES)] = 20,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="MODELS=PERCENT, a published hit ratio; repeatable.", rich_help_panel=_OUTPUT),
    ] = None,
    claim_usd: Annotated[float | None, typer.Option(help="Its published cost.", rich_help_panel=_OUTPUT)] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report here.", rich_help_panel=_OUTPUT)] = None,
    as_json: Json = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Edit the fleet file; prints the diff.", rich_help_panel=_OUTPUT)
    ] = False,
    pin: Annotated[
        list[str] | None,
        typer.Option(help="TENANT=VERSION of a new dedicated tenant; repeatable.", rich_help_panel=_OUTPUT),
    ] = None,
) -> None:
    """Find the cheapest fleet for a traffic: tiers, instance type, count. Deploys nothing.

    Exit code 1 if no fleet meets the requirements; then the nearest is shown.
    """
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.cost.prices import load_prices
        from tierfleet.files import check_writable, write_whole
        from tierfleet.planning import sources
        from tierfleet.planning.apply import file_edits, write
        from tierfleet.planning.cache.curve_table import Reading
        from tierfleet.planning.planner import make_plan
        from tierfleet.planning.profiles.profile_files import load_profiles
        from tierfleet.planning.report.text import plan_text
        from tierfleet.planning.request import Question, other_container, profile_name
        from tierfleet.planning.search.requirements import requirements_of
        from tierfleet.planning.search.tiering import TieringRules
        from tierfleet.planning.traffic.trace_columns import Columns

        sources.refuse_idle_options(
            source,
            {
                "--skip-days": skip_days,
                "--tenant-column": tenant_column,
                "--timestamp-column": timestamp_column,
                "--model-bytes-column": model_bytes_column,
                "--timezone": timezone,
                "--strict": strict,
                "--calls-per-session": calls_per_session,
                "--mean-gap-seconds": mean_gap_seconds,
                "--pin": pin,
                "--apply": apply,
            },
        )
        if html is not None:
            check_writable(html, "--html")
        required = requirements_of(
            fleet,
            min_hit_ratio=min_hit_ratio,
            warm_p95_seconds=_over_1000(warm_p95_milliseconds),
            cold_p95_seconds=cold_p95_seconds,
            usd=budget_usd,
            tenant_p99_seconds={
                name: number / 1000 for name, number in sources.numbers("--tenant-p99", tenant_p99 or []).items()
            },
        )
        known = load_profiles(profiles)
        own = profile_name(fleet, known, profile)
        claimed = sources.claimed_ratios(claim or [])
        with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, steps() as step:
            read = sources.read_source(
                source,
                Path(folder),
                reading=Reading(
                    Columns(tenant=tenant_column, timestamp=timestamp_column, model_bytes=model_bytes_column),
                    timezone,
                    strict,
                ),
                default_megabytes=model_megabytes,
                packed=packed,
                profile=known[own],
                skip_days=skip_days,
                sessions=sources.sessions_of(calls_per_session, mean_gap_seconds),
                progress=lambda done: step("reading", done, 0),
            )
            plan, target = make_plan(
                Question(
                    config=fleet if region is None else fleet.model_copy(update={"region": region}),
                    workload=read.workload,
                    source=source,
                    days=read.days,
                    requirements=required,
                    prices=load_prices(prices),
                    profiles=known,
                    profile=own,
                    rules=TieringRules(band=band),
                    keep=frozenset(keep or []),
                    least=least_instances,
                    most=most_instances,
                    claims=claimed,
                    claimed_usd=claim_usd,
                    notices=(*_elsewhere(fleet, region), *read.notices),
                ),
                step,
            )
        if html is not None:
            from tierfleet.planning.report.html import report_html

            write_whole(html, report_html(plan))
        typer.echo(json_text(plan.to_json())) if as_json else out.print(escape(plan_text(plan, columns())))
        if apply and target is not None:
            if why := other_container(fleet, known[own]):
                fail(f"{why}; change [container] first, then plan again")
            target = sources.pinned(target, fleet, pin or [], sources.catalog_reader(fleet))
            changes = file_edits(config, fleet, target)
            write(changes)
            for change in changes:
                (err if as_json else out).print(escape(change.diff), end="")
            text = "; deploy it when you have read the diff" if changes else ": nothing to change"
            err.print(escape(f"{config}{text}"))
    if plan.chosen is None:
        raise typer.Exit(1)


def _elsewhere(fleet: FleetConfig, region: str | None) -> list[str]:
    if region in (None, fleet.region):
        return []
    return [f"planned with the prices and instance types of {region}, although the fleet is in {fleet.region}"]


def _over_1000(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000

"""`tierfleet plan fleet`: the cheapest fleet that meets the requirements, and the edit of the fleet file."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tierfleet.cli.console import columns, err, fail, json_text, load_or_fail, out, planning_or_fail
from tierfleet.cli.option_groups import given, grouped
from tierfleet.cli.plan.fleet_options import ChoiceOptions, OutputOptions, RequirementOptions, TrafficOptions
from tierfleet.cli.progress import steps
from tierfleet.cli.report_file import check_report, write_report
from tierfleet.config import FleetConfig

if TYPE_CHECKING:
    from tierfleet.planning.change import FleetChange
    from tierfleet.planning.plan import Plan


@grouped
def plan_fleet(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://), or a table of rates.")],
    config: Annotated[Path, typer.Option(help="The fleet file to plan for.")],
    required: RequirementOptions,
    traffic: TrafficOptions,
    choice: ChoiceOptions,
    output: OutputOptions,
) -> None:
    """Find the cheapest fleet for your traffic: tiers, instance type, count. Deploys nothing.

    Exit code 1 if no fleet meets the requirements; then the nearest is shown.
    """
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.planning.sources import refuse_idle_options

        refuse_idle_options(source, given(traffic, choice, output))
        if output.apply and choice.region not in (None, fleet.region):
            fail(
                f"--apply would write sizes for {choice.region} into the file of a fleet in {fleet.region}: leave out "
                "--region, or --apply"
            )
        check_report(output.html, config, Path(source), choice.prices, choice.profiles)
        plan, change = _plan(source, fleet, required, traffic, choice, output)
        _print(plan, output)
        if output.apply and change is not None:
            if why := plan.answer.container_change:
                fail(f"{why}; change [container] first, then plan again")
            _apply(config, fleet, change, output)
    if plan.answer.chosen is None:
        raise typer.Exit(1)


def _plan(
    source: str,
    fleet: FleetConfig,
    required: RequirementOptions,
    traffic: TrafficOptions,
    choice: ChoiceOptions,
    output: OutputOptions,
) -> "tuple[Plan, FleetChange | None]":
    # Imported here: NumPy, DuckDB and Numba take seconds, and other commands need none of them.
    from tierfleet.planning.planner import make_plan
    from tierfleet.planning.request import PlanRequest, profile_name
    from tierfleet.planning.search.tiering import TieringRules
    from tierfleet.planning.sources import published_ratios

    requirements, (prices, profiles) = required.requirements(fleet), choice.loaded()
    own = profile_name(fleet, profiles, choice.profile)
    published = published_ratios(output.claim or [])
    min_instances, max_instances = choice.instance_bounds()
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, steps() as step:
        step("reading", 0, 0)
        read = traffic.read(source, Path(folder), profiles[own], lambda done: step("reading", done, 0))
        return make_plan(
            PlanRequest(
                config=fleet if choice.region is None else fleet.model_copy(update={"region": choice.region}),
                workload=read.workload,
                source=source,
                days=read.days,
                period=read.period,
                requirements=requirements,
                prices=prices,
                profiles=profiles,
                profile=own,
                rules=TieringRules(band=choice.band),
                keep=frozenset(choice.keep or []),
                min_instances=min_instances,
                max_instances=max_instances,
                published=published,
                published_usd=output.claim_usd,
                notices=(*_elsewhere(fleet, choice.region), *read.notices),
                planned_on=datetime.now(UTC).date(),
            ),
            step,
        )


def _print(plan: "Plan", output: OutputOptions) -> None:
    from tierfleet.planning.report.html import report_html
    from tierfleet.planning.report.text import plan_text

    write_report(output.html, lambda: report_html(plan))
    typer.echo(json_text(plan.to_json())) if output.as_json else out.print(escape(plan_text(plan, columns())))


def _apply(config: Path, fleet: FleetConfig, change: "FleetChange", output: OutputOptions) -> None:
    """Write the change into the fleet file and print the diff."""
    from tierfleet.planning.apply import file_edits, write
    from tierfleet.planning.pins import catalog_reader, pinned

    file_changes = file_edits(config, fleet, pinned(change, fleet, output.pin or [], catalog_reader(fleet)))
    write(file_changes)
    for file_change in file_changes:
        (err if output.as_json else out).print(escape(file_change.diff), end="")
    text = "; deploy it when you have read the diff" if file_changes else ": nothing to change"
    err.print(escape(f"{config}{text}"))


def _elsewhere(fleet: FleetConfig, region: str | None) -> list[str]:
    if region in (None, fleet.region):
        return []
    return [f"planned with the prices and instance types of {region}, although the fleet is in {fleet.region}"]

"""`tierfleet plan backtest`: how good a plan of the first part of a trace would have been for the rest."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import tierfleet
from tierfleet.cli.console import columns, json_text, load_or_fail, out, planning_or_fail, say
from tierfleet.cli.option_groups import grouped
from tierfleet.cli.plan.fleet_options import RequirementOptions
from tierfleet.cli.plan.replay_options import ContainerOptions, ReportOptions, TraceOptions
from tierfleet.cli.progress import steps
from tierfleet.cli.report_file import check_report, write_report


@grouped
def plan_backtest(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://).")],
    config: Annotated[Path, typer.Option(help="The fleet file to plan for.")],
    required: RequirementOptions,
    trace: TraceOptions,
    container: ContainerOptions,
    output: ReportOptions,
    split: Annotated[str, typer.Option(help="Plan on so much of the trace: 0.5, or up to a date.")] = "0.5",
    prices: Annotated[Path | None, typer.Option(help="A price table.")] = None,
) -> None:
    """Plan on the first part of a trace, replay the rest on that fleet, and compare. Deploys nothing.

    Exit code 1 if something that is required was not kept in the rest.
    """
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.cost.prices import load_prices
        from tierfleet.planning.replay.backtest import Plans, backtest
        from tierfleet.planning.replay.backtest_text import backtest_text
        from tierfleet.planning.replay.html import backtest_html

        check_report(output.html, config, Path(source), container.profiles, prices)
        profiles, own = container.known(fleet)
        plans = Plans(
            config=fleet,
            source=source,
            requirements=required.requirements(fleet),
            prices=load_prices(prices),
            profiles=profiles,
            profile=own,
        )
        with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, steps() as step:
            calls = trace.read(source, Path(folder), profiles[own], lambda done: step("reading", done, 0))
            outcome = backtest(plans, calls.requests, calls.model_mb, split, step)
        rest = replace(outcome.rest, notices=(*calls.notices, *outcome.rest.notices))
        told = replace(outcome, rest=rest)
        write_report(output.html, lambda: backtest_html(told, plans.requirements, tierfleet.__version__))
    for notice in calls.notices:
        say("note", notice)
    typer.echo(json_text(outcome.to_json())) if output.as_json else out.print(escape(backtest_text(outcome, columns())))
    if outcome.failures:
        raise typer.Exit(1)

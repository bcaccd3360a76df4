"""`tierfleet plan replay`: what a trace would have met on the fleet as its file has it."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import tierfleet
from tierfleet.cli.console import columns, json_text, load_or_fail, out, planning_or_fail, say
from tierfleet.cli.option_groups import grouped
from tierfleet.cli.plan.replay_options import ContainerOptions, ReportOptions, TraceOptions
from tierfleet.cli.progress import steps
from tierfleet.cli.report_file import check_report, write_report


@grouped
def plan_replay(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://).")],
    config: Annotated[Path, typer.Option(help="The fleet file.")],
    trace: TraceOptions,
    container: ContainerOptions,
    output: ReportOptions,
    skip_days: Annotated[float, typer.Option(min=0, help="Days that only fill the caches.")] = 0,
    cold_p95_seconds: Annotated[
        float | None, typer.Option(help="Of calls that wait for a load. Default: alarms.max_loading_wait_seconds.")
    ] = None,
    warm_p95_milliseconds: Annotated[float | None, typer.Option(help="Of calls whose model is in memory.")] = None,
) -> None:
    """Serve a trace again on the fleet as its file has it: hits, loads, waits, instances. Deploys nothing."""
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.planning.replay.endpoints import Settings
        from tierfleet.planning.replay.html import replay_html
        from tierfleet.planning.replay.replay import replay
        from tierfleet.planning.replay.text import replay_text
        from tierfleet.planning.search.requirements import requirements_of

        check_report(output.html, config, Path(source), container.profiles)
        profiles, own = container.known(fleet)
        required = requirements_of(
            fleet,
            min_hit_ratio=0.0,
            cold_p95_seconds=cold_p95_seconds,
            warm_p95_seconds=None if warm_p95_milliseconds is None else warm_p95_milliseconds / 1000,
        )
        with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, steps() as step:
            calls = trace.read(source, Path(folder), profiles[own], lambda done: step("reading", done, 0))
            settings = Settings(
                source=source,
                profile=profiles[own],
                requirements=required,
                counted_from_seconds=float(calls.requests.seconds[0]) + skip_days * 86_400,
            )
            outcome = replay(
                fleet, calls.requests, calls.model_mb, settings, progress=lambda done: step("serving", done, 0)
            )
        told = replace(outcome, notices=(*calls.notices, *outcome.notices))
        write_report(output.html, lambda: replay_html(told, required, tierfleet.__version__))
    for notice in calls.notices:
        say("note", notice)
    typer.echo(json_text(outcome.to_json())) if output.as_json else out.print(escape(replay_text(outcome, columns())))

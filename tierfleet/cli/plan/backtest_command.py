"""`tierfleet plan backtest`: how good a plan of the first part of a trace would have been for the rest."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tierfleet.cli.config_commands import load_or_fail
from tierfleet.cli.console import Json, columns, json_text, out, planning_or_fail, say
from tierfleet.cli.plan.replay_command import (
    ColdP95Seconds,
    Config,
    ModelBytesColumn,
    ModelMegabytes,
    Packed,
    ProfileName,
    Profiles,
    Source,
    Strict,
    TenantColumn,
    TimestampColumn,
    Timezone,
    WarmP95Milliseconds,
)
from tierfleet.cli.progress import steps


def plan_backtest(
    source: Source,
    config: Config,
    split: Annotated[str, typer.Option(help="Plan on so much of the trace: 0.5, or up to a date.")] = "0.5",
    budget_usd: Annotated[float | None, typer.Option(help="A month, for everything.")] = None,
    min_hit_ratio: Annotated[float | None, typer.Option(help="Default: alarms.min_cache_hit_ratio.")] = None,
    cold_p95_seconds: ColdP95Seconds = None,
    warm_p95_milliseconds: WarmP95Milliseconds = None,
    model_megabytes: ModelMegabytes = None,
    packed: Packed = False,
    tenant_column: TenantColumn = None,
    timestamp_column: TimestampColumn = None,
    model_bytes_column: ModelBytesColumn = None,
    timezone: Timezone = None,
    strict: Strict = False,
    profile: ProfileName = None,
    profiles: Profiles = None,
    prices: Annotated[Path | None, typer.Option(help="A price table.")] = None,
    as_json: Json = False,
) -> None:
    """Plan on the first part of a trace, replay the rest on that fleet, and compare. Deploys nothing.

    Exit code 1 if something that is required was not kept in the rest.
    """
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.cost.prices import load_prices
        from tierfleet.planning.cache.curve_table import Reading
        from tierfleet.planning.planner import make_plan
        from tierfleet.planning.profiles.profile_files import load_profiles
        from tierfleet.planning.replay.backtest import (
            backtest_text,
            compare,
            first_part,
            planned_config,
            split_seconds,
        )
        from tierfleet.planning.replay.endpoints import Settings
        from tierfleet.planning.replay.replay import replay
        from tierfleet.planning.replay.trace_source import read_calls
        from tierfleet.planning.request import Question, profile_name
        from tierfleet.planning.search.requirements import requirements_of
        from tierfleet.planning.traffic.trace_columns import Columns
        from tierfleet.planning.traffic.workload import filling_days, workload_from_trace

        known = load_profiles(profiles)
        own = profile_name(fleet, known, profile)
        required = requirements_of(
            fleet,
            min_hit_ratio=min_hit_ratio,
            warm_p95_seconds=None if warm_p95_milliseconds is None else warm_p95_milliseconds / 1000,
            cold_p95_seconds=cold_p95_seconds,
            usd=budget_usd,
        )
        with tempfile.TemporaryDirectory(prefix="tierfleet-") as folder, steps() as step:
            calls = read_calls(
                source,
                Path(folder),
                reading=Reading(
                    Columns(tenant=tenant_column, timestamp=timestamp_column, model_bytes=model_bytes_column),
                    timezone,
                    strict,
                ),
                default_megabytes=model_megabytes,
                packed_ratio=known[own].artefact_mb_per_model_mb if packed else None,
                progress=lambda done: step("reading", done, 0),
            )
            split_at = split_seconds(calls.requests, split)
            part, sizes = first_part(calls.requests, calls.model_mb, split_at)
            days = part.duration_seconds / 86_400
            plan, _ = make_plan(
                Question(
                    config=fleet,
                    workload=workload_from_trace(part, sizes, skip_days=filling_days(days)),
                    source=source,
                    days=days,
                    requirements=required,
                    prices=load_prices(prices),
                    profiles=known,
                    profile=own,
                ),
                step,
            )
            outcome = replay(
                planned_config(fleet, plan.shown),
                calls.requests,
                calls.model_mb,
                Settings(source=source, profile=known[own], requirements=required, counted_from_seconds=split_at),
                progress=lambda done: step("serving", done, 0),
            )
    backtest = compare(plan, outcome, calls.requests, split_at, required, fleet.default_tier)
    for notice in calls.notices:
        say("note", notice)
    typer.echo(json_text(backtest.to_json())) if as_json else out.print(escape(backtest_text(backtest, columns())))
    if backtest.failures:
        raise typer.Exit(1)

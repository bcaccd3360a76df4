"""`tierfleet plan replay`: what a trace would have met on the fleet as its file has it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tierfleet.cli.config_commands import load_or_fail
from tierfleet.cli.console import Json, columns, json_text, out, planning_or_fail, say
from tierfleet.cli.progress import steps

if TYPE_CHECKING:
    from tierfleet.planning.traffic.requests import Progress

_SLA = "What is required"
_TRAFFIC = "Traffic"

Source = Annotated[str, typer.Argument(help="A trace (file, pattern or s3://).")]
Config = Annotated[Path, typer.Option(help="The fleet file.")]
ColdP95Seconds = Annotated[
    float | None,
    typer.Option(help="Of calls that load. Default: alarms.max_loading_wait_seconds.", rich_help_panel=_SLA),
]
WarmP95Milliseconds = Annotated[
    float | None, typer.Option(help="Of calls whose model is in memory.", rich_help_panel=_SLA)
]
ModelMegabytes = Annotated[
    float | None, typer.Option(min=0.001, help="Where the trace has no sizes.", rich_help_panel=_TRAFFIC)
]
Packed = Annotated[
    bool, typer.Option("--packed", help="Sizes are those of tar.gz artefacts.", rich_help_panel=_TRAFFIC)
]
TenantColumn = Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)]
TimestampColumn = Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)]
ModelBytesColumn = Annotated[str | None, typer.Option(rich_help_panel=_TRAFFIC)]
Timezone = Annotated[str | None, typer.Option(help="Of times without a zone.", rich_help_panel=_TRAFFIC)]
Strict = Annotated[bool, typer.Option("--strict", help="Bad rows are an error.", rich_help_panel=_TRAFFIC)]
ProfileName = Annotated[str | None, typer.Option(help="Container; default: the file's own.")]
Profiles = Annotated[Path | None, typer.Option(help="A profiles file; default: the shipped one.")]


def plan_replay(
    source: Source,
    config: Config,
    cold_p95_seconds: ColdP95Seconds = None,
    warm_p95_milliseconds: WarmP95Milliseconds = None,
    model_megabytes: ModelMegabytes = None,
    packed: Packed = False,
    skip_days: Annotated[
        float, typer.Option(min=0, help="Days that only fill the caches.", rich_help_panel=_TRAFFIC)
    ] = 0,
    tenant_column: TenantColumn = None,
    timestamp_column: TimestampColumn = None,
    model_bytes_column: ModelBytesColumn = None,
    timezone: Timezone = None,
    strict: Strict = False,
    profile: ProfileName = None,
    profiles: Profiles = None,
    as_json: Json = False,
) -> None:
    """Serve a trace again on the fleet as its file has it: hits, loads, waits, instances. Deploys nothing."""
    fleet = load_or_fail(config)
    with planning_or_fail():
        from tierfleet.planning.cache.curve_table import Reading
        from tierfleet.planning.profiles.profile_files import load_profiles
        from tierfleet.planning.replay.endpoints import Settings
        from tierfleet.planning.replay.replay import replay
        from tierfleet.planning.replay.text import replay_text
        from tierfleet.planning.replay.trace_source import read_calls
        from tierfleet.planning.request import profile_name
        from tierfleet.planning.search.requirements import requirements_of
        from tierfleet.planning.traffic.trace_columns import Columns

        known = load_profiles(profiles)
        own = known[profile_name(fleet, known, profile)]
        required = requirements_of(
            fleet,
            min_hit_ratio=0.0,
            cold_p95_seconds=cold_p95_seconds,
            warm_p95_seconds=None if warm_p95_milliseconds is None else warm_p95_milliseconds / 1000,
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
                packed_ratio=own.artefact_mb_per_model_mb if packed else None,
                progress=lambda done: step("reading", done, 0),
            )
            settings = Settings(
                source=source,
                profile=own,
                requirements=required,
                counted_from_seconds=float(calls.requests.seconds[0]) + skip_days * 86_400,
            )
            serving: Progress = lambda done: step("serving", done, 0)  # noqa: E731
            outcome = replay(fleet, calls.requests, calls.model_mb, settings, progress=serving)
    for notice in calls.notices:
        say("note", notice)
    typer.echo(json_text(outcome.to_json())) if as_json else out.print(escape(replay_text(outcome, columns())))

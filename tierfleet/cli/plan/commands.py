"""`tierfleet plan`: traffic in; who is a whale, how big the cache must be, and what it costs."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tierfleet.cli.console import Json, json_text, out, planning_or_fail, say, wide
from tierfleet.cli.progress import advancing

if TYPE_CHECKING:
    from tierfleet.planning.cache.curve_table import CurveRow

app = typer.Typer(no_args_is_help=True, help="Plan a fleet from its traffic. Deploys nothing.")


@app.command("synthesize")
def plan_synthesize(
    shape: Annotated[str, typer.Argument(help="fraud, churn or churn-flat.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="A .parquet, .csv or .jsonl file; text also .gz, .zst.")],
    days: Annotated[float, typer.Option(min=0.01)] = 30,
    seed: int = 0,
    calls_per_session: Annotated[float, typer.Option(min=1, help="1 makes independent calls.")] = 1,
    mean_gap_seconds: Annotated[
        float | None, typer.Option(min=0, help="Between the calls of a session. Default: 600.")
    ] = None,
    requests_per_day: Annotated[float | None, typer.Option(min=1, help="Instead of the shape's.")] = None,
    zipf: Annotated[float | None, typer.Option(min=0, help="Popularity by this Zipf exponent instead.")] = None,
    no_rhythm: Annotated[bool, typer.Option("--no-rhythm", help="Evenly over the day and the week.")] = False,
) -> None:
    """Write a trace of a known traffic shape; the same arguments write the same trace."""
    with planning_or_fail():
        from tierfleet.planning.sources import refuse_idle_options, sessions_of
        from tierfleet.planning.traffic.sessions import INDEPENDENT
        from tierfleet.planning.traffic.shapes import varied
        from tierfleet.planning.traffic.synthesize import write_trace

        traffic = varied(shape, requests_per_day=requests_per_day, zipf=zipf, without_rhythm=no_rhythm)
        several = calls_per_session if calls_per_session > 1 else None
        refuse_idle_options(output.name, {"--calls-per-session": several, "--mean-gap-seconds": mean_gap_seconds})
        sessions = sessions_of(several, mean_gap_seconds) or INDEPENDENT
        with advancing("making requests", round(traffic.requests_per_day * days)) as advance:
            written = write_trace(traffic, output, days=days, seed=seed, sessions=sessions, progress=advance)
    out.print(escape(f"{output}  {written:,} requests of {len(traffic.tenants):,} tenants"))


@app.command("curve")
def plan_curve(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://), or a table of rates.")],
    resident_mib: Annotated[
        float | None, typer.Option(min=0.001, help="Memory of a loaded model; by default its artefact's size.")
    ] = None,
    capacity_mib: Annotated[
        list[float] | None, typer.Option(help="Memory for models per instance; may be repeated.")
    ] = None,
    capacity_models: Annotated[
        list[float] | None, typer.Option(help="The same in models of average size; may be repeated.")
    ] = None,
    instances: Annotated[int, typer.Option(min=1, max=1000, help="A model lives on one of them.")] = 1,
    skip_days: Annotated[float, typer.Option(min=0, help="The first days fill the cache and are not counted.")] = 0,
    belady: Annotated[bool, typer.Option("--belady", help="Add what a cache that knows the future does.")] = False,
    calls_per_session: Annotated[float | None, typer.Option(min=1, help="Rates: the burstiness.")] = None,
    mean_gap_seconds: Annotated[
        float | None, typer.Option(min=0, help="Rates: between the calls of a session. Default: 600.")
    ] = None,
    tenant_column: str | None = None,
    timestamp_column: str | None = None,
    model_bytes_column: str | None = None,
    latency_column: str | None = None,
    timezone: Annotated[str | None, typer.Option(help="Of times without a zone, such as Europe/London.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Rows that cannot be used are an error.")] = False,
    as_json: Json = False,
) -> None:
    """Show the hit ratio of the shared cache at several capacities."""
    with planning_or_fail(), tempfile.TemporaryDirectory(prefix="tierfleet-") as folder:
        from tierfleet.planning.cache import curve_table
        from tierfleet.planning.sources import refuse_idle_options, sessions_of
        from tierfleet.planning.traffic.trace_columns import Columns

        refuse_idle_options(
            source,
            {
                "--skip-days": skip_days or None,
                "--tenant-column": tenant_column,
                "--timestamp-column": timestamp_column,
                "--model-bytes-column": model_bytes_column,
                "--latency-column": latency_column,
                "--timezone": timezone,
                "--strict": strict,
                "--calls-per-session": calls_per_session,
                "--mean-gap-seconds": mean_gap_seconds,
            },
        )
        sessions = sessions_of(calls_per_session, mean_gap_seconds)
        columns = Columns(
            tenant=tenant_column, timestamp=timestamp_column, model_bytes=model_bytes_column, latency=latency_column
        )
        with advancing("passing over the trace", None) as advance:
            table = curve_table.tabulate(
                source,
                Path(folder),
                resident_mib=resident_mib,
                capacities_mib=capacity_mib or [],
                capacities_models=capacity_models or [],
                instances=instances,
                skip_days=skip_days,
                with_belady=belady,
                sessions=sessions,
                reading=curve_table.Reading(columns, timezone, strict),
                progress=advance,
            )
    for notice in table.notices:
        say("note", notice)
    if as_json:
        typer.echo(json_text(asdict(table)))
        return
    out.print(escape(table.summary))
    wide.print(_rendered(table.rows))


def _rendered(rows: tuple["CurveRow", ...]) -> Table:
    best = "no cache above" if any(row.bound is not None for row in rows) else "Belady"
    rendered = Table("MiB per instance", "models", "LRU", "unloads/h", "Che", "best fixed set", best, box=None)
    for column in rendered.columns:
        column.justify = "right"
    for row in rows:
        unloads = "" if row.evictions_per_hour is None else f"{row.evictions_per_hour:,.0f}"
        most = row.belady if row.bound is None else row.bound
        ratios = ["" if ratio is None else f"{ratio:.1%}" for ratio in (row.lru, row.che, row.static, most)]
        rendered.add_row(f"{row.capacity_mib:,.0f}", f"{row.models:,.0f}", ratios[0], unloads, *ratios[1:])
    return rendered

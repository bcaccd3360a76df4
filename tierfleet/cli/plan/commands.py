"""`tierfleet plan`: traffic in; who is a whale, how big the cache must be, and what it costs."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tierfleet.cli.console import Json, columns, json_text, out, planning_or_fail, say, wide
from tierfleet.cli.option_groups import given, grouped
from tierfleet.cli.plan.trace_options import TraceOptions
from tierfleet.cli.progress import advancing
from tierfleet.text import wrapped

if TYPE_CHECKING:
    from tierfleet.planning.cache.curve_table import CurveRow

app = typer.Typer(no_args_is_help=True, help="Plan a fleet from its traffic. Deploys nothing.")


@app.command("synthesize")
def plan_synthesize(
    shape: Annotated[str, typer.Argument(help="fraud, churn or churn-flat.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="A .parquet, .csv or .jsonl file; text also .gz, .zst.")],
    days: Annotated[float, typer.Option(min=0.01, max=3660)] = 30,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    calls_per_session: Annotated[float, typer.Option(min=1, help="1 makes independent calls.")] = 1,
    mean_gap_seconds: Annotated[
        float | None, typer.Option(min=0, help="The mean gap between the calls of a session. Default: 600.")
    ] = None,
    requests_per_day: Annotated[
        float | None, typer.Option(min=1, max=1e9, help="The number of requests; default: the shape's.")
    ] = None,
    zipf: Annotated[
        float | None,
        typer.Option(min=0, max=10, help="The Zipf exponent of popularity; default: the shape's popularity."),
    ] = None,
    no_rhythm: Annotated[
        bool, typer.Option("--no-rhythm", help="Spread the calls evenly over the day and the week.")
    ] = False,
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
        with advancing("writing requests", round(traffic.requests_per_day * days)) as advance:
            written = write_trace(traffic, output, days=days, seed=seed, sessions=sessions, progress=advance)
    out.print(escape(f"{output}  {written:,} requests of {len(traffic.tenants):,} tenants"))


@app.command("curve")
@grouped
def plan_curve(
    source: Annotated[str, typer.Argument(help="A trace (file, pattern or s3://), or a table of rates.")],
    trace: TraceOptions,
    resident_mib: Annotated[
        float | None, typer.Option(min=0.001, help="The memory of a loaded model; default: its artefact's size.")
    ] = None,
    capacity_mib: Annotated[
        list[float] | None, typer.Option(help="The memory for models per instance; repeatable.")
    ] = None,
    capacity_models: Annotated[
        list[float] | None, typer.Option(help="The same, in models of average size; repeatable.")
    ] = None,
    instances: Annotated[
        int, typer.Option(min=1, max=1000, help="The number of instances; each model is on one of them.")
    ] = 1,
    skip_days: Annotated[float, typer.Option(min=0, help="The first days fill the cache and are not counted.")] = 0,
    belady: Annotated[bool, typer.Option("--belady", help="Also show a cache that knows the future.")] = False,
    latency_column: Annotated[
        str | None, typer.Option(help="The column of latencies, whose percentiles are shown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the hit ratio of the shared cache at several capacities."""
    with planning_or_fail(), tempfile.TemporaryDirectory(prefix="tierfleet-") as folder:
        from tierfleet.planning.cache import curve_table
        from tierfleet.planning.sources import refuse_idle_options, sessions_of

        refuse_idle_options(
            source,
            {
                **given(trace),
                "--skip-days": skip_days or None,
                "--latency-column": latency_column,
                "--belady": belady,
                "--instances": instances if instances > 1 else None,
                "--resident-mib": resident_mib,
            },
        )
        sessions = sessions_of(trace.calls_per_session, trace.mean_gap_seconds)
        with advancing("reading the trace", None) as advance:
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
                reading=trace.reading(latency_column),
                progress=advance,
            )
    for notice in table.notices:
        say("note", notice)
    if as_json:
        typer.echo(json_text(asdict(table)))
        return
    for line in wrapped([table.summary], columns()):
        out.print(escape(line))
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

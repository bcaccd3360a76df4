"""`tierfleet batch`: score every row of a file with one tenant's model."""

from pathlib import Path
from typing import Annotated

import typer

from tierfleet.batch.input_file import check_file
from tierfleet.batch.run import Backfill, Summary, run
from tierfleet.batch.scoring import TooManyFailedRowsError
from tierfleet.cli.console import Json, fail, out, print_json, say
from tierfleet.cli.emulator import emulator_or_fail
from tierfleet.cli.fleet_choice import Environment, Fleet, Local, Region, choose_fleet
from tierfleet.cli.fleet_file import ConfigOption
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.invoke.command import client_or_fail
from tierfleet.cli.progress import advancing
from tierfleet.errors import InputError
from tierfleet.runtime import clients
from tierfleet.runtime.client import CallError, ClientSettings
from tierfleet.runtime.client.reply import CSV, JSON
from tierfleet.runtime.client.request_check import check_request, container_to_call
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.hosting.asynchronous import MOST_INVOCATION_SECONDS, MOST_TTL_SECONDS
from tierfleet.runtime.hosting.multi_container import PRIMARY
from tierfleet.runtime.route_document import RoutesError
from tierfleet.text import counted

# A request at a time and at most half of the time, whatever this says: batch/pace.py.
DEFAULT_REQUESTS_PER_SECOND = 5.0
# How long a request may be in a queue, and then run.
_LONGEST_WAIT_SECONDS = float(MOST_TTL_SECONDS + MOST_INVOCATION_SECONDS)
_RESUME = "the same command resumes it"


def batch(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="Rows of numbers: a .csv or .parquet file.")],
    out_file: Annotated[Path, typer.Option("--out", "-o", help="The CSV file to write: row, score, error.")],
    config: ConfigOption = None,
    fleet: Fleet = None,
    environment: Environment = None,
    region: Region = None,
    local: Local = False,
    container: Annotated[
        str, typer.Option(help="Which container of a multi-container endpoint scores, by its hostname.")
    ] = PRIMARY,
    requests_per_second: Annotated[
        float | None,
        typer.Option(min=0.001, max=1000, help="The rate of calls; default: 5. An asynchronous endpoint has a queue."),
    ] = None,
    rows_per_request: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Default: 100, or 5000 for an asynchronous endpoint.")
    ] = None,
    max_failed_rows: Annotated[
        int, typer.Option(min=0, help="End the run once more rows than this have failed.")
    ] = 100,
    wait_seconds: Annotated[
        float, typer.Option(min=1, help="The longest wait for one result of an asynchronous endpoint.")
    ] = _LONGEST_WAIT_SECONDS,
    as_json: Json = False,
) -> None:
    """Score every row of a file, once and in order, and resume where an interrupted run ended.

    Exit code 1 if a row or the run failed, 2 if it could not begin, 130 after Ctrl-C.
    """
    choice = choose_fleet(config, fleet, environment, region, local=local)
    try:
        file = check_file(rows)
    except OSError as error:
        fail(f"{error.filename} cannot be read: {error.strerror}")
    except InputError as error:
        fail(str(error))
    routes = choice.deployed_routes()
    try:
        route = routes.route_of(tenant)
    except RoutesError as error:
        fail(f"tenant {tenant}: {error}")
    try:
        # Before a manifest says whose run it is.
        check_request(tenant, b"", CSV, JSON, 1.0, container)
        container_to_call(route, container, tenant=tenant)
    except CallError as error:
        fail(str(error))
    if requests_per_second is not None and not route.shape.request_response:
        fail(
            f"tenant {tenant} has an asynchronous endpoint, whose queue sets the pace: leave --requests-per-second out"
        )
    # A request at a time: online callers of the tenant share its endpoint.
    settings = ClientSettings(calls_per_tenant=1, connections=2)
    aws = clients.calling_clients(
        session=choice.session,
        region=None,
        read_timeout_seconds=LONGEST_ANSWER_SECONDS,
        connections=settings.connections,
        endpoint_url=choice.endpoint_url,
    )
    backfill = Backfill(
        tenant=tenant,
        fleet=choice.fleet,
        environment=choice.environment,
        file=file,
        out=out_file,
        shape=route.shape,
        endpoint=route.endpoint,
        container=container,
        requests_per_second=requests_per_second or DEFAULT_REQUESTS_PER_SECOND,
        rows_per_request=rows_per_request,
        max_failed_rows=max_failed_rows,
        wait_seconds=wait_seconds,
    )
    client = client_or_fail(choice, settings, aws)
    try:
        with if_interrupted(_RESUME), emulator_or_fail(choice.emulator), advancing("scoring", file.rows) as more:
            summary = run(backfill, client, progress=more)
    except InputError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or out_file} cannot be written: {error.strerror}; {_RESUME}")
    except (CallError, TooManyFailedRowsError) as error:
        say("error", f"{error}; {_RESUME}")
        raise typer.Exit(1) from None
    finally:
        client.close()
        aws.close()
    _tell(summary, as_json=as_json)


def _tell(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        print_json(summary.to_json())
    else:
        resumed = f", {summary.resumed_rows:,} of them before" if summary.resumed_rows else ""
        rows, requests = counted(summary.rows, "row"), counted(summary.requests, "request")
        out.print(f"{rows} in {summary.out}{resumed}; {requests}, {summary.seconds:.0f} s")
    if len(summary.model_versions) > 1:
        shown = ", ".join(f"{version} ({count:,} rows)" for version, count in sorted(summary.model_versions.items()))
        say("warning", f"several model versions scored them: {shown}")
    if summary.failed_rows:
        rows, have = counted(summary.failed_rows, "row"), "has" if summary.failed_rows == 1 else "have"
        say("error", f"{rows} {have} no score; the column error says why")
        raise typer.Exit(1)

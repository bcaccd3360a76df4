"""`tierfleet invoke`: call one tenant's model once or many times, or explain a call."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from tierfleet.cli.console import Json, columns, err, fail, out, print_json, say
from tierfleet.cli.emulator import emulator_or_fail
from tierfleet.cli.fleet_choice import Environment, Fleet, FleetChoice, Local, Region, choose_fleet
from tierfleet.cli.fleet_file import ConfigOption, File, named
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.invoke.call_text import batch_text, explanation_text, reply_line
from tierfleet.cli.invoke.contributions_text import contributions_text
from tierfleet.cli.invoke.request_body import given_body, probe_body
from tierfleet.cli.progress import counter
from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.api_trace import ApiTrace
from tierfleet.runtime.client.batch import call_many
from tierfleet.runtime.client.errors import CallError, RequestInvalidError, RoutesUnavailableError
from tierfleet.runtime.client.explain import explain, reply_json, where_json
from tierfleet.runtime.client.reply import CSV, JSON, Reply
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.hosting.multi_container import PRIMARY
from tierfleet.runtime.route_document import RouteDocument, RoutesError

# Each thread makes one call at a time. More threads would measure this machine.
MOST_CONCURRENCY = 256
# An asynchronous endpoint may have to wake up first.
_QUEUED_SECONDS = 900.0


def invoke(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    file: File = None,
    config: ConfigOption = None,
    fleet: Fleet = None,
    environment: Environment = None,
    region: Region = None,
    local: Local = False,
    body: Annotated[str | None, typer.Option(help="The body to send; default: the probe of the routes.")] = None,
    body_file: Annotated[Path | None, typer.Option(help="A file to send unchanged; - is standard input.")] = None,
    rows: Annotated[
        Path | None, typer.Option(help="A CSV file of features without a header; an empty cell is a missing value.")
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(help="The container of a multi-container endpoint, by its hostname; or primary."),
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(help="The type of the body; default: text/csv, the container's, or the probe's.")
    ] = None,
    accept: Annotated[str, typer.Option(help="The type of the reply.")] = JSON,
    count: Annotated[int, typer.Option(min=1, help="The number of calls.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=MOST_CONCURRENCY, help="The number of concurrent calls.")] = 1,
    deadline_seconds: Annotated[
        float | None,
        typer.Option(min=0.001, help="The longest time of each call; default: 70; serverless 250, asynchronous 900."),
    ] = None,
    contribs: Annotated[
        bool, typer.Option("--contribs", help="Show what each feature contributes to the scores (SHAP).")
    ] = False,
    explain_it: Annotated[
        bool, typer.Option("--explain", help="Call twice and show the route, the cache and each request.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Call a tenant's model.

    Exit code 1 if a call failed, 2 if no call could be made, 130 after Ctrl-C.
    """
    if explain_it and count > 1:
        fail("--explain explains one call: leave --count out")
    if contribs and (count > 1 or explain_it):
        fail("--contribs explains one call: leave --count and --explain out")
    if contribs and accept != JSON:
        fail("--contribs sets the type of the reply: leave --accept out")
    given = given_body(body, body_file, rows, content_type)
    choice = choose_fleet(named(file, config), fleet, environment, region, local=local)
    routes = choice.deployed_routes()
    queued = has_queue(routes, tenant)
    if queued and (contribs or explain_it):
        fail(
            f"tenant {tenant} has an asynchronous endpoint, which answers no calls: leave --contribs and --explain out"
        )
    if queued and container not in (None, PRIMARY):
        fail(f"tenant {tenant} has an asynchronous endpoint, which has one container: leave --container out")
    content, content_type = given or probe_body(routes, tenant, content_type, container)
    settings = ClientSettings(
        deadline_seconds=deadline_seconds, calls_per_tenant=concurrency, connections=max(2, concurrency)
    )
    aws = clients.calling_clients(
        session=choice.session,
        region=None,
        read_timeout_seconds=min(LONGEST_ANSWER_SECONDS, deadline_seconds or LONGEST_ANSWER_SECONDS),
        connections=settings.connections,
        endpoint_url=choice.endpoint_url,
    )
    client = client_or_fail(choice, settings, aws)

    def call() -> Reply:
        if queued:
            submission = client.submit(tenant, content, content_type=content_type or CSV, accept=accept)
            return client.result(submission, deadline_seconds or _QUEUED_SECONDS)
        return client.invoke(tenant, content, container=container, content_type=content_type, accept=accept)

    try:
        with if_interrupted("calls that are still running are abandoned"), emulator_or_fail(choice.emulator):
            if contribs:
                _contribs(client, tenant, content, content_type or CSV, container, as_json=as_json)
            elif explain_it:
                _explain(call, tenant, routes, choice, aws, as_json=as_json)
            elif count > 1:
                _many(call, count, concurrency, as_json=as_json)
            else:
                _once(call, as_json=as_json)
    finally:
        client.close()
        aws.close()


def has_queue(routes: RouteDocument, tenant: str) -> bool:
    """Whether the tenant's requests go into the queue of an asynchronous endpoint."""
    try:
        return not routes.route_of(tenant).shape.request_response
    except RoutesError:
        return False


def client_or_fail(choice: FleetChoice, settings: ClientSettings, aws: clients.CallingClients) -> FleetClient:
    """A client of the chosen fleet that publishes no metrics. Exits with 2 where the fleet's names are invalid."""
    try:
        return FleetClient(
            choice.fleet,
            choice.environment,
            account=choice.account,
            settings=settings,
            session=choice.session,
            aws=aws,
            # A person's calls are not the fleet's: its metrics and its rollback monitor must not count them.
            emit=lambda _line: None,
        )
    except ValueError as error:
        fail(str(error))


def _once(call: Callable[[], Reply], *, as_json: bool) -> None:
    try:
        reply = call()
    except CallError as error:
        _end_with(error)
    if as_json:
        print_json(reply_json(reply))
        return
    shown = reply_json(reply)
    for prediction in shown.get("predictions", ()):
        typer.echo(",".join(map(repr, prediction)) if isinstance(prediction, list) else repr(prediction))
    if "body" in shown:
        typer.echo(shown["body"])
    err.print(f"[dim]{escape(reply_line(reply))}[/]")


def _contribs(
    client: FleetClient, tenant: str, content: bytes, content_type: str, container: str | None, *, as_json: bool
) -> None:
    try:
        reply, explained = client.explain_body(tenant, content, container=container, content_type=content_type)
    except CallError as error:
        _end_with(error)
    if as_json:
        print_json({**asdict(explained), **where_json(reply)})
        return
    out.print(contributions_text(explained))
    err.print(f"[dim]{escape(reply_line(reply))}[/]")


def _many(call: Callable[[], Reply], count: int, concurrency: int, *, as_json: bool) -> None:
    with counter("calling", count) as one:
        report = call_many(call, count=count, concurrency=concurrency, ended=one)
    if as_json:
        print_json(report.to_json())
    else:
        out.print(batch_text(report, columns()))
    if report.failed:
        raise typer.Exit(1)


def _explain(
    call: Callable[[], Reply],
    tenant: str,
    routes: RouteDocument,
    choice: FleetChoice,
    aws: clients.CallingClients,
    *,
    as_json: bool,
) -> None:
    trace = ApiTrace()
    trace.watch(aws)
    explanation = explain(call, tenant=tenant, routes=routes, trace=trace, in_memory=choice.loaded_models())
    if as_json:
        print_json(explanation.to_json())
    else:
        out.print(explanation_text(explanation, columns()))
    if explanation.error is not None:
        _end_with(explanation.error)


def _end_with(error: CallError) -> NoReturn:
    say("error", str(error))
    raise typer.Exit(2 if isinstance(error, RequestInvalidError | RoutesUnavailableError) else 1)

"""`tierfleet warm`: run the warm-up by hand, with a progress bar."""

import re
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text

from tierfleet.cli.aws import aws_or_fail
from tierfleet.cli.console import Json, columns, fail, out, print_json
from tierfleet.cli.emulator import emulator_or_fail
from tierfleet.cli.fleet_choice import Environment, Fleet, FleetChoice, Local, Region, choose_fleet
from tierfleet.cli.fleet_file import ConfigOption, File, named
from tierfleet.cli.interruption import if_interrupted
from tierfleet.cli.progress import counter
from tierfleet.columns import sentence
from tierfleet.config.routes import route_json
from tierfleet.runtime import clients
from tierfleet.runtime.names import WORD_PATTERN, models_bucket
from tierfleet.runtime.route_document import RouteDocument, RoutesError
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.warm_up.plan import WarmUpPlan, plan_warm_up
from tierfleet.runtime.warm_up.report import WarmUpReport
from tierfleet.runtime.warm_up.run import warm as run_warm_up

# The same as the warm-up function's.
DEFAULT_DEADLINE_SECONDS = 780.0
MOST_CONCURRENCY = 256
_STYLE = {"warmed": "green", "failed": "red", "missing": "yellow", "skipped": "dim", "left": "yellow"}


def warm(
    file: File = None,
    config: ConfigOption = None,
    fleet: Fleet = None,
    environment: Environment = None,
    region: Region = None,
    local: Local = False,
    tier: Annotated[str | None, typer.Option(help="A multi-model tier; default: the one with a warm-up.")] = None,
    tenants: Annotated[
        str | None, typer.Option(help="Warm these instead of the warm-up list, hottest first, for example m07,m08.")
    ] = None,
    from_config: Annotated[
        bool, typer.Option("--from-config", help="Use the list and probe of --config, not of the deployed routes.")
    ] = False,
    endpoint: Annotated[str | None, typer.Option(help="Warm this endpoint instead of the tier's.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=MOST_CONCURRENCY, help="Concurrent probes; default: the tier's.")
    ] = None,
    deadline_seconds: Annotated[
        float | None, typer.Option(min=1, help="The longest time of the run; default: the tier's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load tenants' models on a multi-model endpoint, the hottest last.

    Exit code 0 if every tenant is warm or served by another tier; 1 if a tenant failed, was left or has no model; 2 if
    the run could not start; 130 after Ctrl-C.
    """
    chosen = named(file, config)
    if from_config and chosen is None and not local:
        fail("--from-config needs a fleet file: give --config")
    if from_config and tenants is not None:
        fail("--tenants and --from-config both say which tenants to warm: give one of them")
    names = None if tenants is None else [name for name in tenants.replace(",", " ").split() if name]
    wrong = [name for name in names or () if not re.fullmatch(WORD_PATTERN, name)]
    if names == [] or wrong:
        fail(f"--tenants is {tenants!r}, allowed: tenant ids separated by commas, such as m07,m08")
    choice = choose_fleet(chosen, fleet, environment, region, local=local)
    if from_config and choice.config is None:
        fail("--from-config needs a fleet file: give --config, or --local alone")
    deployed = choice.deployed_routes()
    routes = parse_routes(route_json(choice.config)) if from_config and choice.config else deployed
    plan = _plan(routes, deployed, tier, names, endpoint, concurrency, deadline_seconds)
    left = "loaded models stay loaded; run it again for the rest"
    with if_interrupted(left), emulator_or_fail(choice.emulator):
        report = _run(choice, deployed, plan)
    if as_json:
        print_json({"endpoint": plan.endpoint_name, "tier": plan.tier, **report.to_json()})
    else:
        _print(plan, report)
    if report.failed or report.left or report.missing:
        raise typer.Exit(1)


def _plan(
    routes: RouteDocument,
    deployed: RouteDocument,
    tier: str | None,
    tenants: list[str] | None,
    endpoint: str | None,
    concurrency: int | None,
    deadline_seconds: float | None,
) -> WarmUpPlan:
    shared = {route.endpoint for route in deployed.tiers.values()}
    if endpoint in {route.endpoint for route in deployed.tenants.values()} - shared:
        fail(f"{endpoint} is a dedicated endpoint: its model is always in memory")
    if tier is None:
        tier = deployed.tier_at(endpoint) if endpoint else None
    if tier is None:
        tier = next(iter(sorted(routes.warm_ups)), routes.default_tier)
    try:
        return plan_warm_up(
            routes,
            tier,
            # A new list can be warmed on the deployed endpoint. A new endpoint cannot be warmed before it is deployed.
            endpoint_name=endpoint or (deployed.tiers[tier].endpoint if tier in deployed.tiers else None),
            tenants=tenants,
            concurrency=concurrency,
            deadline_seconds=deadline_seconds,
            most_seconds=deadline_seconds or DEFAULT_DEADLINE_SECONDS,
        )
    except RoutesError as error:
        fail(str(error))


def _run(choice: FleetChoice, deployed: RouteDocument, plan: WarmUpPlan) -> WarmUpReport:
    bucket = deployed.models_bucket
    if bucket is None:
        with aws_or_fail("the account of these credentials", permissions="with --config this call is not needed"):
            account = choice.account or clients.caller_account(choice.session, region=None)
        bucket = models_bucket(choice.fleet, choice.environment, account, str(choice.session.region_name))
    # A connection for each probe: one that waits for another's would look like a slow load.
    runtime = clients.cold_path_client(
        connections=plan.concurrency, session=choice.session, endpoint_url=choice.endpoint_url
    )
    s3 = clients.s3_client(connections=plan.concurrency, session=choice.session, endpoint_url=choice.endpoint_url)
    try:
        with counter(f"warming {plan.endpoint_name}", len(plan.tenants) - len(plan.elsewhere)) as one:
            return run_warm_up(plan, runtime=runtime, s3=s3, models_bucket=bucket, ended=one)
    finally:
        runtime.close()
        s3.close()


def _print(plan: WarmUpPlan, report: WarmUpReport) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    line = Text(sentence(f"{counts} in {report.seconds:.1f} s", columns(), first=f"{plan.endpoint_name}: "))
    for name, count in report.counts.items():
        line.highlight_words([f"{count} {name}"], _STYLE[name])
    out.print(line)
    for why in dict.fromkeys(report.failed.values()):
        _print_outcome("failed", "red", [tenant for tenant, reason in report.failed.items() if reason == why], why)
    for tenant in report.missing:
        _print_outcome("missing", "yellow", [tenant], "nothing is published, or the artefact was deleted")
    for tenant, why in report.skipped.items():
        _print_outcome("skipped", "dim", [tenant], why)
    if report.left:
        same = report.stopped in report.failed.values()
        _print_outcome(
            "left", "yellow", report.left, "for the same reason" if same else report.stopped or "the run ended"
        )


def _print_outcome(name: str, style: str, tenants: Iterable[str], why: str) -> None:
    line = Text(sentence(f"{', '.join(tenants)}: {why}", columns(), first=f"  {name:<7} "))
    line.stylize(style, 0, 2 + len(name))
    out.print(line)

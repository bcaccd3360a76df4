"""Which fleet a command calls, with which credentials, and where: at AWS, or in the local emulator."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import boto3
import botocore.session
import typer
from botocore.exceptions import NoCredentialsError

from tierfleet.cli.aws import CALLERS_PERMISSIONS, any_failure_or_fail, aws_or_fail, read_routes
from tierfleet.cli.console import fail, load_or_fail
from tierfleet.cli.emulator import emulator_or_fail, running_emulator
from tierfleet.cli.fleet_file import remembered
from tierfleet.config import FleetConfig
from tierfleet.runtime.route_document import RouteDocument, RoutesError

Fleet = Annotated[str | None, typer.Option("--fleet", help="The fleet's name, with --environment.")]
Environment = Annotated[str | None, typer.Option("--environment", help="The fleet's environment.")]
Region = Annotated[str | None, typer.Option("--region", help="With --fleet; default: the region of your profile.")]
Local = Annotated[bool, typer.Option("--local", help="Call the local emulator (tierfleet local up).")]


@dataclass(frozen=True, kw_only=True)
class FleetChoice:
    """The fleet that a command calls."""

    fleet: str
    environment: str

    account: str | None
    """None if the fleet was given by name."""

    config: FleetConfig | None
    """None if the fleet was given by name."""

    session: boto3.Session

    endpoint_url: str | None
    """None: AWS."""

    emulator: Any
    """The LocalCloud that is called; None: AWS."""

    def deployed_routes(self) -> RouteDocument:
        """The deployed routes. Ends the command if there are none."""
        asked = f"the routes of {self.fleet} {self.environment}"
        with (
            any_failure_or_fail(asked),
            emulator_or_fail(self.emulator),
            aws_or_fail(asked, permissions=CALLERS_PERMISSIONS),
        ):
            try:
                return read_routes(self.fleet, self.environment, session=self.session, endpoint_url=self.endpoint_url)
            except RoutesError as error:
                fail(f"{error}; {self._remedy()}")

    def loaded_models(self) -> Callable[[str, str], bool | None]:
        """A function: whether an instance of (endpoint) has (target model) in memory; None if unknown, as on AWS."""
        rows: list[dict[str, Any]] = []
        if self.emulator is not None:
            # The local emulator answers with an HTTP error if its endpoints run no models.
            with contextlib.suppress(OSError, ValueError):
                rows = self.emulator.admin("instances")

        def loaded(endpoint: str, target_model: str) -> bool | None:
            held = [row["loaded_models"] for row in rows if row["endpoint"] == endpoint and not row["retiring"]]
            return any(target_model in models for models in held) if held else None

        return loaded

    def _remedy(self) -> str:
        if self.endpoint_url is not None:
            return "deploy it with tierfleet local deploy, or check the names"
        account = f" and credentials of account {self.account}" if self.account else ""
        stack = f"{self.fleet}-{self.environment}/Fleet"
        return f"deploy {stack}, or check the names, region {self.session.region_name}{account}"


def choose_fleet(
    config: Path | None, fleet: str | None, environment: str | None, region: str | None, *, local: bool
) -> FleetChoice:
    """The fleet that the options name; with `local` and no name, the one in the local emulator.

    Invalid or missing options end the command with exit code 2.
    """
    if local and config is None and fleet is None:
        config = remembered()
        if config is None:
            running_emulator()
            fail("the local emulator has no fleet: run tierfleet local deploy FILE, or give --config FILE")
    if config is None and fleet is None:
        fail("no fleet is given: give --config FILE, --fleet NAME --environment NAME, or --local")
    if config is not None and fleet is not None:
        fail(f"--config {config} and --fleet {fleet} both name a fleet: give one of them")
    if config is not None and (environment is not None or region is not None):
        fail("--config already has environment and region: leave --environment and --region out")
    if config is None and environment is None:
        fail(f"--fleet {fleet} needs --environment")
    file = load_or_fail(config) if config is not None else None
    account = file.account if file else None
    region = file.region if file else region
    emulator = running_emulator() if local else None
    if emulator is not None:
        account = account or emulator.account
        session = _local_session(account, region or emulator.region)
    else:
        session = _aws_session(region)
    return FleetChoice(
        fleet=file.fleet if file else str(fleet),
        environment=file.environment if file else str(environment),
        account=account,
        config=file,
        session=session,
        endpoint_url=emulator.endpoint_url if emulator is not None else None,
        emulator=emulator,
    )


def _local_session(account: str, region: str) -> boto3.Session:
    """A session for the local emulator, which takes a 12-digit access key as the account.

    It ignores the user's profile, which must not redirect calls to loopback.
    """
    variables = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
    session = botocore.session.Session(session_vars=variables)
    return boto3.Session(account, "local", region_name=region, botocore_session=session)


def _aws_session(region: str | None) -> boto3.Session:
    asked = "the fleet at AWS (--local calls the local emulator)"
    with any_failure_or_fail(asked), aws_or_fail(asked):
        session = boto3.Session(region_name=region)
        if session.get_credentials() is None:
            raise NoCredentialsError
    if session.region_name is None:
        fail("no region is given: give --region or --config, or set AWS_DEFAULT_REGION")
    return session

"""The AWS clients of a fleet for the commands. Every failure becomes one sentence and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from boto3 import Session
from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.aws_problem import MODELS_PERMISSIONS, WHO, aws_problem
from tierfleet.cli.console import fail
from tierfleet.config import FleetConfig
from tierfleet.runtime.appconfig import NoRoutesDeployedError, deployed_routes
from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.catalog import CatalogError
from tierfleet.runtime.clients import appconfigdata_client, bound_in_time, s3_client, sagemaker_client
from tierfleet.runtime.names import ROUTES_PROFILE, models_bucket, routes_application
from tierfleet.runtime.route_document import RouteDocument, RoutesError
from tierfleet.runtime.route_parts import PartReader

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker.client import SageMakerClient

CALLERS_PERMISSIONS = "docs/calling.md lists the permissions"


def bucket_of(fleet: FleetConfig) -> str:
    return models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)


def s3_of(fleet: FleetConfig, *, connections: int) -> "S3Client":
    """A client in the fleet's region, whatever the environment variables say."""
    return s3_client(connections=connections, session=Session(region_name=fleet.region))


def sagemaker_of(fleet: FleetConfig) -> "SageMakerClient":
    return sagemaker_client(session=Session(region_name=fleet.region))


def routes_of(fleet: FleetConfig) -> RouteDocument | None:
    """The deployed routes; None before the first deployment."""
    try:
        return read_routes(fleet.fleet, fleet.environment, session=Session(region_name=fleet.region))
    except NoRoutesDeployedError:
        return None


def read_routes(fleet: str, environment: str, *, session: Session, endpoint_url: str | None = None) -> RouteDocument:
    """The deployed routes. Raises RoutesError, and botocore's errors."""
    client = appconfigdata_client(session=session, endpoint_url=endpoint_url)
    bound_in_time(client)
    try:
        return deployed_routes(
            client,
            application_id=routes_application(fleet, environment),
            environment_id=environment,
            profile_id=ROUTES_PROFILE,
            read_part=PartReader(lambda: s3_client(connections=1, session=session, endpoint_url=endpoint_url)),
        )
    finally:
        client.close()


@contextmanager
def any_failure_or_fail(asked: str) -> Iterator[None]:
    """End the command on any exception. For code that only calls AWS: a source of credentials may raise anything."""
    try:
        yield
    except (typer.Exit, MemoryError):
        raise
    except Exception as error:
        fail(f"{asked}: {classify(error).sentence}; {WHO}")


@contextmanager
def aws_or_fail(asked: str, *, permissions: str = MODELS_PERMISSIONS) -> Iterator[None]:
    """End the command with one sentence if AWS refuses or does not answer, or a pointer or route document is invalid.

    asked, permissions: as in `aws_problem`.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        fail(aws_problem(error, asked, permissions=permissions))
    except (CatalogError, RoutesError) as error:
        fail(str(error))

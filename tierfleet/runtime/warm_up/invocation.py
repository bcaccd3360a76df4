"""One invocation of the warm-up function: its settings, AWS clients, routes, and the time it has left."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from tierfleet.runtime import clients
from tierfleet.runtime.appconfig import deployed_routes, newest_hosted_routes
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parts import PartReader

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker.client import SageMakerClient
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

ANSWER_MARGIN_SECONDS: Final = 30
"""Kept free at the end: to log, and to send a gate's answer as often as `custom_resource.send` tries."""

CONNECTIONS: Final = 64
"""Kept open by each client. More concurrent probes work, but open a new connection for each call."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each field is the environment variable TIERFLEET_<FIELD IN CAPITALS>."""

    fleet: str
    environment: str
    models_bucket: str
    routes_application_id: str
    routes_environment_id: str
    routes_profile_id: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """Raises ValueError that names every missing or empty variable."""
        names = {field: f"TIERFLEET_{field.upper()}" for field in cls.__dataclass_fields__}
        if missing := [name for name in names.values() if not variables.get(name)]:
            raise ValueError(f"missing or empty environment variables: {', '.join(missing)}")
        return cls(**{field: variables[name] for field, name in names.items()})


class Aws:
    """The function's AWS clients, each created on first use and kept while Lambda keeps the process."""

    # `bound_in_time`: a call that outlasts the function leaves CloudFormation without an answer for an hour.
    @cached_property
    def runtime(self) -> "SageMakerRuntimeClient":
        client = clients.cold_path_client(connections=CONNECTIONS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def comparing_runtime(self) -> "SageMakerRuntimeClient":
        # A serverless endpoint may answer a cold call after minutes.
        client = clients.cold_path_client(connections=CONNECTIONS, read_timeout_seconds=LONGEST_ANSWER_SECONDS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def s3(self) -> "S3Client":
        client = clients.s3_client(connections=CONNECTIONS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def read_part(self) -> PartReader:
        return PartReader(lambda: self.s3)

    @cached_property
    def appconfig(self) -> "AppConfigClient":
        return clients.appconfig_client()

    @cached_property
    def appconfigdata(self) -> "AppConfigDataClient":
        client = clients.appconfigdata_client()
        clients.bound_in_time(client)
        return client

    @cached_property
    def sagemaker(self) -> "SageMakerClient":
        return clients.sagemaker_client()

    @cached_property
    def cloudformation(self) -> Any:
        return clients.cloudformation_client()

    @cached_property
    def logs(self) -> Any:
        return clients.control_client("logs")

    @cached_property
    def lambda_(self) -> Any:
        return clients.control_client("lambda")


class Invocation:
    """What one event's work needs besides the event. context: Lambda's."""

    def __init__(self, aws: Aws, context: Any) -> None:
        self.aws = aws
        self._context = context

    @cached_property
    def settings(self) -> Settings:
        """Raises ValueError. Read late, because the answer to a Delete must not depend on it."""
        return Settings.read(os.environ)

    @property
    def function_arn(self) -> str:
        """The ARN that this invocation was called by."""
        arn: str = self._context.invoked_function_arn
        return arn

    @property
    def seconds_left(self) -> float:
        """The time until Lambda's timeout, less ANSWER_MARGIN_SECONDS."""
        left: float = self._context.get_remaining_time_in_millis() / 1000 - ANSWER_MARGIN_SECONDS
        return left

    def deployed_routes(self) -> RouteDocument:
        """The routes that callers get now. Raises NoRoutesDeployedError, RouteDocumentError and botocore's errors."""
        return deployed_routes(
            self.aws.appconfigdata,
            application_id=self.settings.routes_application_id,
            environment_id=self.settings.routes_environment_id,
            profile_id=self.settings.routes_profile_id,
            read_part=self.aws.read_part,
        )

    def hosted_routes(self) -> RouteDocument:
        """The newest routes, which this deployment is about to deploy. Raises as `deployed_routes` does."""
        return newest_hosted_routes(
            self.aws.appconfig,
            application_id=self.settings.routes_application_id,
            profile_id=self.settings.routes_profile_id,
            read_part=self.aws.read_part,
        )

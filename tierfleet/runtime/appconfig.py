"""Reads the route document from AppConfig: the deployed one, or the newest hosted version."""

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.clients import LOOKUP_SECONDS
from tierfleet.runtime.route_document import RouteDocument, RoutesError
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.route_parts import TENANTS, WARM_UP, ReadPart
from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient


# AppConfig's default interval, and the range that a session may request: API reference, StartConfigurationSession.
DEFAULT_POLL_SECONDS: Final = 60
SHORTEST_POLL_SECONDS: Final = 15
LONGEST_POLL_SECONDS: Final = 86_400


class NoRoutesDeployedError(RoutesError):
    """No routes are deployed: the fleet's first deployment is not finished."""


@dataclass(frozen=True)
class Fetched:
    """The result of a poll."""

    document: RouteDocument | None
    """None: unchanged since the last fetch."""

    next_poll_seconds: float
    """The shortest time until the next poll."""


@dataclass(frozen=True)
class _Latest:
    """A reply of AppConfig. content: empty if nothing changed."""

    content: bytes
    next_token: str | None
    next_poll_seconds: float


class RouteSession:
    """A configuration session of AppConfig: opened once, then polled with the token of the last reply. Thread-safe.

    The identifiers are AppConfig ids or names. poll_seconds: the interval to request, 15 to 86,400; None: AppConfig's
    default. read_part, sections: as in parse_routes.
    """

    def __init__(
        self,
        client: "AppConfigDataClient",
        *,
        application_id: str,
        environment_id: str,
        profile_id: str,
        poll_seconds: int | None = None,
        read_part: ReadPart | None = None,
        sections: Collection[str] = (TENANTS, WARM_UP),
    ) -> None:
        self._client = client
        self._parse = partial(parse_routes, read_part=read_part, sections=sections)
        self._application_id = application_id
        self._start: Any = {
            "ApplicationIdentifier": application_id,
            "EnvironmentIdentifier": environment_id,
            "ConfigurationProfileIdentifier": profile_id,
        }
        if poll_seconds is not None:
            self._start["RequiredMinimumPollIntervalInSeconds"] = poll_seconds
        self._token: str | None = None
        self._lock = threading.Lock()

    def fetch(self, *, new_session: bool = False) -> Fetched:
        """The document, or None if it did not change. A new session always returns the document.

        Raises RoutesError, and botocore's errors.
        """
        with self._lock:
            # A token is valid for one call, even if that call fails.
            token, self._token = (None if new_session else self._token), None
            latest = self._asked(token)
            # After an invalid document no token is kept: the next session returns the document again.
            document = self._parse(latest.content) if latest.content else None
            self._token = latest.next_token
            return Fetched(document, latest.next_poll_seconds)

    def _asked(self, token: str | None) -> _Latest:
        try:
            if token is None:
                return self._latest(self._first_token(), first=True)
            try:
                return self._latest(token, first=False)
            except ClientError:
                # A token expires after 24 hours. Any other error occurs again.
                return self._latest(self._first_token(), first=True)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                raise NoRoutesDeployedError(
                    f"AppConfig has no deployed routes of application {self._application_id} "
                    f"({error.response['Error'].get('Message') or 'not found'})"
                ) from error
            raise

    def _first_token(self) -> str:
        with time_limit(LOOKUP_SECONDS):
            return self._client.start_configuration_session(**self._start)["InitialConfigurationToken"]

    def _latest(self, token: str, *, first: bool) -> _Latest:
        with time_limit(LOOKUP_SECONDS):
            reply = self._client.get_latest_configuration(ConfigurationToken=token)
            content = reply["Configuration"].read()
        if first and not content:
            raise NoRoutesDeployedError(f"AppConfig has no deployed routes of application {self._application_id}")
        next_poll_seconds = _poll_seconds(reply.get("NextPollIntervalInSeconds"))
        return _Latest(content, reply.get("NextPollConfigurationToken"), next_poll_seconds)


def _poll_seconds(said: object) -> float:
    """AppConfig's interval within the allowed range: an invalid reply must not stop the polling."""
    if not isinstance(said, int | float) or not 0 < said < math.inf:
        return DEFAULT_POLL_SECONDS
    return float(min(said, LONGEST_POLL_SECONDS))


def deployed_routes(
    client: "AppConfigDataClient",
    *,
    application_id: str,
    environment_id: str,
    profile_id: str,
    read_part: ReadPart | None = None,
) -> RouteDocument:
    """The deployed document, read in a new configuration session, so it is never a cached one.

    The identifiers are AppConfig ids or names. read_part: as in parse_routes. Raises RoutesError, and botocore's
    ClientError.
    """
    session = RouteSession(
        client,
        application_id=application_id,
        environment_id=environment_id,
        profile_id=profile_id,
        read_part=read_part,
    )
    document = session.fetch(new_session=True).document
    if document is None:
        raise NoRoutesDeployedError(f"AppConfig has no deployed routes of application {application_id}")
    return document


def newest_hosted_routes(
    client: "AppConfigClient", *, application_id: str, profile_id: str, read_part: ReadPart | None = None
) -> RouteDocument:
    """The hosted version with the highest number, for gates, which run before it is deployed.

    The identifiers are AppConfig ids. read_part: as in parse_routes. Raises RoutesError, and botocore's ClientError.
    """
    pages = client.get_paginator("list_hosted_configuration_versions").paginate(
        ApplicationId=application_id, ConfigurationProfileId=profile_id
    )
    # CloudFormation creates the hosted version before the gates run, so the newest one is this deployment's.
    versions = [item["VersionNumber"] for page in pages for item in page["Items"]]
    if not versions:
        raise RoutesError(f"profile {profile_id} of application {application_id} has no hosted route document")
    return hosted_routes(
        client, application_id=application_id, profile_id=profile_id, version=max(versions), read_part=read_part
    )


def hosted_routes(
    client: "AppConfigClient",
    *,
    application_id: str,
    profile_id: str,
    version: int,
    read_part: ReadPart | None = None,
) -> RouteDocument:
    """One hosted version, deployed or not. read_part: as in parse_routes.

    Raises RoutesError, and botocore's ClientError.
    """
    reply = client.get_hosted_configuration_version(
        ApplicationId=application_id, ConfigurationProfileId=profile_id, VersionNumber=version
    )
    return parse_routes(reply["Content"].read(), read_part=read_part)

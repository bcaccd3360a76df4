"""Reads the route document from AppConfig: as deployed, or the newest hosted version, deployed or not."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tierfleet.runtime.route_document import RouteDocument, RoutesError, parse_routes

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient


class NoRoutesDeployedError(RoutesError):
    """Nothing has been deployed yet: the fleet's first deployment is still on its way."""


def deployed_routes(
    client: "AppConfigDataClient", *, application_id: str, environment_id: str, profile_id: str
) -> RouteDocument:
    """The document that callers see now, by a new configuration session (so never a cached one).

    The identifiers are AppConfig ids or names. Raises RoutesError, and botocore's ClientError.
    """
    try:
        session = client.start_configuration_session(
            ApplicationIdentifier=application_id,
            EnvironmentIdentifier=environment_id,
            ConfigurationProfileIdentifier=profile_id,
        )
        reply = client.get_latest_configuration(ConfigurationToken=session["InitialConfigurationToken"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise NoRoutesDeployedError(
                f"AppConfig knows no deployed routes of application {application_id}: {error}"
            ) from error
        raise
    content = reply["Configuration"].read()
    if not content:
        raise NoRoutesDeployedError(f"AppConfig holds no deployed routes of application {application_id}")
    return parse_routes(content)


def newest_hosted_routes(client: "AppConfigClient", *, application_id: str, profile_id: str) -> RouteDocument:
    """The hosted version with the greatest number: what is about to be deployed, for who runs before that.

    The identifiers are AppConfig ids. Raises RoutesError, and botocore's ClientError.
    """
    pages = client.get_paginator("list_hosted_configuration_versions").paginate(
        ApplicationId=application_id, ConfigurationProfileId=profile_id
    )
    versions = [item["VersionNumber"] for page in pages for item in page["Items"]]
    if not versions:
        raise RoutesError(f"profile {profile_id} of application {application_id} has no hosted route document")
    reply = client.get_hosted_configuration_version(
        ApplicationId=application_id, ConfigurationProfileId=profile_id, VersionNumber=max(versions)
    )
    return parse_routes(reply["Content"].read())

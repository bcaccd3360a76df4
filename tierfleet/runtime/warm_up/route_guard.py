"""The route guard: on a rollback it puts the routes back before CloudFormation deletes the endpoints that they name.

When an update is cancelled during AppConfig's bake, callers already have the new routes. CloudFormation deletes the
Deployment with StopDeployment, which does not stop a baking deployment, and then deletes the new endpoints. The guard
is a custom resource that changes with each Deployment. CloudFormation restores its earlier properties before it
deletes anything; the guard then stops or reverts the deployment with AllowRevert, which works in every state.
docs.aws.amazon.com/appconfig/latest/userguide/appconfig-deploying-reverting.html
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.appconfig import NoRoutesDeployedError, deployed_routes, hosted_routes
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parts import ReadPart
from tierfleet.runtime.warm_up.custom_resource import Answer

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient

RESOURCE_TYPE: Final = "Custom::RouteGuard"
# A deployment in these states is not served. In every other state it is, or may be soon.
NOT_SERVED: Final = frozenset({"ROLLED_BACK", "REVERTED"})
LONGEST_STOP_SECONDS: Final = 120.0
POLL_SECONDS: Final = 2.0
# For the guard that waits: StartDeployment may have been called just when the update was cancelled.
LOOK_AGAIN_SECONDS: Final = 5.0
# How long one run of the function may wait for callers. Callers that keep a route longer recover by themselves.
LONGEST_WAIT_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Routes:
    """The AppConfig ids of one fleet's routes."""

    application_id: str
    environment_id: str
    profile_id: str
    read_part: ReadPart | None = None


def answer(
    request: Mapping[str, Any],
    *,
    cloudformation: Any,
    appconfig: "AppConfigClient",
    appconfigdata: "AppConfigDataClient",
    read_part: ReadPart | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Answer CloudFormation. Only an Update in a stack that rolls back has an effect.

    request: its properties are ApplicationId, EnvironmentId, ConfigurationProfileId, ConfigurationVersion (of the
    hosted document) and WaitSeconds (how long callers get after the routes are back, before endpoints are deleted; 0:
    none).
    read_part: as in parse_routes.

    FAILED if the rolled-back document is still served: the stack then stays in UPDATE_ROLLBACK_FAILED with every
    endpoint alive. Raises botocore's errors.
    """
    if request["RequestType"] != "Update":
        return Answer(succeeded=True, reason=f"nothing to put back on {request['RequestType']}")
    status = cloudformation.describe_stacks(StackName=request["StackId"])["Stacks"][0]["StackStatus"]
    if "ROLLBACK" not in status:
        return Answer(succeeded=True, reason=f"the stack is {status}: the routes are deployed later")
    back, taken_back = request["ResourceProperties"], request["OldResourceProperties"]
    version, earlier = taken_back["ConfigurationVersion"], back["ConfigurationVersion"]
    wait_seconds = min(max(_seconds(back), _seconds(taken_back)), LONGEST_WAIT_SECONDS)
    routes = Routes(back["ApplicationId"], back["EnvironmentId"], back["ConfigurationProfileId"], read_part)
    if version == earlier:
        return Answer(succeeded=True, reason=f"route document {version} did not change")
    if not _was_deployed(appconfig, routes, version):
        if wait_seconds:
            sleep(LOOK_AGAIN_SECONDS)
        if not wait_seconds or not _was_deployed(appconfig, routes, version):
            return Answer(succeeded=True, reason=f"route document {version} was never deployed")
    end = clock() + LONGEST_STOP_SECONDS
    while problem := _still_served(appconfig, appconfigdata, routes, version, earlier):
        if clock() >= end:
            return Answer(succeeded=False, reason=f"{problem}; {_way_out(routes, earlier)}")
        sleep(POLL_SECONDS)
    # Callers still have the new routes until their next poll, and CloudFormation deletes the new endpoints next.
    if wait_seconds:
        sleep(wait_seconds)
    return Answer(
        succeeded=True,
        reason=f"route document {version} is rolled back, {earlier} is served; callers had {wait_seconds:g} s",
    )


def _still_served(
    appconfig: "AppConfigClient",
    appconfigdata: "AppConfigDataClient",
    routes: Routes,
    version: str,
    earlier: str,
) -> str | None:
    """Stop or revert the deployment of `version` if it is in effect. Why it is still served; None if it is not."""
    newest = _in_effect(appconfig, routes)
    if newest is not None and newest["ConfigurationVersion"] == version:
        number, state = newest["DeploymentNumber"], newest["State"]
        try:
            appconfig.stop_deployment(
                ApplicationId=routes.application_id,
                EnvironmentId=routes.environment_id,
                DeploymentNumber=number,
                AllowRevert=True,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "BadRequestException":
                raise
            # Its monitor or a person already stopped it, or it is being reverted.
            return f"deployment {number} of route document {version} is {state}: {error.response['Error']['Message']}"
        return f"deployment {number} of route document {version} is being stopped"
    hosted = [_hosted(appconfig, routes, number) for number in (version, earlier)]
    if hosted[0] == hosted[1]:
        return None
    try:
        served = deployed_routes(
            appconfigdata,
            application_id=routes.application_id,
            environment_id=routes.environment_id,
            profile_id=routes.profile_id,
            read_part=routes.read_part,
        )
    except NoRoutesDeployedError:
        return None
    return f"AppConfig still serves route document {version}" if served == hosted[0] else None


def _in_effect(appconfig: "AppConfigClient", routes: Routes) -> Mapping[str, Any] | None:
    """The newest deployment that was not rolled back or reverted."""
    for item in _deployments(appconfig, routes):
        if item["State"] not in NOT_SERVED:
            return item
    return None


def _was_deployed(appconfig: "AppConfigClient", routes: Routes, version: str) -> bool:
    """Whether one of the newest deployments, up to the one in effect, is of this document."""
    for item in _deployments(appconfig, routes):
        if item["ConfigurationVersion"] == version:
            return True
        if item["State"] not in NOT_SERVED:
            return False
    return False


def _deployments(appconfig: "AppConfigClient", routes: Routes) -> Iterator[Mapping[str, Any]]:
    """Newest first, as AppConfig lists them, page by page."""
    pages = appconfig.get_paginator("list_deployments").paginate(
        ApplicationId=routes.application_id, EnvironmentId=routes.environment_id
    )
    for page in pages:
        yield from sorted(page["Items"], key=lambda item: -item["DeploymentNumber"])


def _hosted(appconfig: "AppConfigClient", routes: Routes, version: str) -> RouteDocument:
    return hosted_routes(
        appconfig,
        application_id=routes.application_id,
        profile_id=routes.profile_id,
        version=int(version),
        read_part=routes.read_part,
    )


def _seconds(properties: Mapping[str, Any]) -> float:
    return float(properties.get("WaitSeconds", 0))


def _way_out(routes: Routes, earlier: str) -> str:
    return (
        "no endpoint was deleted. Deploy the earlier document with aws appconfig start-deployment (application "
        f"{routes.application_id}, environment {routes.environment_id}, version {earlier}), then "
        "aws cloudformation continue-update-rollback"
    )

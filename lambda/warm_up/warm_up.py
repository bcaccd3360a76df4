"""The warm-up function: keeps the listed tenants' models loaded on their multi-model endpoint.

The event says who calls:
- the schedule, or a person: {"tier": "tail"}, optionally with "tenants", a list, hottest first;
- EventBridge: an endpoint's state change to IN_SERVICE;
- CloudFormation, for one of these custom resources:
  - the warm gate between an endpoint and the deployment of its routes,
  - the gate that warms tenants which move to a multi-model endpoint,
  - the comparison of the moving tenants' old and new endpoints,
  - the route guard, which puts the routes back when an update is rolled back,
  - the parts of a large fleet's route document, which it puts into the model bucket.
docs/warm-up.md describes what each does, and the log lines and metrics. The work is in tierfleet.runtime.warm_up.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tierfleet.runtime import route_parts
from tierfleet.runtime.appconfig import NoRoutesDeployedError
from tierfleet.runtime.names import ROUTES_PREFIX
from tierfleet.runtime.warm_up import comparison, custom_resource, route_guard
from tierfleet.runtime.warm_up.custom_resource import Answer
from tierfleet.runtime.warm_up.endpoint_gate import answer_endpoint_gate
from tierfleet.runtime.warm_up.gate import Waiting
from tierfleet.runtime.warm_up.invocation import Aws, Invocation
from tierfleet.runtime.warm_up.telemetry import failure_counted, log, sentence
from tierfleet.runtime.warm_up.tenant_moves import compare_moved_tenants, warm_moved_tenants
from tierfleet.runtime.warm_up.tier_run import warm_tier

# Clients outlive an invocation: Lambda reuses the process.
AWS: Final = Aws()
_NOTHING_TO_DELETE: Final = Answer(succeeded=True, reason="nothing to do on delete")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The entry point. Returns a JSON value: the report, {"skipped": why}, or the answer sent."""
    invocation = Invocation(AWS, context)
    # Only CloudFormation's requests have a RequestType, and only EventBridge's events have a source.
    if "RequestType" in event:
        return _CUSTOM_RESOURCES.get(event.get("ResourceType", ""), _gate)(invocation, event)
    if event.get("source") == "aws.sagemaker":
        return _on_endpoint_event(invocation, event)
    return _on_request(invocation, event)


def _on_request(invocation: Invocation, event: Mapping[str, Any]) -> dict[str, Any]:
    tier, tenants = event.get("tier"), event.get("tenants")
    if not isinstance(tier, str):
        raise ValueError('the event has no "tier", is no endpoint event and no custom resource request')
    if tenants is not None and not (isinstance(tenants, list) and all(isinstance(t, str) for t in tenants)):
        raise ValueError(f'"tenants" is {tenants!r}, allowed: a list of tenant ids')
    with failure_counted(invocation.settings, tier):
        return warm_tier(invocation, invocation.deployed_routes(), tier, tenants=tenants).to_json()


def _on_endpoint_event(invocation: Invocation, event: Mapping[str, Any]) -> dict[str, Any]:
    name, status = event["detail"]["EndpointName"], event["detail"]["EndpointStatus"]
    if status != "IN_SERVICE":
        return _skip(f"endpoint {name} is {status}, not IN_SERVICE")
    with failure_counted(invocation.settings):
        try:
            routes = invocation.deployed_routes()
        except NoRoutesDeployedError as error:
            return _skip(f"no routes are deployed yet, so the warm gate warms endpoint {name}: {error}")
    tier = routes.tier_at(name)
    if tier is None:
        return _skip(f"endpoint {name} is no tier's multi-model endpoint in the deployed routes")
    if tier not in routes.warm_ups:
        return _skip(f"tier {tier} of endpoint {name} has no warm_up")
    with failure_counted(invocation.settings, tier):
        return warm_tier(invocation, routes, tier).to_json()


def _skip(reason: str) -> dict[str, Any]:
    log("warm-up skipped", reason=reason)
    return {"skipped": reason}


def _gate(invocation: Invocation, request: Mapping[str, Any]) -> dict[str, Any]:
    endpoint_name = request.get("ResourceProperties", {}).get("EndpointName")

    def answer() -> Answer | Waiting:
        if request["RequestType"] == "Delete":
            return _NOTHING_TO_DELETE
        if "RouteDocumentVersion" in request.get("ResourceProperties", {}):
            return warm_moved_tenants(invocation, request)
        return answer_endpoint_gate(invocation, request)

    # CloudFormation deletes the old physical id once an update has another one. A Delete must repeat its own.
    physical_resource_id = endpoint_name or request["LogicalResourceId"]
    if request["RequestType"] == "Delete":
        physical_resource_id = request["PhysicalResourceId"]
    return _answered(
        request, answer, message="warm gate answers", physical_resource_id=physical_resource_id, endpoint=endpoint_name
    )


def _comparison(invocation: Invocation, request: Mapping[str, Any]) -> dict[str, Any]:
    def answer() -> Answer:
        if request["RequestType"] == "Delete":
            return _NOTHING_TO_DELETE
        return compare_moved_tenants(invocation, request)

    physical_resource_id = request.get("PhysicalResourceId", request["LogicalResourceId"])
    return _answered(
        request,
        answer,
        message="comparison answers",
        physical_resource_id=physical_resource_id,
        request=request["RequestType"],
    )


def _route_guard(invocation: Invocation, request: Mapping[str, Any]) -> dict[str, Any]:
    def answer() -> Answer:
        aws = invocation.aws
        return route_guard.answer(
            request,
            cloudformation=aws.cloudformation,
            appconfig=aws.appconfig,
            appconfigdata=aws.appconfigdata,
            read_part=aws.read_part,
        )

    # Always the same id: another one would be a replacement, which CloudFormation reverts only in its clean-up.
    physical_resource_id = request.get("PhysicalResourceId", "route-guard")
    return _answered(
        request,
        answer,
        message="route guard answers",
        physical_resource_id=physical_resource_id,
        request=request["RequestType"],
    )


def _route_parts(invocation: Invocation, request: Mapping[str, Any]) -> dict[str, Any]:
    def answer() -> Answer:
        # No part is ever deleted, because an older document may be deployed again.
        if request["RequestType"] == "Delete":
            return Answer(succeeded=True, reason="the parts stay: an older route document may come back")
        try:
            parts = request["ResourceProperties"]["Parts"]
            put = route_parts.copy_parts(invocation.aws.s3, bucket=invocation.settings.models_bucket, parts=parts)
        except Exception as error:
            return Answer(succeeded=False, reason=f"the routes are not in the bucket: {sentence(error)}")
        return Answer(succeeded=True, reason=f"{put} of {len(parts)} parts of the routes are new")

    physical_resource_id = request.get("PhysicalResourceId") or f"{invocation.settings.models_bucket}/{ROUTES_PREFIX}"
    return _answered(request, answer, message="route parts answer", physical_resource_id=physical_resource_id)


_CUSTOM_RESOURCES: Final[Mapping[str, Callable[[Invocation, Mapping[str, Any]], dict[str, Any]]]] = {
    comparison.RESOURCE_TYPE: _comparison,
    route_guard.RESOURCE_TYPE: _route_guard,
    route_parts.RESOURCE_TYPE: _route_parts,
}


def _answered(
    request: Mapping[str, Any],
    answer: Callable[[], Answer | Waiting],
    /,
    *,
    message: str,
    physical_resource_id: str,
    **fields: Any,
) -> dict[str, Any]:
    """Send the answer to CloudFormation, also if there is none: without one the stack waits for an hour."""
    try:
        result = answer()
    except Exception as error:
        result = Answer(succeeded=False, reason=sentence(error))
    if isinstance(result, Waiting):
        return {"waiting": result.reason}
    log(message, **fields, succeeded=result.succeeded, reason=result.reason)
    custom_resource.send(request, result, physical_resource_id=physical_resource_id)
    return {"succeeded": result.succeeded, "reason": result.reason, "data": dict(result.data)}

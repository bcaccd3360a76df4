"""The front of sagemaker-runtime: who may invoke what, and how. The answer comes from `serving`.

Where instances serve, their data plane is the front. It asks here who calls and whether that caller may.
"""

import itertools
import json
import re
from urllib.parse import unquote

from ministack.core.responses import get_account_id, get_region

from local_cloud.core import invocation_rules
from local_cloud.core.errors import ServiceError
from local_cloud.core.invocation_rules import Response
from local_cloud.services import iam
from local_cloud.services.sagemaker import endpoint_configs, endpoint_states, multi_container, serving
from local_cloud.services.sagemaker.endpoint import Endpoint
from local_cloud.services.sagemaker.names import arn
from local_cloud.services.sagemaker.serving import ConstantServer, InvocationRequest

_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/(?P<queued>async-)?invocations")
_turns = itertools.count()


def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
    match = _PATH.fullmatch(path)
    try:
        if method != "POST" or match is None:
            raise ServiceError(
                "ValidationError",
                f"the local emulator serves invocations only, got {method} {path}",
            )
        return _invoke(unquote(match["endpoint"]), headers, body, queued=bool(match["queued"]))
    except ServiceError as error:
        return invocation_rules.error_response(error)


def _invoke(endpoint_name: str, headers: dict[str, str], body: bytes, *, queued: bool) -> Response:
    target_model = headers.get("x-amzn-sagemaker-target-model")
    iam.require(
        headers,
        "sagemaker:InvokeEndpointAsync" if queued else "sagemaker:InvokeEndpoint",
        arn("endpoint", endpoint_name),
        sagemaker__TargetModel=target_model,
    )
    if not isinstance(serving.server, ConstantServer):
        # The data plane reads this instead of a reply: the caller may invoke.
        return 200, {"x-tierfleet-permit": json.dumps([get_account_id(), get_region()])}, b""
    if queued:
        raise ServiceError("ValidationError", "the local emulator has queues only where it serves models")
    endpoint = _serving_endpoint(endpoint_name)
    invocation_rules.check_body(body)
    config_name = _fleet_in_turn(endpoint)
    containers = endpoint_configs.containers_of(config_name)
    multi_model = any(container.get("Mode") == "MultiModel" for container in containers)
    invocation_rules.check_target_model(target_model, multi_model=multi_model)
    target_container = headers.get("x-amzn-sagemaker-target-container-hostname")
    hostnames = multi_container.hostnames(endpoint_configs.models_of(config_name))
    invocation_rules.check_target_container(target_container, hostnames)
    variant = _variant(endpoint, headers.get("x-amzn-sagemaker-target-variant"))
    request = InvocationRequest(
        body=body,
        content_type=headers.get("content-type"),
        accept=headers.get("accept"),
        target_model=target_model,
        target_container=target_container,
        custom_attributes=headers.get("x-amzn-sagemaker-custom-attributes"),
        inference_id=headers.get("x-amzn-sagemaker-inference-id"),
    )
    reply = serving.server.serve(endpoint_name, variant, request)
    return (
        200,
        {"Content-Type": reply.content_type, "x-Amzn-Invoked-Production-Variant": variant},
        reply.body,
    )


def _serving_endpoint(name: str) -> Endpoint:
    """An endpoint that is being created, has failed or is going away answers like one that does not exist."""
    try:
        endpoint = endpoint_states.find(name)
    except ServiceError:
        endpoint = None
    if endpoint is None or endpoint.status not in ("InService", "Updating", "RollingBack"):
        raise invocation_rules.endpoint_not_found(name, get_account_id())
    return endpoint


def _fleet_in_turn(endpoint: Endpoint) -> str:
    """The configuration whose fleet takes this request, by the share of traffic that has been shifted."""
    if endpoint.change is not None and next(_turns) % 100 < endpoint.new_fleet_traffic_percent():
        return endpoint.change.config_name
    return endpoint.config_name


def _variant(endpoint: Endpoint, target_variant: str | None) -> str:
    names = [variant.name for variant in endpoint.variants]
    invocation_rules.check_variant(target_variant, names, endpoint.name)
    return target_variant or names[0]

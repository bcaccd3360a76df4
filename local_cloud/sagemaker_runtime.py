"""The front of sagemaker-runtime: who may invoke what, and how. The answer comes from `serving`."""

import itertools
import json
import re
from urllib.parse import unquote

from ministack.core.responses import get_account_id

from local_cloud import endpoint_states, iam, sagemaker_endpoint_configs, serving
from local_cloud.endpoint_states import Endpoint
from local_cloud.errors import ServiceError
from local_cloud.sagemaker_names import arn
from local_cloud.serving import InvocationRequest

MAX_BODY_BYTES = 6_291_456
_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/invocations")
_TARGET_MODEL = re.compile(r"\S[\x20-\x7e]{0,1023}")
_turns = itertools.count()

Response = tuple[int, dict[str, str], bytes]


def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> Response:
    match = _PATH.fullmatch(path)
    try:
        if method != "POST" or match is None:
            raise ServiceError("ValidationError", f"the stand-in serves InvokeEndpoint only, got {method} {path}")
        return _invoke(unquote(match["endpoint"]), headers, body)
    except ServiceError as error:
        payload = {"Message": error.message, **error.fields}
        fields = {"Content-Type": "application/json", "x-amzn-ErrorType": error.code}
        return error.status, fields, json.dumps(payload).encode()


def _invoke(endpoint_name: str, headers: dict[str, str], body: bytes) -> Response:
    target_model = headers.get("x-amzn-sagemaker-target-model")
    iam.require(
        headers,
        "sagemaker:InvokeEndpoint",
        arn("endpoint", endpoint_name),
        sagemaker__TargetModel=target_model,
    )
    endpoint = _serving_endpoint(endpoint_name)
    if len(body) > MAX_BODY_BYTES:
        raise ServiceError("ValidationError", f"Request body of {len(body)} bytes exceeds {MAX_BODY_BYTES} bytes.")
    config_name = _fleet_in_turn(endpoint)
    _check_target_model(config_name, target_model)
    variant = _variant(endpoint, headers.get("x-amzn-sagemaker-target-variant"))
    request = InvocationRequest(
        body=body,
        content_type=headers.get("content-type"),
        accept=headers.get("accept"),
        target_model=target_model,
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
        raise ServiceError("ValidationError", f"Endpoint {name} of account {get_account_id()} not found.")
    return endpoint


def _fleet_in_turn(endpoint: Endpoint) -> str:
    """The configuration whose fleet takes this request, by the share of traffic that has been shifted."""
    if endpoint.change is not None and next(_turns) % 100 < endpoint.new_fleet_traffic_percent():
        return endpoint.change.config_name
    return endpoint.config_name


def _check_target_model(config_name: str, target_model: str | None) -> None:
    containers = sagemaker_endpoint_configs.containers_of(config_name)
    multi_model = any(container.get("Mode") == "MultiModel" for container in containers)
    if multi_model and target_model is None:
        raise ServiceError("ValidationError", "Invocation of a multi-model endpoint is missing a target model header.")
    if target_model is not None and not multi_model:
        raise ServiceError(
            "ValidationError",
            "TARGET_MODEL_HEADER_NOT_SUPPORTED: the endpoint is not a multi-model endpoint.",
        )
    if target_model is not None and not _TARGET_MODEL.fullmatch(target_model):
        raise ServiceError("ValidationError", "TargetModel must be 1 to 1024 printable characters, no leading space.")


def _variant(endpoint: Endpoint, target_variant: str | None) -> str:
    names = [variant.name for variant in endpoint.variants]
    if target_variant is None:
        return names[0]
    if target_variant not in names:
        raise ServiceError("ValidationError", f"Variant {target_variant} not found in endpoint {endpoint.name}.")
    return target_variant

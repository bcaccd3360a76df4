"""Shared parts of requests to Application Auto Scaling: the variant, filters, pages."""

import re
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.core.pagination import page
from local_cloud.services.sagemaker import endpoint_states
from local_cloud.services.sagemaker.endpoint import Variant
from local_cloud.services.scalable_targets import Key, key_of, targets

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
RESOURCE_ID = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")


def variant_of(request: dict[str, Any]) -> Variant:
    if request["ServiceNamespace"] != "sagemaker" or request["ScalableDimension"] != _DIMENSION:
        raise ServiceError(
            "ValidationException",
            f"the local emulator scales sagemaker / {_DIMENSION} only, got "
            f"{request['ServiceNamespace']} / {request['ScalableDimension']}",
        )
    match = RESOURCE_ID.fullmatch(request["ResourceId"])
    if match is None:
        raise ServiceError("ValidationException", f"Unsupported resource id: {request['ResourceId']}")
    try:
        endpoint = endpoint_states.find(match["endpoint"])
    except ServiceError as error:
        raise ServiceError("ValidationException", error.message) from None
    for variant in endpoint.variants:
        if variant.name == match["variant"]:
            return variant
    raise ServiceError("ValidationException", f"Could not find variant {match['variant']} of {match['endpoint']}.")


def registered(request: dict[str, Any]) -> Key:
    key = key_of(request)
    if key not in targets:
        raise ServiceError(
            "ObjectNotFoundException",
            f"No scalable target registered for service namespace: {key[0]}, resource ID: {key[1]}, "
            f"scalable dimension: {key[2]}",
        )
    return key


def selected(request: dict[str, Any], key: tuple[str, ...], ids: list[str] | None = None) -> bool:
    wanted = ids or ([request["ResourceId"]] if "ResourceId" in request else None)
    return (
        key[0] == request["ServiceNamespace"]
        and (wanted is None or key[1] in wanted)
        and request.get("ScalableDimension") in (None, key[2])
    )


def listed(field: str, items: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    shown, following = page(
        items, max_results=request.get("MaxResults"), next_token=request.get("NextToken"), default_size=50
    )
    return {field: shown, **following}

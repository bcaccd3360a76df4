"""What InvokeEndpoint refuses before any container is asked, and how it answers errors."""

import json
import re
from collections.abc import Sequence

from local_cloud.core.errors import ServiceError

MAX_BODY_BYTES = 6_291_456
_TARGET_MODEL = re.compile(r"\S[\x20-\x7e]{0,1023}")

Response = tuple[int, dict[str, str], bytes]


def check_body(body: bytes, most: int = MAX_BODY_BYTES) -> None:
    if len(body) > most:
        raise ServiceError("ValidationError", f"Request body of {len(body)} bytes exceeds {most} bytes.")


def check_target_model(target_model: str | None, *, multi_model: bool) -> None:
    if multi_model and target_model is None:
        raise ServiceError("ValidationError", "Invocation of a multi-model endpoint is missing a target model header.")
    if target_model is not None and not multi_model:
        raise ServiceError(
            "ValidationError",
            "TARGET_MODEL_HEADER_NOT_SUPPORTED: the endpoint is not a multi-model endpoint.",
        )
    if target_model is not None and not _TARGET_MODEL.fullmatch(target_model):
        raise ServiceError("ValidationError", "TargetModel must be 1 to 1024 printable characters, no leading space.")


def check_target_container(target: str | None, hostnames: Sequence[str] | None) -> None:
    """hostnames: of the containers of a multi-container endpoint with direct invocation; None for any other endpoint.

    SageMaker documents the three cases, not the wording.
    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-direct.html
    """
    if hostnames is None:
        if target is not None:
            raise ServiceError(
                "ValidationError",
                "TARGET_CONTAINER_HOSTNAME_HEADER_NOT_SUPPORTED: the endpoint has no direct invocation of containers.",
            )
    elif target is None:
        raise ServiceError(
            "ValidationError", "Invocation of a multi-container endpoint is missing a target container hostname header."
        )
    elif target not in hostnames:
        raise ServiceError(
            "ValidationError",
            f"Target container hostname {target[:63]} not found in the endpoint, which has {', '.join(hostnames)}.",
        )


def check_variant(target_variant: str | None, names: list[str], endpoint_name: str) -> None:
    if target_variant is not None and target_variant not in names:
        raise ServiceError("ValidationError", f"Variant {target_variant} not found in endpoint {endpoint_name}.")


def endpoint_not_found(endpoint_name: str, account: str) -> ServiceError:
    return ServiceError("ValidationError", f"Endpoint {endpoint_name} of account {account} not found.")


def error_response(error: ServiceError) -> Response:
    payload = {"Message": error.message, **error.fields}
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps(payload).encode()

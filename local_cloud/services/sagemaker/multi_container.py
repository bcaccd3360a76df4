"""What CreateModel accepts of several containers, and which of them a call may name.

https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-endpoints.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.services.sagemaker.names import check_name

MOST_CONTAINERS = 15


def check(model: Mapping[str, Any]) -> None:
    """Raises ServiceError for containers that CreateModel refuses together; the wording is ours."""
    containers: list[dict[str, Any]] = model.get("Containers", [])
    if len(containers) > MOST_CONTAINERS:
        raise ServiceError(
            "ValidationException", f"A model has at most {MOST_CONTAINERS} containers, got {len(containers)}."
        )
    names = [container["ContainerHostname"] for container in containers if "ContainerHostname" in container]
    for name in names:
        check_name("containerHostname", name)
    if len(set(names)) != len(names):
        raise ServiceError("ValidationException", f"Container hostnames must be unique, got {names}.")
    multi_model = [container for container in containers if container.get("Mode") == "MultiModel"]
    if model.get("InferenceExecutionConfig", {}).get("Mode") == "Direct":
        if len(containers) < 2:
            raise ServiceError("ValidationException", "Direct invocation needs a model with 2 containers or more.")
        if len(names) != len(containers):
            raise ServiceError("ValidationException", "Direct invocation needs a hostname for every container.")
        if multi_model:
            raise ServiceError("ValidationException", "Direct invocation supports no container in MultiModel mode.")
    elif containers:
        if names and len(names) != len(containers):
            raise ServiceError("ValidationException", "Give every container of a pipeline a hostname, or none.")
        if len(multi_model) > 1:
            raise ServiceError(
                "ValidationException",
                "More than one container in MultiModel mode is not supported with inference pipeline",
            )


def hostnames(models: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The hostnames that calls of an endpoint choose from; None unless its models have direct invocation."""
    direct = [m for m in models if m.get("InferenceExecutionConfig", {}).get("Mode") == "Direct"]
    if not direct:
        return None
    return [container["ContainerHostname"] for model in direct for container in model["Containers"]]

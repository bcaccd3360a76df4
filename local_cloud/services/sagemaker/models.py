"""SageMaker models: what CreateModel accepts, and the artefacts that must exist."""

from typing import Any
from urllib.parse import urlparse

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import s3

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services.sagemaker import multi_container, tags
from local_cloud.services.sagemaker.names import already_exists, arn, check_name, list_page, not_found

_models = AccountRegionScopedDict()


def create_model(request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelName"]
    check_name("modelName", name)
    if name in _models:
        raise already_exists("model", name)
    if ("PrimaryContainer" in request) == bool(request.get("Containers")):
        raise ServiceError("ValidationException", "Specify exactly one of PrimaryContainer and Containers.")
    multi_container.check(request)
    for container in containers_of(request):
        _check_artefact(container)
    _models[name] = {**request, "ModelArn": arn("model", name), "CreationTime": clock.now()}
    tags.put(arn("model", name), request.get("Tags", []))
    event_log.record("ModelCreated", name)
    return {"ModelArn": arn("model", name)}


def describe_model(request: dict[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] | None = _models.get(request["ModelName"])
    if model is None:
        raise not_found("model", request["ModelName"])
    return {key: value for key, value in model.items() if key != "Tags"}


def delete_model(request: dict[str, Any]) -> dict[str, Any]:
    if request["ModelName"] not in _models:
        raise not_found("model", request["ModelName"])
    del _models[request["ModelName"]]
    tags.drop(arn("model", request["ModelName"]))
    event_log.record("ModelDeleted", request["ModelName"])
    return {}


def list_models(request: dict[str, Any]) -> dict[str, Any]:
    fields = ("ModelName", "ModelArn", "CreationTime")
    return list_page(request, [{field: m[field] for field in fields} for m in _models.values()], "ModelName")


def containers_of(model: dict[str, Any]) -> list[dict[str, Any]]:
    primary = model.get("PrimaryContainer")
    return [primary] if primary else list(model.get("Containers", []))


def clear() -> None:
    _models._data.clear()


def _check_artefact(container: dict[str, Any]) -> None:
    """A missing object and an empty prefix are refused; an empty object below a prefix is not looked into."""
    url = container.get("ModelDataUrl")
    if not url:
        return
    parsed = urlparse(url)
    bucket = s3._buckets.get(parsed.netloc)
    keys = bucket["objects"] if bucket else {}
    path = parsed.path.removeprefix("/")
    multi_model = container.get("Mode") == "MultiModel"
    if not (any(key.startswith(path) for key in keys) if multi_model else path in keys):
        raise ServiceError("ValidationException", f"Could not find model data at {url}.")

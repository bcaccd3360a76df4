"""SageMaker endpoint configurations: immutable once created."""

from typing import Any

from ministack.core.responses import AccountRegionScopedDict

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services.sagemaker import asynchronous, models, serverless, tags
from local_cloud.services.sagemaker.names import already_exists, arn, check_name, list_page, not_found

_configs = AccountRegionScopedDict()
# What SageMaker refuses of a variant of each hosting shape: (variant, its model, the request) -> ServiceError.
_CHECKS = (serverless.check, asynchronous.check)


def create_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointConfigName"]
    check_name("endpointConfigName", name)
    if name in _configs:
        raise already_exists("endpoint-config", name)
    variant_names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(set(variant_names)) != len(variant_names):
        raise ServiceError("ValidationException", f"Variant names must be unique, got {variant_names}.")
    for variant in request["ProductionVariants"]:
        model = models.describe_model({"ModelName": variant["ModelName"]}) if "ModelName" in variant else {}
        for check in _CHECKS:
            check(variant, model, request)
    config_arn = arn("endpoint-config", name)
    _configs[name] = {**request, "EndpointConfigArn": config_arn, "CreationTime": clock.now()}
    tags.put(config_arn, request.get("Tags", []))
    event_log.record("EndpointConfigCreated", name)
    return {"EndpointConfigArn": config_arn}


def describe_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] | None = _configs.get(request["EndpointConfigName"])
    if config is None:
        raise not_found("endpoint-config", request["EndpointConfigName"])
    return {key: value for key, value in config.items() if key != "Tags"}


def delete_endpoint_config(request: dict[str, Any]) -> dict[str, Any]:
    """Allowed even while an endpoint uses it: the API only warns."""
    name = request["EndpointConfigName"]
    if name not in _configs:
        raise not_found("endpoint-config", name)
    del _configs[name]
    tags.drop(arn("endpoint-config", name))
    event_log.record("EndpointConfigDeleted", name)
    return {}


def list_endpoint_configs(request: dict[str, Any]) -> dict[str, Any]:
    fields = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    summaries = [{field: config[field] for field in fields} for config in _configs.values()]
    return list_page(request, summaries, "EndpointConfigName")


def containers_of(config_name: str) -> list[dict[str, Any]]:
    """The containers of every variant of a configuration; a deleted model counts as none."""
    return [container for model in models_of(config_name) for container in models.containers_of(model)]


def models_of(config_name: str) -> list[dict[str, Any]]:
    """The models of every variant of a configuration that were not deleted."""
    variants = describe_endpoint_config({"EndpointConfigName": config_name})["ProductionVariants"]
    named = [models._models.get(variant.get("ModelName")) for variant in variants]
    return [model for model in named if model]


def clear() -> None:
    _configs._data.clear()

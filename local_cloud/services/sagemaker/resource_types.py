"""CloudFormation's three SageMaker types: create, update in place, delete.

What replaces a resource is not decided here: the create-only properties come from CloudFormation's own
schemas (`resource_schemas`). An update sees mutable changes only.
"""

from typing import Any

from ministack.services.cloudformation import provisioners

from local_cloud.core.errors import ServiceError, ignore_missing
from local_cloud.services.sagemaker import endpoint_configs, endpoint_states, endpoints, models, tags
from local_cloud.services.stacks import early_start

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]

# What CloudFormation reports when SageMaker's own guardrail rolls an update back is not documented. False is
# the worse case, which other tools have reported: success, while the endpoint serves the old configuration.
guardrail_rollback_fails_the_resource = False


def model_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("ModelName", logical_id, properties, stack_name)
    answer = models.create_model({**properties, "ModelName": name})
    return answer["ModelArn"], {"ModelName": name, "ModelArn": answer["ModelArn"]}


def model_delete(physical_id: str, _properties: Properties) -> None:
    ignore_missing(models.delete_model, {"ModelName": _named(models._models, physical_id)})


def config_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("EndpointConfigName", logical_id, properties, stack_name)
    answer = endpoint_configs.create_endpoint_config({**properties, "EndpointConfigName": name})
    arn = answer["EndpointConfigArn"]
    return arn, {"EndpointConfigName": name, "EndpointConfigArn": arn}


def config_delete(physical_id: str, _properties: Properties) -> None:
    name = _named(endpoint_configs._configs, physical_id)
    ignore_missing(endpoint_configs.delete_endpoint_config, {"EndpointConfigName": name})


def tags_update(physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
    """Tags are all that can change on a model or an endpoint configuration."""
    tags.put(physical_id, new.get("Tags", []))
    for store, field in (
        (models._models, "ModelName"),
        (endpoint_configs._configs, "EndpointConfigName"),
    ):
        if name := _named(store, physical_id):
            return physical_id, {field: name, field.replace("Name", "Arn"): physical_id}
    raise ServiceError("ValidationException", f"{physical_id} does not exist")


def endpoint_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("EndpointName", logical_id, properties, stack_name)
    update_only = ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig")
    request = {k: v for k, v in properties.items() if k not in update_only}
    arn = endpoints.create_endpoint({**request, "EndpointName": name})["EndpointArn"]

    def finish() -> None:
        endpoint = endpoint_states.wait_until_settled(name)
        if endpoint is None or endpoint.status == "Failed":
            reason = endpoint.failure_reason if endpoint else "the endpoint was deleted"
            endpoint_delete(arn, properties)
            raise ServiceError("NotStabilized", f"Endpoint {name} did not stabilize: {reason}")

    early_start.finish_or_continue(stack_name, logical_id, finish, created=True)
    return arn, {"EndpointName": name, "EndpointArn": arn}


def endpoint_update(physical_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str) -> Created:
    name = _named_endpoint(physical_id)
    tags.put(physical_id, new.get("Tags", []))
    if new["EndpointConfigName"] != old["EndpointConfigName"]:
        request = {k: v for k, v in new.items() if k != "Tags"}
        endpoints.update_endpoint({**request, "EndpointName": name})

        def finish() -> None:
            endpoint = endpoint_states.wait_until_settled(name)
            rolled_back = endpoint is None or endpoint.config_name != new["EndpointConfigName"]
            if rolled_back and guardrail_rollback_fails_the_resource:
                reason = endpoint.failure_reason if endpoint else "the endpoint was deleted"
                raise ServiceError("NotStabilized", f"Endpoint {name} was rolled back: {reason}")

        early_start.finish_or_continue(stack_name, logical_id, finish, created=False)
    return physical_id, {"EndpointName": name, "EndpointArn": physical_id}


def endpoint_delete(physical_id: str, _properties: Properties) -> None:
    name = _named_endpoint(physical_id)
    endpoint_states.wait_until_settled(name)
    ignore_missing(endpoints.delete_endpoint, {"EndpointName": name})
    endpoint_states.wait_until_settled(name)


def _name(field: str, logical_id: str, properties: Properties, stack_name: str) -> str:
    given: str | None = properties.get(field)
    return given or str(provisioners._physical_name(stack_name, logical_id, max_len=63))


def _named(store: Any, arn: str) -> str:
    """The name of a model or configuration by its ARN, which is lower case; "" when it is gone."""
    return next((n for n, r in store.items() if arn in (r.get("ModelArn"), r.get("EndpointConfigArn"))), "")


def _named_endpoint(arn: str) -> str:
    lower = arn.rsplit("/", 1)[-1]
    return next((name for name in endpoint_states.endpoints if name.lower() == lower), lower)

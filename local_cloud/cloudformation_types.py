"""The CloudFormation resource types we add or replace: create, update in place, delete.

What replaces a resource is not decided here: the create-only properties come from CloudFormation's own
schemas (`resource_schemas`). A handler's `update` sees mutable changes only.
"""

from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners

from local_cloud import (
    appconfig_deployments,
    application_autoscaling,
    composite_alarms,
    metric_alarms,
    sagemaker_endpoint_configs,
    sagemaker_endpoints,
    sagemaker_models,
    sagemaker_tags,
    scaling_state,
    schedules,
)
from local_cloud.errors import ServiceError

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
Handler = dict[str, Any]

# What CloudFormation reports when SageMaker's own guardrail rolls an update back is not documented. False is
# the worse case, which other tools have reported: success, while the endpoint serves the old configuration.
guardrail_rollback_fails_the_resource = False


def _model_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("ModelName", logical_id, properties, stack_name)
    answer = sagemaker_models.create_model({**properties, "ModelName": name})
    return answer["ModelArn"], {"ModelName": name, "ModelArn": answer["ModelArn"]}


def _model_delete(physical_id: str, _properties: Properties) -> None:
    _ignore_missing(sagemaker_models.delete_model, {"ModelName": _named(sagemaker_models._models, physical_id)})


def _config_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("EndpointConfigName", logical_id, properties, stack_name)
    answer = sagemaker_endpoint_configs.create_endpoint_config({**properties, "EndpointConfigName": name})
    arn = answer["EndpointConfigArn"]
    return arn, {"EndpointConfigName": name, "EndpointConfigArn": arn}


def _config_delete(physical_id: str, _properties: Properties) -> None:
    name = _named(sagemaker_endpoint_configs._configs, physical_id)
    _ignore_missing(sagemaker_endpoint_configs.delete_endpoint_config, {"EndpointConfigName": name})


def _tags_update(physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Created:
    """Tags are all that can change on a model or an endpoint configuration."""
    sagemaker_tags.put(physical_id, new.get("Tags", []))
    for store, field in (
        (sagemaker_models._models, "ModelName"),
        (sagemaker_endpoint_configs._configs, "EndpointConfigName"),
    ):
        if name := _named(store, physical_id):
            return physical_id, {field: name, field.replace("Name", "Arn"): physical_id}
    raise ServiceError("ValidationException", f"{physical_id} does not exist")


def _endpoint_create(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name("EndpointName", logical_id, properties, stack_name)
    update_only = ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig")
    request = {k: v for k, v in properties.items() if k not in update_only}
    arn = sagemaker_endpoints.create_endpoint({**request, "EndpointName": name})["EndpointArn"]
    endpoint = sagemaker_endpoints.wait_until_settled(name)
    if endpoint is None or endpoint.status == "Failed":
        reason = endpoint.failure_reason if endpoint else "the endpoint was deleted"
        _endpoint_delete(arn, properties)
        raise ServiceError("NotStabilized", f"Endpoint {name} did not stabilize: {reason}")
    return arn, {"EndpointName": name, "EndpointArn": arn}


def _endpoint_update(physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Created:
    name = _named_endpoint(physical_id)
    sagemaker_tags.put(physical_id, new.get("Tags", []))
    if new["EndpointConfigName"] != old["EndpointConfigName"]:
        request = {k: v for k, v in new.items() if k != "Tags"}
        sagemaker_endpoints.update_endpoint({**request, "EndpointName": name})
        endpoint = sagemaker_endpoints.wait_until_settled(name)
        rolled_back = endpoint is None or endpoint.config_name != new["EndpointConfigName"]
        if rolled_back and guardrail_rollback_fails_the_resource:
            reason = endpoint.failure_reason if endpoint else "the endpoint was deleted"
            raise ServiceError("NotStabilized", f"Endpoint {name} was rolled back: {reason}")
    return physical_id, {"EndpointName": name, "EndpointArn": physical_id}


def _endpoint_delete(physical_id: str, _properties: Properties) -> None:
    name = _named_endpoint(physical_id)
    sagemaker_endpoints.wait_until_settled(name)
    _ignore_missing(sagemaker_endpoints.delete_endpoint, {"EndpointName": name})
    sagemaker_endpoints.wait_until_settled(name)


def _target_create(_logical_id: str, properties: Properties, _stack_name: str) -> Created:
    request = {k: v for k, v in properties.items() if k != "ScheduledActions"}
    for bound in ("MinCapacity", "MaxCapacity"):
        request[bound] = int(request[bound])
    application_autoscaling.register_scalable_target(request)
    _put_scheduled_actions(properties)
    target_id = "|".join((properties["ResourceId"], properties["ScalableDimension"], properties["ServiceNamespace"]))
    return target_id, {"Id": target_id}


def _target_update(_physical_id: str, _old: Properties, new: Properties, stack_name: str) -> Created:
    return _target_create("", new, stack_name)


def _target_delete(_physical_id: str, properties: Properties) -> None:
    key = {k: properties[k] for k in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    _ignore_missing(application_autoscaling.deregister_scalable_target, key)


def _put_scheduled_actions(properties: Properties) -> None:
    key = {k: properties[k] for k in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    wanted = {action["ScheduledActionName"]: action for action in properties.get("ScheduledActions", [])}
    existing = application_autoscaling.describe_scheduled_actions(key)["ScheduledActions"]
    for action in existing:
        if action["ScheduledActionName"] not in wanted:
            application_autoscaling.delete_scheduled_action(
                {**key, "ScheduledActionName": action["ScheduledActionName"]}
            )
    for action in wanted.values():
        application_autoscaling.put_scheduled_action({**key, **action})


def _policy_create(_logical_id: str, properties: Properties, _stack_name: str) -> Created:
    answer = application_autoscaling.put_scaling_policy(_policy_request(properties))
    return answer["PolicyARN"], {"Arn": answer["PolicyARN"]}


def _policy_update(_physical_id: str, _old: Properties, new: Properties, stack_name: str) -> Created:
    return _policy_create("", new, stack_name)


def _policy_delete(physical_id: str, properties: Properties) -> None:
    request = _policy_request(properties)
    key = (*scaling_state.key_of(request), request["PolicyName"])
    # The replacement of a policy with the same key overwrites it; only the one this resource made is deleted.
    if scaling_state.policies.get(key, {}).get("PolicyARN") == physical_id:
        application_autoscaling.delete_scaling_policy(request)


def _policy_request(properties: Properties) -> Properties:
    if target_id := properties.get("ScalingTargetId"):
        resource_id, dimension, namespace = target_id.split("|")
        key = {"ResourceId": resource_id, "ScalableDimension": dimension, "ServiceNamespace": namespace}
        return {**properties, **key}
    return properties


HANDLERS: dict[str, Handler] = {
    "AWS::SageMaker::Model": {"create": _model_create, "update": _tags_update, "delete": _model_delete},
    "AWS::SageMaker::EndpointConfig": {
        "create": _config_create,
        "update": _tags_update,
        "delete": _config_delete,
    },
    "AWS::SageMaker::Endpoint": {
        "create": _endpoint_create,
        "update": _endpoint_update,
        "delete": _endpoint_delete,
    },
    "AWS::ApplicationAutoScaling::ScalableTarget": {
        "create": _target_create,
        "update": _target_update,
        "delete": _target_delete,
    },
    "AWS::ApplicationAutoScaling::ScalingPolicy": {
        "create": _policy_create,
        "update": _policy_update,
        "delete": _policy_delete,
    },
    "AWS::CloudWatch::Alarm": {
        "create": metric_alarms.create,
        "update": metric_alarms.update,
        "delete": metric_alarms.delete,
    },
    "AWS::CloudWatch::CompositeAlarm": {
        "create": composite_alarms.create,
        "update": composite_alarms.update,
        "delete": composite_alarms.delete,
    },
    "AWS::Scheduler::Schedule": {
        "create": schedules.create,
        "update": schedules.update,
        "delete": schedules.delete,
    },
    "AWS::AppConfig::Deployment": {
        "create": appconfig_deployments.create,
        "delete": appconfig_deployments.delete,
    },
}

# Their handlers wait on the clock, so they must not run on the emulator's event loop.
WAITING_TYPES = frozenset({"AWS::SageMaker::Endpoint", "AWS::AppConfig::Deployment"})

# Where a physical name is given and kept, a replacement is refused as CloudFormation refuses it.
NAME_PROPERTIES = {
    "AWS::SageMaker::Model": "ModelName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
}


def _name(field: str, logical_id: str, properties: Properties, stack_name: str) -> str:
    given: str | None = properties.get(field)
    return given or str(provisioners._physical_name(stack_name, logical_id, max_len=63))


def _named(store: Any, arn: str) -> str:
    """The name of a model or configuration by its ARN, which is lower case; "" when it is gone."""
    return next((n for n, r in store.items() if arn in (r.get("ModelArn"), r.get("EndpointConfigArn"))), "")


def _named_endpoint(arn: str) -> str:
    lower = arn.rsplit("/", 1)[-1]
    return next((name for name in sagemaker_endpoints._endpoints if name.lower() == lower), lower)


def _ignore_missing(operation: Callable[[Properties], Any], request: Properties) -> None:
    """A resource that is already gone counts as deleted."""
    try:
        operation(request)
    except ServiceError as error:
        if "Could not find" not in error.message and error.code != "ObjectNotFoundException":
            raise

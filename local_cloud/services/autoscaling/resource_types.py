"""CloudFormation's two Application Auto Scaling types: create, update in place, delete."""

from typing import Any

from local_cloud.core.errors import ignore_missing
from local_cloud.services import scalable_targets
from local_cloud.services.autoscaling import service

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]


def target_create(_logical_id: str, properties: Properties, _stack_name: str) -> Created:
    request = {k: v for k, v in properties.items() if k != "ScheduledActions"}
    for bound in ("MinCapacity", "MaxCapacity"):
        request[bound] = int(request[bound])
    service.register_scalable_target(request)
    _put_scheduled_actions(properties)
    target_id = "|".join((properties["ResourceId"], properties["ScalableDimension"], properties["ServiceNamespace"]))
    return target_id, {"Id": target_id}


def target_update(_physical_id: str, _old: Properties, new: Properties, stack_name: str) -> Created:
    return target_create("", new, stack_name)


def target_delete(_physical_id: str, properties: Properties) -> None:
    key = {k: properties[k] for k in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    ignore_missing(service.deregister_scalable_target, key)


def _put_scheduled_actions(properties: Properties) -> None:
    key = {k: properties[k] for k in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    wanted = {action["ScheduledActionName"]: action for action in properties.get("ScheduledActions", [])}
    existing = service.describe_scheduled_actions(key)["ScheduledActions"]
    for action in existing:
        if action["ScheduledActionName"] not in wanted:
            service.delete_scheduled_action({**key, "ScheduledActionName": action["ScheduledActionName"]})
    for action in wanted.values():
        service.put_scheduled_action({**key, **action})


def policy_create(_logical_id: str, properties: Properties, _stack_name: str) -> Created:
    answer = service.put_scaling_policy(_policy_request(properties))
    return answer["PolicyARN"], {"Arn": answer["PolicyARN"]}


def policy_update(_physical_id: str, _old: Properties, new: Properties, stack_name: str) -> Created:
    return policy_create("", new, stack_name)


def policy_delete(physical_id: str, properties: Properties) -> None:
    request = _policy_request(properties)
    key = (*scalable_targets.key_of(request), request["PolicyName"])
    # The replacement of a policy with the same key overwrites it; only the one this resource made is deleted.
    if scalable_targets.policies.get(key, {}).get("PolicyARN") == physical_id:
        service.delete_scaling_policy(request)


def _policy_request(properties: Properties) -> Properties:
    if target_id := properties.get("ScalingTargetId"):
        resource_id, dimension, namespace = target_id.split("|")
        key = {"ResourceId": resource_id, "ScalableDimension": dimension, "ServiceNamespace": namespace}
        return {**properties, **key}
    return properties

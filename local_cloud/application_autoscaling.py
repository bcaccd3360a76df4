"""Application Auto Scaling for SageMaker variants: targets, policies, scheduled actions, activities."""

import re
import uuid
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local_cloud import event_log, sagemaker_endpoints, scaling_alarms
from local_cloud.clock import clock
from local_cloud.errors import ServiceError
from local_cloud.pagination import page
from local_cloud.scaling_state import Key, activities, key_of, policies, scheduled_actions, targets

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_RESOURCE_ID = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")
_SERVICE_LINKED_ROLE = (
    "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def register_scalable_target(request: dict[str, Any]) -> dict[str, Any]:
    key = key_of(request)
    variant = _variant_of(request)
    known = targets.get(key, {})
    target = {
        **known,
        **{k: v for k, v in request.items() if k != "Tags"},
        "RoleARN": request.get("RoleARN") or f"arn:aws:iam::{get_account_id()}:{_SERVICE_LINKED_ROLE}",
        "CreationTime": known.get("CreationTime", clock.now()),
        "ScalableTargetARN": known.get("ScalableTargetARN") or _target_arn(key),
    }
    for bound in ("MinCapacity", "MaxCapacity"):
        if bound not in target:
            raise ServiceError("ValidationException", f"{bound} is required to register a new scalable target")
    if target["MinCapacity"] > target["MaxCapacity"]:
        raise ServiceError("ValidationException", "Maximum capacity cannot be less than minimum capacity")
    targets[key] = target
    event_log.record("ScalableTargetRegistered", key[1])
    within = min(max(variant.instance_count, target["MinCapacity"]), target["MaxCapacity"])
    if within != variant.instance_count:
        set_capacity(key, within, cause="bounds of the scalable target changed")
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


def describe_scalable_targets(request: dict[str, Any]) -> dict[str, Any]:
    found = [t for key, t in targets.items() if _selected(request, key, ids=request.get("ResourceIds"))]
    return _listed("ScalableTargets", found, request)


def deregister_scalable_target(request: dict[str, Any]) -> dict[str, Any]:
    key = _registered(request)
    for policy_key in [k for k in policies if k[:3] == key]:
        _drop_policy(policy_key)
    for action_key in [k for k in scheduled_actions if k[:3] == key]:
        del scheduled_actions[action_key]
    del targets[key]
    event_log.record("ScalableTargetDeregistered", key[1])
    return {}


def put_scaling_policy(request: dict[str, Any]) -> dict[str, Any]:
    key = _registered(request)
    policy_key = (*key, request["PolicyName"])
    known = policies.get(policy_key, {})
    policy_type = request.get("PolicyType") or known.get("PolicyType", "StepScaling")
    configurations = {
        "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
        "StepScaling": "StepScalingPolicyConfiguration",
    }
    if policy_type not in configurations:
        raise ServiceError("ValidationException", f"SageMaker variants do not support policy type {policy_type}")
    if configurations[policy_type] not in request:
        raise ServiceError("ValidationException", f"{configurations[policy_type]} is required for {policy_type}")
    policy = {
        **request,
        "PolicyType": policy_type,
        "PolicyARN": known.get("PolicyARN") or _policy_arn(key, request["PolicyName"]),
        "CreationTime": known.get("CreationTime", clock.now()),
    }
    scaling_alarms.delete(known.get("Alarms", []))
    policy["Alarms"] = scaling_alarms.create(policy) if policy_type == "TargetTrackingScaling" else []
    policies[policy_key] = policy
    event_log.record("ScalingPolicyPut", request["PolicyName"], target=key[1])
    return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}


def describe_scaling_policies(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("PolicyNames")
    found = [
        {**policy, "Alarms": policy["Alarms"] or scaling_alarms.acting_on(policy["PolicyARN"])}
        for key, policy in policies.items()
        if _selected(request, key) and (not names or key[3] in names)
    ]
    return _listed("ScalingPolicies", found, request)


def delete_scaling_policy(request: dict[str, Any]) -> dict[str, Any]:
    policy_key = (*key_of(request), request["PolicyName"])
    if policy_key not in policies:
        raise ServiceError(
            "ObjectNotFoundException", f"No scaling policy found for policy name: {request['PolicyName']}"
        )
    _drop_policy(policy_key)
    return {}


def put_scheduled_action(request: dict[str, Any]) -> dict[str, Any]:
    key = _registered(request)
    action_key = (*key, request["ScheduledActionName"])
    known = scheduled_actions.get(action_key, {})
    if not known and not {"Schedule", "ScalableTargetAction"} <= request.keys():
        raise ServiceError("ValidationException", "Schedule and ScalableTargetAction are required")
    scheduled_actions[action_key] = {
        **known,
        **request,
        "CreationTime": known.get("CreationTime", clock.now()),
        "ScheduledActionARN": known.get("ScheduledActionARN")
        or f"arn:aws:autoscaling:{get_region()}:{get_account_id()}:scheduledAction:{uuid.uuid4()}:resource/"
        f"{key[0]}/{key[1]}:scheduledActionName/{request['ScheduledActionName']}",
    }
    return {}


def describe_scheduled_actions(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("ScheduledActionNames")
    found = [
        action
        for key, action in scheduled_actions.items()
        if _selected(request, key) and (not names or key[3] in names)
    ]
    return _listed("ScheduledActions", found, request)


def delete_scheduled_action(request: dict[str, Any]) -> dict[str, Any]:
    action_key = (*key_of(request), request["ScheduledActionName"])
    if action_key not in scheduled_actions:
        raise ServiceError("ObjectNotFoundException", f"No scheduled action found: {request['ScheduledActionName']}")
    del scheduled_actions[action_key]
    return {}


def describe_scaling_activities(request: dict[str, Any]) -> dict[str, Any]:
    found = [a for a in reversed(activities.get("all", [])) if _selected(request, key_of(a))]
    return _listed("ScalingActivities", found, request)


def set_capacity(key: Key, instance_count: int, *, cause: str) -> None:
    """Ask SageMaker for a number of instances, and write the activity down, refused or not."""
    match = _RESOURCE_ID.fullmatch(key[1])
    assert match is not None  # noqa: S101 - only registered resource ids get here
    change = {"VariantName": match["variant"], "DesiredInstanceCount": instance_count}
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "ServiceNamespace": key[0],
        "ResourceId": key[1],
        "ScalableDimension": key[2],
        "Description": f"Setting desired instance count to {instance_count}.",
        "Cause": cause,
        "StartTime": clock.now(),
        "StatusCode": "Successful",
        "StatusMessage": f"Successfully set desired instance count to {instance_count}.",
    }
    try:
        sagemaker_endpoints.update_weights_and_capacities(
            {"EndpointName": match["endpoint"], "DesiredWeightsAndCapacities": [change]}
        )
    except ServiceError as refused:
        activity |= {
            "StatusCode": "Failed",
            "StatusMessage": f"Failed to set instance count. {refused.message}",
        }
    activity["EndTime"] = clock.now()
    activities.setdefault("all", []).append(activity)
    event_log.record("ScalingActivity", key[1], instances=instance_count, outcome=activity["StatusCode"])


def _variant_of(request: dict[str, Any]) -> sagemaker_endpoints.Variant:
    if request["ServiceNamespace"] != "sagemaker" or request["ScalableDimension"] != _DIMENSION:
        raise ServiceError(
            "ValidationException",
            f"the stand-in scales sagemaker / {_DIMENSION} only, got "
            f"{request['ServiceNamespace']} / {request['ScalableDimension']}",
        )
    match = _RESOURCE_ID.fullmatch(request["ResourceId"])
    if match is None:
        raise ServiceError("ValidationException", f"Unsupported resource id: {request['ResourceId']}")
    try:
        endpoint = sagemaker_endpoints.find(match["endpoint"])
    except ServiceError as error:
        raise ServiceError("ValidationException", error.message) from None
    for variant in endpoint.variants:
        if variant.name == match["variant"]:
            return variant
    raise ServiceError("ValidationException", f"Could not find variant {match['variant']} of {match['endpoint']}.")


def _registered(request: dict[str, Any]) -> Key:
    key = key_of(request)
    if key not in targets:
        raise ServiceError(
            "ObjectNotFoundException",
            f"No scalable target registered for service namespace: {key[0]}, resource ID: {key[1]}, "
            f"scalable dimension: {key[2]}",
        )
    return key


def _drop_policy(policy_key: tuple[str, str, str, str]) -> None:
    scaling_alarms.delete(policies.pop(policy_key)["Alarms"])
    event_log.record("ScalingPolicyDeleted", policy_key[3], target=policy_key[1])


def _selected(request: dict[str, Any], key: tuple[str, ...], ids: list[str] | None = None) -> bool:
    wanted = ids or ([request["ResourceId"]] if "ResourceId" in request else None)
    return (
        key[0] == request["ServiceNamespace"]
        and (wanted is None or key[1] in wanted)
        and request.get("ScalableDimension") in (None, key[2])
    )


def _listed(field: str, found: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    shown, following = page(
        found, max_results=request.get("MaxResults"), next_token=request.get("NextToken"), default_size=50
    )
    return {field: shown, **following}


def _target_arn(key: Key) -> str:
    digest = uuid.uuid5(uuid.NAMESPACE_OID, "|".join(key)).hex
    return f"arn:aws:application-autoscaling:{get_region()}:{get_account_id()}:scalable-target/{digest}"


def _policy_arn(key: Key, policy_name: str) -> str:
    return (
        f"arn:aws:autoscaling:{get_region()}:{get_account_id()}:scalingPolicy:{uuid.uuid4()}:resource/"
        f"{key[0]}/{key[1]}:policyName/{policy_name}"
    )

"""Application Auto Scaling for SageMaker variants: targets, policies, scheduled actions, activities."""

import uuid
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services import scalable_targets
from local_cloud.services.autoscaling import activities as scaling_activities
from local_cloud.services.autoscaling import alarms, controller, schedules
from local_cloud.services.autoscaling.requests import listed, registered, selected, variant_of
from local_cloud.services.scalable_targets import Key, activities, key_of, policies, scheduled_actions, targets

_SERVICE_LINKED_ROLE = (
    "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)

_NOTHING_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}


def register_scalable_target(request: dict[str, Any]) -> dict[str, Any]:
    key = key_of(request)
    variant_of(request)
    known = targets.get(key, {})
    target = {
        **known,
        **{k: v for k, v in request.items() if k != "Tags"},
        "SuspendedState": {
            **_NOTHING_SUSPENDED,
            **known.get("SuspendedState", {}),
            **request.get("SuspendedState", {}),
        },
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
    scalable_targets.unmet_bounds[key] = True
    controller.bring_within_bounds(key)
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


def describe_scalable_targets(request: dict[str, Any]) -> dict[str, Any]:
    selected_targets = [t for key, t in targets.items() if selected(request, key, ids=request.get("ResourceIds"))]
    return listed("ScalableTargets", selected_targets, request)


def deregister_scalable_target(request: dict[str, Any]) -> dict[str, Any]:
    key = registered(request)
    for policy_key in [k for k in policies if k[:3] == key]:
        _drop_policy(policy_key)
    scalable_targets.drop_target(key)
    event_log.record("ScalableTargetDeregistered", key[1])
    return {}


def put_scaling_policy(request: dict[str, Any]) -> dict[str, Any]:
    key = registered(request)
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
    if policy_type == "StepScaling":
        _check_steps(request[configurations[policy_type]])
    policy = {
        **request,
        "PolicyType": policy_type,
        "PolicyARN": known.get("PolicyARN") or _policy_arn(key, request["PolicyName"]),
        "CreationTime": known.get("CreationTime", clock.now()),
    }
    alarms.delete(known.get("Alarms", []))
    policy["Alarms"] = alarms.create(policy) if policy_type == "TargetTrackingScaling" else []
    policies[policy_key] = policy
    event_log.record("ScalingPolicyPut", request["PolicyName"], target=key[1])
    return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}


def describe_scaling_policies(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("PolicyNames")
    described = [
        {**policy, "Alarms": policy["Alarms"] or alarms.acting_on(policy["PolicyARN"])}
        for key, policy in policies.items()
        if selected(request, key) and (not names or key[3] in names)
    ]
    return listed("ScalingPolicies", described, request)


def delete_scaling_policy(request: dict[str, Any]) -> dict[str, Any]:
    policy_key = (*key_of(request), request["PolicyName"])
    if policy_key not in policies:
        raise ServiceError(
            "ObjectNotFoundException", f"No scaling policy found for policy name: {request['PolicyName']}"
        )
    _drop_policy(policy_key)
    return {}


def put_scheduled_action(request: dict[str, Any]) -> dict[str, Any]:
    key = registered(request)
    action_key = (*key, request["ScheduledActionName"])
    known = scheduled_actions.get(action_key, {})
    if not known and not {"Schedule", "ScalableTargetAction"} <= request.keys():
        raise ServiceError("ValidationException", "Schedule and ScalableTargetAction are required")
    action = {
        **known,
        **request,
        "CreationTime": known.get("CreationTime", clock.now()),
        "ScheduledActionARN": known.get("ScheduledActionARN")
        or f"arn:aws:autoscaling:{get_region()}:{get_account_id()}:scheduledAction:{uuid.uuid4()}:resource/"
        f"{key[0]}/{key[1]}:scheduledActionName/{request['ScheduledActionName']}",
    }
    schedules.check(action)
    scheduled_actions[action_key] = action
    schedules.arm(action_key, clock.now())
    return {}


def describe_scheduled_actions(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("ScheduledActionNames")
    actions = [
        action for key, action in scheduled_actions.items() if selected(request, key) and (not names or key[3] in names)
    ]
    return listed("ScheduledActions", actions, request)


def delete_scheduled_action(request: dict[str, Any]) -> dict[str, Any]:
    action_key = (*key_of(request), request["ScheduledActionName"])
    if action_key not in scheduled_actions:
        raise ServiceError("ObjectNotFoundException", f"No scheduled action found: {request['ScheduledActionName']}")
    del scheduled_actions[action_key]
    scalable_targets.next_occurrences.pop(action_key, None)
    return {}


def describe_scaling_activities(request: dict[str, Any]) -> dict[str, Any]:
    scaling_activities.settle()
    described = [
        {name: value for name, value in activity.items() if not name.startswith("_")}
        for activity in reversed(activities.get("all", []))
        if selected(request, key_of(activity))
    ]
    return listed("ScalingActivities", described, request)


def _check_steps(configuration: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepScalingPolicyConfiguration.html"""
    allowed = {
        "AdjustmentType": ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"),
        "MetricAggregationType": ("Average", "Maximum", "Minimum"),
    }
    for name, values in allowed.items():
        if configuration.get(name, "Average" if name == "MetricAggregationType" else None) not in values:
            raise ServiceError(
                "ValidationException", f"{name} is {configuration.get(name)}; it must be one of {', '.join(values)}"
            )
    if not configuration.get("StepAdjustments"):
        raise ServiceError("ValidationException", "At least one StepAdjustment must be provided")


def _drop_policy(policy_key: tuple[str, str, str, str]) -> None:
    alarms.delete(policies.pop(policy_key)["Alarms"])
    event_log.record("ScalingPolicyDeleted", policy_key[3], target=policy_key[1])


def _target_arn(key: Key) -> str:
    digest = uuid.uuid5(uuid.NAMESPACE_OID, "|".join(key)).hex
    return f"arn:aws:application-autoscaling:{get_region()}:{get_account_id()}:scalable-target/{digest}"


def _policy_arn(key: Key, policy_name: str) -> str:
    return (
        f"arn:aws:autoscaling:{get_region()}:{get_account_id()}:scalingPolicy:{uuid.uuid4()}:resource/"
        f"{key[0]}/{key[1]}:policyName/{policy_name}"
    )

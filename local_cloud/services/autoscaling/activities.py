"""What Application Auto Scaling did: each change it asked SageMaker for, and how that ended."""

import uuid
from typing import Any

from local_cloud.core import event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.services.autoscaling.requests import RESOURCE_ID
from local_cloud.services.sagemaker import endpoint_states, endpoints
from local_cloud.services.scalable_targets import Key, activities

Activity = dict[str, Any]


def change_capacity(key: Key, instance_count: int, *, cause: str) -> Activity:
    """Ask SageMaker for a number of instances, and record the activity, refused or not."""
    match = RESOURCE_ID.fullmatch(key[1])
    assert match is not None  # noqa: S101 - only registered resource ids get here
    change = {"VariantName": match["variant"], "DesiredInstanceCount": instance_count}
    activity = _started(key, f"Setting desired instance count to {instance_count}.", cause)
    activity["_instances"] = instance_count
    try:
        endpoints.update_weights_and_capacities(
            {"EndpointName": match["endpoint"], "DesiredWeightsAndCapacities": [change]}
        )
    except ServiceError as refused:
        activity |= {
            "StatusCode": "Failed",
            "StatusMessage": f"Failed to set desired instance count to {instance_count}. Reason: {refused.message}",
            "EndTime": clock.now(),
        }
    else:
        activity |= {
            "StatusCode": "InProgress",
            "StatusMessage": f"Successfully set desired instance count to {instance_count}. "
            "Waiting for change to be fulfilled by sagemaker.",
        }
    event_log.record("ScalingActivity", key[1], instances=instance_count, outcome=activity["StatusCode"], cause=cause)
    return activity


def changed_bounds(key: Key, minimum: int, maximum: int, *, cause: str) -> Activity:
    """Record that a scheduled action moved the bounds."""
    activity = _started(key, f"Setting min capacity to {minimum} and max capacity to {maximum}", cause)
    outcome = "Successful" if minimum <= maximum else "Failed"
    activity |= {
        "StatusCode": outcome,
        "StatusMessage": f"Successfully set min capacity to {minimum} and max capacity to {maximum}"
        if outcome == "Successful"
        else f"Failed to set min capacity to {minimum} and max capacity to {maximum}: the minimum exceeds the maximum.",
        "EndTime": clock.now(),
    }
    event_log.record("ScalingBounds", key[1], minimum=minimum, maximum=maximum, outcome=outcome, cause=cause)
    return activity


def settle() -> None:
    """End the activities whose endpoint has settled, successful or not."""
    for activity in activities.get("all", []):
        if activity["StatusCode"] == "InProgress":
            _settle(activity)


def _settle(activity: Activity) -> None:
    match = RESOURCE_ID.fullmatch(activity["ResourceId"])
    assert match is not None  # noqa: S101
    try:
        endpoint = endpoint_states.find(match["endpoint"])
    except ServiceError:
        endpoint = None
    if endpoint is not None and endpoint.status in ("Updating", "RollingBack"):
        return
    counts = {variant.name: variant.instance_count for variant in endpoint.variants} if endpoint else {}
    reached = counts.get(match["variant"]) == activity["_instances"]
    activity |= {
        "StatusCode": "Successful" if reached else "Unfulfilled",
        "StatusMessage": f"Successfully set desired instance count to {activity['_instances']}. "
        f"Change {'successfully' if reached else 'not'} fulfilled by sagemaker.",
        "EndTime": clock.now(),
    }


def _started(key: Key, description: str, cause: str) -> Activity:
    activity: Activity = {
        "ActivityId": str(uuid.uuid4()),
        "ServiceNamespace": key[0],
        "ResourceId": key[1],
        "ScalableDimension": key[2],
        "Description": description,
        "Cause": cause,
        "StartTime": clock.now(),
    }
    activities.setdefault("all", []).append(activity)
    return activity

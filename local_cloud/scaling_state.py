"""What is registered with Application Auto Scaling."""

from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import cloudwatch

Key = tuple[str, str, str]

# (ServiceNamespace, ResourceId, ScalableDimension)
targets = AccountRegionScopedDict()
# (ServiceNamespace, ResourceId, ScalableDimension, PolicyName)
policies = AccountRegionScopedDict()
# (ServiceNamespace, ResourceId, ScalableDimension, ScheduledActionName)
scheduled_actions = AccountRegionScopedDict()
# One list of activities an account and region.
activities = AccountRegionScopedDict()


def key_of(request: dict[str, Any]) -> Key:
    return request["ServiceNamespace"], request["ResourceId"], request["ScalableDimension"]


def autoscaled_variants(endpoint_name: str) -> set[str]:
    """The variants of an endpoint that are registered as scalable targets."""
    prefix = f"endpoint/{endpoint_name}/variant/"
    return {
        resource_id.removeprefix(prefix)
        for namespace, resource_id, _ in targets
        if namespace == "sagemaker" and resource_id.startswith(prefix)
    }


def drop_targets_of(endpoint_name: str) -> None:
    """Deleting an endpoint deregisters its variants, with their policies, alarms and scheduled actions."""
    prefix = f"endpoint/{endpoint_name}/variant/"
    for policy in [policies[key] for key in policies if key[1].startswith(prefix)]:
        for alarm in policy["Alarms"]:
            cloudwatch.cloudformation_delete_metric_alarm(alarm["AlarmName"])
    for store in (targets, policies, scheduled_actions):
        for key in [key for key in store if key[1].startswith(prefix)]:
            del store[key]


def clear() -> None:
    for store in (targets, policies, scheduled_actions, activities):
        store._data.clear()

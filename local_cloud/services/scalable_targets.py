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
# When each scheduled action comes next, by the same key; absent when it never does.
next_occurrences = AccountRegionScopedDict()
# True for each target whose bounds moved, until its capacity has been brought within them.
unmet_bounds = AccountRegionScopedDict()
# (ServiceNamespace, ResourceId, ScalableDimension, PolicyName, "out" or "in") -> (instances before, activity)
last_scalings = AccountRegionScopedDict()
# One list of activities an account and region.
activities = AccountRegionScopedDict()

_BY_TARGET = (targets, policies, scheduled_actions, next_occurrences, unmet_bounds, last_scalings)


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
    for store in _BY_TARGET:
        for key in [key for key in store if key[1].startswith(prefix)]:
            del store[key]


def drop_target(key: Key) -> None:
    """Forget a scalable target and all that belongs to it; its policies' alarms are the caller's."""
    for store in _BY_TARGET:
        for belonging in [belonging for belonging in store if belonging[:3] == key]:
            del store[belonging]


def clear() -> None:
    for store in (*_BY_TARGET, activities):
        store._data.clear()

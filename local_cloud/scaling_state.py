"""What is registered with Application Auto Scaling."""

from typing import Any

from ministack.core.responses import AccountRegionScopedDict

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


def clear() -> None:
    for store in (targets, policies, scheduled_actions, activities):
        store._data.clear()

"""How a resource of a stack begins: its properties are checked, and it waits for what it depends on."""

import functools
from typing import Any

from ministack.services.cloudformation import provisioners, stacks

from local_cloud.core import event_log
from local_cloud.services.cloudformation import properties as resource_properties
from local_cloud.services.cloudformation import resource_types
from local_cloud.services.stacks import cancel, early_start

_ministack_provision = provisioners._provision_resource
_ministack_update = provisioners._update_resource
_ministack_runs_on_worker_thread = stacks._runs_on_worker_thread


@functools.wraps(_ministack_provision)
def provision(resource_type: str, logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
    """Create a resource. Raises ValueError for properties that CloudFormation would refuse."""
    resource_properties.check(resource_type, logical_id, properties)
    cancel.refuse_to_begin(stack_name, logical_id)
    early_start.await_dependencies(stack_name, logical_id)
    created = _until_cancelled(
        resource_type, stack_name, _ministack_provision, resource_type, logical_id, properties, stack_name
    )
    event_log.record("ResourceCreated", logical_id, type=resource_type, stack=stack_name)
    return created


@functools.wraps(_ministack_update)
def update(
    resource_type: str,
    physical_id: str,
    old: dict[str, Any],
    new: dict[str, Any],
    stack_name: str,
    *rest: Any,
) -> Any:
    """Update a resource, or replace it. Raises ValueError for properties that CloudFormation would refuse."""
    if old != new:
        logical_id = rest[0] if rest else physical_id
        resource_properties.check(resource_type, logical_id, new)
        cancel.refuse_to_begin(stack_name, logical_id)
        early_start.await_dependencies(stack_name, logical_id)
    return _until_cancelled(
        resource_type, stack_name, _ministack_update, resource_type, physical_id, old, new, stack_name, *rest
    )


def runs_on_worker_thread(resource_type: str) -> bool:
    """Whether a handler may block. One that depends on an endpoint begun early waits for that endpoint's end."""
    return (
        resource_type in resource_types.WAITING_TYPES
        or _ministack_runs_on_worker_thread(resource_type)
        or early_start.is_unsettled()
    )


def _until_cancelled(resource_type: str, stack_name: str, call: Any, *arguments: Any) -> Any:
    """A custom resource takes as long as its function; a cancelled update need not wait for it."""
    if not resource_type.startswith("Custom::"):
        return call(*arguments)
    return cancel.until_cancelled(stack_name, functools.partial(call, *arguments))

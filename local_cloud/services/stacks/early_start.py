"""CloudFormation's early start: a resource that refers to another one may begin before that one is ready.

Since 2024 an endpoint that is Creating has reached CONFIGURATION_COMPLETE, and a resource that refers to it (Ref,
GetAtt) begins. DependsOn waits for its end. ministack deploys one resource after another. So here an endpoint's handler
returns when SageMaker has taken the request, and its end is awaited before a resource that depends on it explicitly,
and before the stack is complete.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html
"""

from collections.abc import Callable
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import engine, stacks

from local_cloud.core import event_log
from local_cloud.core.early_start import DEFAULT, EarlyStart
from local_cloud.services.stacks.operation import CANCELLED, Unsettled, explicit_dependencies, operation, refuse

# Whose handlers return early. Of the slow types in the local emulator, only endpoints are referred to by others.
_EARLY_TYPES = ("AWS::SageMaker::Endpoint",)
_COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")

mode: EarlyStart = DEFAULT


def ordered(resources: dict[str, Any], conditions: dict[str, bool]) -> list[str]:
    """ministack's order, but resources that wait for an endpoint's end come after all others.

    CloudFormation begins what it can; ministack deploys one after the other. Raises ValueError for a circle.
    """
    order: list[str] = ministack_topological_sort(resources, conditions)
    if mode == "off":
        return order
    waiting: set[str] = set()
    explicit = explicit_dependencies({"Resources": resources})
    for logical_id in order:
        needs = engine._extract_deps(resources[logical_id], set(order))
        endpoints = {need for need in explicit[logical_id] if resources.get(need, {}).get("Type") in _EARLY_TYPES}
        if endpoints or needs & waiting:
            waiting.add(logical_id)
    # Both halves keep their order, so nothing comes before what it needs: what needs a waiting resource waits too.
    return [x for x in order if x not in waiting] + [x for x in order if x in waiting]


def finish_or_continue(stack_name: str, logical_id: str, finish: Callable[[], None], *, created: bool) -> None:
    """Wait for the end of an endpoint's change by `finish`, or leave that to the resources that depend on it."""
    current, stack = operation.get(), cloudformation._stacks.get(stack_name)
    early = mode == "always" or (mode == "creation" and created)
    if not early or current is None or stack is None or "ROLLBACK" in stack["StackStatus"]:
        finish()
        return
    current.unsettled[stack_name, logical_id] = Unsettled(finish, created)
    event_log.record("ResourceConfigured", logical_id, stack=stack_name)


def await_dependencies(stack_name: str, logical_id: str) -> None:
    """Before a resource begins, wait for the end of its DependsOn. Raises RuntimeError if that failed."""
    current = operation.get()
    if current is None:
        return
    for needed in sorted(current.depends_on.get(stack_name, {}).get(logical_id, ())):
        if (problem := settle(stack_name, needed)) is not None:
            refuse(stack_name, logical_id, f"{needed} failed: {problem}")


def settle(stack_name: str, logical_id: str) -> str | None:
    """Wait for the end of one endpoint's change. Returns why it failed, else None."""
    current = operation.get()
    unsettled = current.unsettled.pop((stack_name, logical_id), None) if current else None
    if current is None or unsettled is None:
        return current.failures.get((stack_name, logical_id)) if current else None
    verb = "CREATE" if unsettled.created else "UPDATE"
    try:
        unsettled.finish()
    except Exception as error:  # whatever a handler raises, CloudFormation reports
        current.failures[stack_name, logical_id] = str(error)
        _say(stack_name, logical_id, f"{verb}_FAILED", str(error))
        return str(error)
    _say(stack_name, logical_id, f"{verb}_COMPLETE")
    return None


def settle_all(stack_name: str) -> list[str]:
    """Wait for everything of a stack. Returns the logical ids that failed."""
    current = operation.get()
    if current is None:
        return []
    for stack, logical_id in list(current.unsettled):
        if stack == stack_name:
            settle(stack, logical_id)
    return [logical_id for stack, logical_id in current.failures if stack == stack_name]


def is_unsettled(stack_name: str | None = None, logical_id: str | None = None) -> bool:
    """Whether any resource, or this one, was started and has not been waited for."""
    current = operation.get()
    if current is None:
        return False
    if logical_id is None:
        return any(stack_name in (None, stack) for stack, _ in current.unsettled)
    return (stack_name, logical_id) in current.unsettled


def add_event(stack_id: str, stack_name: str, logical_id: str, *rest: Any, **more: Any) -> None:
    """Add an event as ministack does; a resource that began early is not complete yet."""
    resource_type, status, *others = rest
    current = operation.get()
    if status in _COMPLETE and current is not None and (stack_name, logical_id) in current.left:
        current.left.discard((stack_name, logical_id))
        status, others = status.replace("COMPLETE", "FAILED"), [CANCELLED]
    if status in _COMPLETE and is_unsettled(stack_name, logical_id):
        status = status.replace("COMPLETE", "IN_PROGRESS")
        more = {**more, "detailed_status": "CONFIGURATION_COMPLETE"}
        cloudformation._stacks[stack_name]["_resources"][logical_id]["ResourceStatus"] = status
    ministack_add_event(stack_id, stack_name, logical_id, resource_type, status, *others, **more)


def _say(stack_name: str, logical_id: str, status: str, reason: str = "") -> None:
    stack = cloudformation._stacks[stack_name]
    record = stack["_resources"].get(logical_id, {})
    record["ResourceStatus"] = status
    ministack_add_event(
        stack["StackId"], stack_name, logical_id, record.get("ResourceType", ""), status, reason,
        record.get("PhysicalResourceId", ""),
    )  # fmt: skip


ministack_add_event: Callable[..., None] = stacks._add_event
ministack_topological_sort: Callable[..., list[str]] = stacks._topological_sort

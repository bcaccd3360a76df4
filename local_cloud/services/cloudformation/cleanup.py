"""CloudFormation's clean-up phase, for a whole tree of stacks.

On AWS nothing old is deleted until every resource of the root and its nested stacks is in place; then the
root enters UPDATE_COMPLETE_CLEANUP_IN_PROGRESS. ministack cleans up each nested stack on its own.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-nested-stacks.html
"""

from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.concurrency import run_reentrant
from ministack.services import cloudformation
from ministack.services.cloudformation import engine, provisioners, stacks

from local_cloud.core import event_log
from local_cloud.services.stacks import early_start
from local_cloud.services.stacks.operation import Deletion, Operation, explicit_dependencies, operation

_STACK = "AWS::CloudFormation::Stack"


async def deploy(
    stack_name: str, stack_id: str, template: dict[str, Any], parameters: dict[str, Any], *args: Any, **kwargs: Any
) -> None:
    """Deploy one stack by ministack and wait for everything in it. A root stack then cleans up the whole tree."""
    nested = operation.get()
    current = nested or Operation(stack_name)
    current.depends_on[stack_name] = explicit_dependencies(template)
    token = operation.set(current)
    try:
        await ministack_deploy(stack_name, stack_id, template, parameters, *args, **kwargs)
        # No await between ministack's last status and ours, or a caller could see the stack complete too early.
        await _settle(cloudformation._stacks[stack_name], template, parameters, *args, **kwargs)
        if nested is None:
            await _clean_up(cloudformation._stacks[stack_name], current)
    finally:
        operation.reset(token)


async def _settle(
    stack: dict[str, Any],
    template: dict[str, Any],
    parameters: dict[str, Any],
    disable_rollback: bool,
    _tags: list[Any],
    *,
    is_update: bool = False,
    previous_stack: dict[str, Any] | None = None,
    retain_except_on_create: bool = False,
    imports: dict[str, Any] | None = None,
) -> None:
    """After the last resource, wait for resources that began early, and handle a late cancellation."""
    complete = "UPDATE_COMPLETE" if is_update else "CREATE_COMPLETE"
    name = stack["StackName"]
    cancelled = is_update and bool(stack.get("_cancel_requested"))
    if stack["StackStatus"] != complete or not (cancelled or early_start.is_unsettled(name)):
        return
    events = cloudformation._stack_events[stack["StackId"]]
    # ministack has reported the end already. The event is put back when it is true.
    last = events.pop()
    stack["StackStatus"] = complete.replace("COMPLETE", "IN_PROGRESS")
    failed = await run_reentrant(early_start.settle_all, name)
    # It may have come while this waited.
    cancelled = is_update and bool(stack.pop("_cancel_requested", False))
    if not failed and not cancelled:
        stack["StackStatus"] = complete
        events.append({**last, "Timestamp": stacks.now_iso()})
        return
    record = stacks._failed_operation(
        is_update,
        previous_stack,
        engine._topological_sort(template["Resources"], engine._evaluate_conditions(template, parameters)),
        None,
        failed[0] if failed else None,
        [],
        cancelled,
        template,
        parameters,
        retain_except_on_create,
        stack.get("Tags") or [],
        (previous_stack or {}).get("Tags") or [],
        imports,
    )
    if disable_rollback and not cancelled:
        stack["StackStatus"] = complete.replace("COMPLETE", "FAILED")
        stack["_failed_operation"] = record
        add_stack_event(stack, stack["StackStatus"])
        return
    await roll_back(name, stack["StackId"], stack, record)


def delete_resource(
    resource_type: str,
    physical_id: str,
    properties: dict[str, Any],
    stack_name: str | None = None,
    logical_id: str | None = None,
) -> None:
    """Delete a resource now, or put it off to the clean-up of the root stack."""
    current = operation.get()
    stack = cloudformation._stacks.get(stack_name) if stack_name else None
    if current is None or stack is None:
        ministack_delete(resource_type, physical_id, properties, stack_name, logical_id)
        return
    rolling_back = stack["StackStatus"].startswith("UPDATE_ROLLBACK")
    forward = stack["StackStatus"] == "UPDATE_IN_PROGRESS"
    if forward or (rolling_back and stack_name != current.root_name):
        deletion = Deletion(str(stack_name), str(logical_id), resource_type, physical_id, properties, rolling_back)
        current.deletions.append(deletion)
        return
    ministack_delete(resource_type, physical_id, properties, stack_name, logical_id)


async def roll_back(
    stack_name: str, stack_id: str, stack: dict[str, Any], failed: dict[str, Any], reason_override: str = ""
) -> None:
    """Before a stack rolls back, await what was begun in it, and forget what its way forward wanted deleted."""
    current = operation.get()
    if early_start.is_unsettled(stack_name):
        await run_reentrant(early_start.settle_all, stack_name)
    if stack.pop("_cancel_requested", False):
        failed["cancelled"] = True
    if current is not None:
        if failed["failed_update"] and (stack_name, failed["failed_update"][0]) in current.not_begun:
            failed["failed_update"][3:] = [None, None, None]
        whole_tree = stack_name == current.root_name
        current.deletions = [
            d for d in current.deletions if d.rolling_back or not (whole_tree or d.stack_name == stack_name)
        ]
    event_log.record("StackRollingBack", stack_name)
    await ministack_roll_back(stack_name, stack_id, stack, failed, reason_override)


async def _clean_up(root: dict[str, Any], current: Operation) -> None:
    final = root["StackStatus"]
    if final not in ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE") or not current.deletions:
        event_log.record("StackSettled", current.root_name, status=final)
        return
    root_id = root["StackId"]
    cleaning = f"{final}_CLEANUP_IN_PROGRESS"
    events = cloudformation._stack_events[root_id]
    last = events.pop()
    if not any(e["ResourceStatus"] == cleaning for e in events[-len(current.deletions) - 3 :]):
        add_stack_event(root, cleaning)
    root["StackStatus"] = cleaning
    event_log.record("StackCleaningUp", current.root_name)
    for deletion in current.deletions:
        await _run(deletion)
    root["StackStatus"] = final
    events.append({**last, "Timestamp": stacks.now_iso()})
    event_log.record("StackSettled", current.root_name, status=final)


async def _run(deletion: Deletion) -> None:
    stack = cloudformation._stacks[deletion.stack_name]

    def add_event(status: str, reason: str = "") -> None:
        stacks._add_event(
            stack["StackId"],
            deletion.stack_name,
            deletion.logical_id,
            deletion.resource_type,
            status,
            reason,
            deletion.physical_id,
        )

    add_event("DELETE_IN_PROGRESS")
    try:
        await run_reentrant(
            ministack_delete,
            deletion.resource_type,
            deletion.physical_id,
            deletion.properties,
            deletion.stack_name,
            deletion.logical_id,
        )
    except Exception as error:  # whatever a handler raises, CloudFormation reports and goes on
        add_event("DELETE_FAILED", str(error))
        _keep_as_failed(stack, deletion, str(error))
        return
    add_event("DELETE_COMPLETE")


def _keep_as_failed(stack: dict[str, Any], deletion: Deletion, reason: str) -> None:
    """A removed resource that could not be deleted stays in the stack, so that a later delete retries it."""
    if deletion.logical_id in stack["_resources"]:
        return
    stack["_resources"][deletion.logical_id] = {
        "PhysicalResourceId": deletion.physical_id,
        "ResourceType": deletion.resource_type,
        "ResourceStatus": "DELETE_FAILED",
        "ResourceStatusReason": reason,
        "LogicalResourceId": deletion.logical_id,
        "Properties": deletion.properties,
        "Attributes": {},
        "Timestamp": stacks.now_iso(),
    }


def add_stack_event(stack: dict[str, Any], status: str) -> None:
    stacks._add_event(stack["StackId"], stack["StackName"], stack["StackName"], _STACK, status, "", stack["StackId"])


ministack_deploy: Callable[..., Awaitable[None]] = stacks._deploy_stack_async
ministack_roll_back: Callable[..., Awaitable[None]] = stacks._roll_back_operation
ministack_delete: Callable[..., None] = provisioners._delete_resource

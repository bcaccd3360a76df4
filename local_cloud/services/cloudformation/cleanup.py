"""CloudFormation's clean-up phase, for a whole tree of stacks.

On AWS nothing old is deleted until every resource of the root and its nested stacks is in place; then the
root enters UPDATE_COMPLETE_CLEANUP_IN_PROGRESS. The emulator cleans up each nested stack on its own.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-nested-stacks.html
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ministack.core.concurrency import run_reentrant
from ministack.services import cloudformation
from ministack.services.cloudformation import provisioners, stacks

from local_cloud.core import event_log

_STACK = "AWS::CloudFormation::Stack"


@dataclass(frozen=True)
class Deletion:
    stack_name: str
    logical_id: str
    resource_type: str
    physical_id: str
    properties: dict[str, Any]
    # A rollback of the root drops the deletions of the way forward and keeps those of the way back.
    rolling_back: bool


@dataclass
class Operation:
    """One create or update of a root stack."""

    root_name: str
    deletions: list[Deletion] = field(default_factory=list)
    # What the nested stacks updated in this operation were before it, by stack name.
    nested_before: dict[str, dict[str, Any]] = field(default_factory=dict)


operation: ContextVar[Operation | None] = ContextVar("operation", default=None)


async def deploy(stack_name: str, stack_id: str, *args: Any, **kwargs: Any) -> None:
    """The emulator's deployment of one stack; around a root stack, the phases of the whole tree."""
    if operation.get() is not None:
        await emulator_deploy(stack_name, stack_id, *args, **kwargs)
        return
    current = Operation(stack_name)
    token = operation.set(current)
    try:
        await emulator_deploy(stack_name, stack_id, *args, **kwargs)
        # No await between the emulator's last status and ours: nobody sees the stack complete too early.
        await _clean_up(cloudformation._stacks[stack_name], current)
    finally:
        operation.reset(token)


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
        emulator_delete(resource_type, physical_id, properties, stack_name, logical_id)
        return
    rolling_back = stack["StackStatus"].startswith("UPDATE_ROLLBACK")
    forward = stack["StackStatus"] == "UPDATE_IN_PROGRESS"
    if forward or (rolling_back and stack_name != current.root_name):
        deletion = Deletion(str(stack_name), str(logical_id), resource_type, physical_id, properties, rolling_back)
        current.deletions.append(deletion)
        return
    emulator_delete(resource_type, physical_id, properties, stack_name, logical_id)


async def roll_back(
    stack_name: str, stack_id: str, stack: dict[str, Any], failed: dict[str, Any], reason_override: str = ""
) -> None:
    """Before a stack rolls back, forget what its way forward wanted deleted."""
    current = operation.get()
    if current is not None:
        whole_tree = stack_name == current.root_name
        current.deletions = [
            d for d in current.deletions if d.rolling_back or not (whole_tree or d.stack_name == stack_name)
        ]
    event_log.record("StackRollingBack", stack_name)
    await emulator_roll_back(stack_name, stack_id, stack, failed, reason_override)


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
        _add_stack_event(root, cleaning)
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
            emulator_delete,
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


def _add_stack_event(stack: dict[str, Any], status: str) -> None:
    stacks._add_event(stack["StackId"], stack["StackName"], stack["StackName"], _STACK, status, "", stack["StackId"])


emulator_deploy: Callable[..., Awaitable[None]] = stacks._deploy_stack_async
emulator_roll_back: Callable[..., Awaitable[None]] = stacks._roll_back_operation
emulator_delete: Callable[..., None] = provisioners._delete_resource

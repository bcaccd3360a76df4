"""AWS::CloudFormation::Stack: a nested stack that rolls back and cleans up with its root.

ministack runs nested stacks inline: what a failed one has made stays behind, what a later failure sends
back is created again instead of restored, and old resources go before the root is done. Here a nested stack
goes through the same deployment as a root.
"""

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any

from ministack import app as ministack_app
from ministack.core.responses import get_account_id, get_region, new_uuid, now_iso
from ministack.services import cloudformation
from ministack.services.cloudformation import engine, helpers, provisioners, stacks

from local_cloud.services.cloudformation import cleanup
from local_cloud.services.stacks.operation import operation

Created = tuple[str, dict[str, str]]
Stack = dict[str, Any]


def create(logical_id: str, properties: dict[str, Any], parent_name: str) -> Created:
    # As CloudFormation names nested stacks.
    name = f"{parent_name}-{logical_id}-{new_uuid().replace('-', '')[:12].upper()}"
    stack_id = f"arn:aws:cloudformation:{get_region()}:{get_account_id()}:stack/{name}/{new_uuid()}"
    template, body = _template(parent_name, properties)
    stack: Stack = {
        "StackName": name,
        "StackId": stack_id,
        "CreationTime": now_iso(),
        "Outputs": [],
        "DisableRollback": False,
        "_region": get_region(),
        "_resources": {},
        "_parent_stack_name": parent_name,
        "ParentId": provisioners._cr_stack_id(parent_name),
        "RootId": _root_id(parent_name),
        "Capabilities": provisioners._inherited_capabilities(parent_name),
    }
    cloudformation._stacks[name] = stack
    cloudformation._stack_events.setdefault(stack_id, [])
    _deploy(stack, properties, template, body, previous=None)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        reason = _failure(stack, "create")
        _on_loop(stacks._delete_stack_async(name, stack_id))
        raise ValueError(f"Embedded stack {stack_id} was not successfully created: {reason}")
    return stack_id, _outputs(stack)


def update(physical_id: str, _old: dict[str, Any], new: dict[str, Any], parent_name: str) -> Created:
    name = provisioners._nested_stack_lookup_name(physical_id)
    stack: Stack = cloudformation._stacks[name]
    parent = cloudformation._stacks[parent_name]
    if parent["StackStatus"].startswith("UPDATE_ROLLBACK"):
        _restore(stack)
        return physical_id, _outputs(stack)
    previous = copy.deepcopy(stack)
    template, body = _template(parent_name, new)
    _deploy(stack, new, template, body, previous=previous)
    if stack["StackStatus"] != "UPDATE_COMPLETE":
        raise ValueError(f"Embedded stack {physical_id} was not successfully updated: {_failure(stack, 'update')}")
    if (current := operation.get()) is not None:
        current.nested_before[name] = previous
    return physical_id, _outputs(stack)


def delete(physical_id: str, _properties: dict[str, Any]) -> None:
    name = provisioners._nested_stack_lookup_name(physical_id)
    stack = cloudformation._stacks.get(name)
    if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
        return
    _on_loop(stacks._delete_stack_async(name, stack["StackId"]))
    if stack["StackStatus"] != "DELETE_COMPLETE":
        raise ValueError(f"Embedded stack {physical_id} was not successfully deleted: {stack['StackStatusReason']}")


def _deploy(
    stack: Stack, properties: dict[str, Any], template: dict[str, Any], body: str, *, previous: Stack | None
) -> None:
    prefix = "UPDATE" if previous else "CREATE"
    given = [{"Key": key, "Value": str(value)} for key, value in (properties.get("Parameters") or {}).items()]
    parameters = engine._resolve_parameters(template, given)
    conditions = engine._evaluate_conditions(template, parameters)
    engine.validate_template_support(template, conditions, params=parameters)
    stack.update(
        StackStatus=f"{prefix}_IN_PROGRESS",
        StackStatusReason="",
        LastUpdatedTime=now_iso(),
        Description=template.get("Description", ""),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value["Value"], "NoEcho": value["NoEcho"]}
            for key, value in parameters.items()
        ],
        Tags=[
            {"Key": key, "Value": value}
            for key, value in provisioners._tag_map(properties.get("Tags")).items()
            if not key.startswith("aws:")
        ],
        _template_body=body,
        _conditions=conditions,
    )
    if previous is None:
        stack["_template"] = template
        stack["_resolved_params"] = parameters
    name, stack_id = stack["StackName"], stack["StackId"]
    cleanup.add_stack_event(stack, f"{prefix}_IN_PROGRESS")
    _on_loop(
        cleanup.deploy(
            name,
            stack_id,
            template,
            parameters,
            False,
            stack["Tags"],
            is_update=previous is not None,
            previous_stack=previous,
        )
    )


def _restore(stack: Stack) -> None:
    """Send a nested stack back to what it was before this operation, physical resources included."""
    current = operation.get()
    previous = current.nested_before.pop(stack["StackName"], None) if current else None
    if previous is None:
        return  # its own update failed, so it has rolled back already
    failed = stacks._failed_operation(
        True,
        previous,
        engine._topological_sort(stack["_template"]["Resources"], stack["_conditions"]),
        None,
        None,
        [],
        False,
        stack["_template"],
        stack["_resolved_params"],
        False,
        stack["Tags"],
        previous.get("Tags") or [],
    )
    _on_loop(cleanup.roll_back(stack["StackName"], stack["StackId"], stack, failed))
    if stack["StackStatus"] != "UPDATE_ROLLBACK_COMPLETE":
        raise ValueError(f"Embedded stack {stack['StackId']} was not rolled back: {stack['StackStatusReason']}")


def _on_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a stack's coroutine on ministack's loop; nested stacks' handlers have their own thread."""
    asyncio.run_coroutine_threadsafe(work, ministack_app._MAIN_LOOP).result()


def _template(parent_name: str, properties: dict[str, Any]) -> tuple[dict[str, Any], str]:
    url = properties["TemplateURL"]
    body, error = helpers._resolve_template({"TemplateURL": [url]})
    if error is not None or not body:
        raise ValueError(f"S3 error: cannot read the nested template at {url}")
    template = engine._parse_template(body)
    provisioners._check_nested_stack_capabilities(parent_name, template)
    return template, body


def _root_id(parent_name: str) -> str:
    parent = cloudformation._stacks[parent_name]
    return str(parent.get("RootId") or parent["StackId"])


def _failure(stack: Stack, verb: str) -> str:
    """AWS names the failed resources; their own reasons are in the nested stack's events."""
    events = cloudformation._stack_events[stack["StackId"]]
    failed = [e["LogicalResourceId"] for e in events if e["ResourceStatus"] in ("CREATE_FAILED", "UPDATE_FAILED")]
    last = failed[-1:] or [stack["StackStatus"]]
    return f"The following resource(s) failed to {verb}: [{', '.join(last)}]."


def _outputs(stack: Stack) -> dict[str, str]:
    return {f"Outputs.{output['OutputKey']}": output["OutputValue"] for output in stack["Outputs"]}

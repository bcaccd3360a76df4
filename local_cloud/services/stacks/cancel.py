"""CancelUpdateStack: what becomes of the resource that is in progress.

ministack looks for a cancellation between two resources: one that comes while the last resource is in progress is
lost, and nested stacks get none. AWS does not say whether CloudFormation waits for the resource. Both ways are
here: it is left where it is, or awaited.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn--stack-update-cancel.html
"""

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import handlers

from local_cloud.services.stacks.operation import CANCELLED, is_cancelled, operation, refuse

_LOOK_AGAIN_SECONDS = 0.05

# Whether a cancelled update waits for the custom resource or the AppConfig deployment that is in progress. An endpoint
# in progress is always awaited: SageMaker neither deletes nor updates one.
waits_for_the_resource = False


def cancel(params: Any) -> Any:
    """ministack's CancelUpdateStack, which reaches the nested stacks in progress too."""
    answer = _ministack_cancel(params)
    for root in list(cloudformation._stacks.values()):
        if not root.get("_cancel_requested") or root.get("RootId"):
            continue
        for stack in list(cloudformation._stacks.values()):
            if stack.get("RootId") == root["StackId"] and stack["StackStatus"].endswith("_IN_PROGRESS"):
                stack["_cancel_requested"] = True
    return answer


def leaves(stack_name: str) -> bool:
    """Whether a wait for a resource of this stack must end, and leave the resource as it is."""
    return not waits_for_the_resource and is_cancelled(stack_name)


def leave(stack_name: str, logical_id: str) -> None:
    """Note that a resource was left: its event says so, and the rollback deletes it."""
    if (current := operation.get()) is not None:
        current.left.add((stack_name, logical_id))


def refuse_to_begin(stack_name: str, logical_id: str) -> None:
    """Raise RuntimeError in a stack whose update was cancelled; its own loop looks for that in updates only."""
    if is_cancelled(stack_name):
        refuse(stack_name, logical_id)


def until_cancelled(stack_name: str, call: Callable[[], Any]) -> Any:
    """What `call` returns. Raises RuntimeError once the update is cancelled; the call goes on in the background."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except Exception as error:
            outcome.append((None, error))

    # The account and the region of the request are context variables.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_AGAIN_SECONDS)
        if thread.is_alive() and leaves(stack_name):
            raise RuntimeError(CANCELLED)
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


_ministack_cancel = handlers._ACTION_HANDLERS["CancelUpdateStack"]

"""The shared state of one create or update of a root stack, nested stacks included."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ministack.services import cloudformation

# CloudFormation's words for a resource that it did not begin, or left.
CANCELLED = "Resource creation cancelled"


@dataclass(frozen=True)
class Deletion:
    stack_name: str
    logical_id: str
    resource_type: str
    physical_id: str
    properties: dict[str, Any]
    # A rollback of the root drops the deletions of the way forward and keeps those of the way back.
    rolling_back: bool


@dataclass(frozen=True)
class Unsettled:
    """A resource that was started and has not been waited for."""

    finish: Callable[[], None]
    """Waits for the end of its change, and raises if that failed."""
    created: bool


@dataclass
class Operation:
    """Keys are (stack name, logical id) unless a comment says otherwise."""

    root_name: str
    deletions: list[Deletion] = field(default_factory=list)
    # What the nested stacks updated in this operation were before it, by stack name.
    nested_before: dict[str, dict[str, Any]] = field(default_factory=dict)
    # By stack name and logical id: what a resource names in DependsOn.
    depends_on: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    unsettled: dict[tuple[str, str], Unsettled] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    # Refused before their handler ran, so there is nothing to roll back.
    not_begun: set[tuple[str, str]] = field(default_factory=set)
    # Left as it was, since the update was cancelled meanwhile.
    left: set[tuple[str, str]] = field(default_factory=set)


operation: ContextVar[Operation | None] = ContextVar("operation", default=None)


def explicit_dependencies(template: dict[str, Any]) -> dict[str, frozenset[str]]:
    """What each resource names in DependsOn."""
    dependencies = {}
    for logical_id, resource in template.get("Resources", {}).items():
        needs = resource.get("DependsOn", [])
        dependencies[logical_id] = frozenset([needs] if isinstance(needs, str) else needs)
    return dependencies


def refuse(stack_name: str, logical_id: str, reason: str = "") -> NoReturn:
    """Raise RuntimeError for a resource that does not begin."""
    if (current := operation.get()) is not None:
        current.not_begun.add((stack_name, logical_id))
    raise RuntimeError(f"{CANCELLED}: {reason}" if reason else CANCELLED)


def is_cancelled(stack_name: str) -> bool:
    """Whether CancelUpdateStack came for this stack, or its root, while it goes forward."""
    stack = cloudformation._stacks.get(stack_name)
    if stack is None or stack["StackStatus"] not in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
        return False
    return bool(stack.get("_cancel_requested"))

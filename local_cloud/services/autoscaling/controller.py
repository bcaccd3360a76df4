"""Acts on scalable targets: bounds that moved, scheduled actions, target tracking and step scaling.

It runs after every evaluation of the alarms. An endpoint that is not in service is left alone: SageMaker
refuses a change of capacity while another one runs.
"""

import threading
from collections import defaultdict
from typing import Any

from local_cloud.core.clock import clock
from local_cloud.services.autoscaling import activities, decisions, schedules
from local_cloud.services.autoscaling.arithmetic import combined
from local_cloud.services.autoscaling.decisions import Alarm, Policy, PolicyKey
from local_cloud.services.autoscaling.requests import RESOURCE_ID
from local_cloud.services.sagemaker import endpoint_states
from local_cloud.services.scalable_targets import Key, last_scalings, policies, scheduled_actions, targets, unmet_bounds

_acting = threading.RLock()


def act() -> None:
    """Bring every scalable target of the current account and region up to now."""
    if not targets:
        return
    with _acting:
        activities.settle()
        for action_key in schedules.due(clock.now()):
            _move_bounds(action_key)
        triggered = decisions.triggered_alarms()
        policies_by_target: defaultdict[Key, list[tuple[PolicyKey, Policy]]] = defaultdict(list)
        for policy_key, policy in policies.items():
            policies_by_target[policy_key[:3]].append((policy_key, policy))
        for key in targets:
            capacity = _capacity(key)
            if capacity is not None and not bring_within_bounds(key):
                _scale(key, capacity, policies_by_target[key], triggered)


def bring_within_bounds(key: Key) -> bool:
    """After its bounds moved, ask for the nearest capacity within them. Returns whether that was necessary."""
    with _acting:
        if key not in unmet_bounds:
            return False
        target, capacity = targets[key], _capacity(key, in_service_only=False)
        if capacity is None or target["MinCapacity"] <= capacity <= target["MaxCapacity"]:
            del unmet_bounds[key]
            return False
        name, bound = ("minimum", "MinCapacity") if capacity < target["MinCapacity"] else ("maximum", "MaxCapacity")
        cause = f"{name} capacity was set to {target[bound]}"
        activities.change_capacity(key, int(target[bound]), cause=cause)
        return True


def _move_bounds(action_key: PolicyKey) -> None:
    key, action = action_key[:3], scheduled_actions[action_key]
    target = targets[key]
    if _suspended(target, "ScheduledScalingSuspended"):
        return
    moved = {name: int(value) for name, value in action["ScalableTargetAction"].items()}
    minimum, maximum = ({**target, **moved}[name] for name in ("MinCapacity", "MaxCapacity"))
    cause = f"scheduled action name {action['ScheduledActionName']} was triggered"
    if activities.changed_bounds(key, minimum, maximum, cause=cause)["StatusCode"] == "Successful":
        targets[key] = {**target, **moved}
        unmet_bounds[key] = True


def _scale(
    key: Key, capacity: int, its_policies: list[tuple[PolicyKey, Policy]], triggered: dict[str, list[Alarm]]
) -> None:
    target = targets[key]
    asked = [decisions.decision_of(policy_key, policy, capacity, triggered) for policy_key, policy in its_policies]
    present = [decision for decision in asked if decision is not None]
    chosen = combined(capacity, int(target["MinCapacity"]), int(target["MaxCapacity"]), present)
    if chosen is None:
        return
    instances, decision = chosen
    direction = "out" if instances > capacity else "in"
    if _suspended(target, f"DynamicScaling{direction.title()}Suspended"):
        return
    activity = activities.change_capacity(key, instances, cause=decision.cause)
    if activity["StatusCode"] == "InProgress":
        last_scalings[(*key, decision.policy_name, direction)] = (capacity, activity)


def _suspended(target: dict[str, Any], what: str) -> bool:
    return bool(target.get("SuspendedState", {}).get(what))


def _capacity(key: Key, *, in_service_only: bool = True) -> int | None:
    """The target's instances now; None if its endpoint is gone or, if so asked, not in service."""
    match = RESOURCE_ID.fullmatch(key[1])
    assert match is not None  # noqa: S101 - only registered resource ids get here
    endpoint = endpoint_states.endpoints.get(match["endpoint"])
    if endpoint is None or (in_service_only and endpoint.status != "InService"):
        return None
    return next((variant.instance_count for variant in endpoint.variants if variant.name == match["variant"]), None)

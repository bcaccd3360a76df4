"""What each scaling policy asks for, by the state and the data of the alarms that drive it."""

from collections import defaultdict
from typing import Any

from ministack.services import cloudwatch

from local_cloud.core.clock import clock
from local_cloud.services.autoscaling.arithmetic import Decision, stepped, tracked
from local_cloud.services.cloudwatch import alarm_evaluation
from local_cloud.services.scalable_targets import last_scalings

# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html
DEFAULT_COOLDOWN_SECONDS = 300.0

_ACTIONS_BY_STATE = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}

PolicyKey = tuple[str, str, str, str]
Policy = dict[str, Any]
Alarm = dict[str, Any]


def triggered_alarms() -> dict[str, list[Alarm]]:
    """The alarms by the policy ARN among the actions of the state they are in. Those actions repeat while it lasts."""
    triggered: defaultdict[str, list[Alarm]] = defaultdict(list)
    for alarm in cloudwatch._alarms.values():
        if alarm.get("ActionsEnabled", True):
            for action in alarm.get(_ACTIONS_BY_STATE[alarm["StateValue"]]) or ():
                triggered[action].append(alarm)
    return triggered


def decision_of(key: PolicyKey, policy: Policy, capacity: int, triggered: dict[str, list[Alarm]]) -> Decision | None:
    """What a policy asks for; None if it decides nothing, as a step policy without an alarm."""
    if policy["PolicyType"] == "TargetTrackingScaling":
        return _tracking_decision(key, policy["TargetTrackingScalingPolicyConfiguration"], policy["Alarms"], capacity)
    decisions = [_step_decision(key, policy, alarm, capacity) for alarm in triggered.get(policy["PolicyARN"], [])]
    present = [decision for decision in decisions if decision is not None]
    return max(present, key=lambda decision: decision.instances or 0, default=None)


def _tracking_decision(
    key: PolicyKey, configuration: dict[str, Any], alarms: list[dict[str, str]], capacity: int
) -> Decision | None:
    """Out on AlarmHigh, in on AlarmLow; with scale-in enabled and neither, the policy holds the capacity."""
    name, target_value = key[3], float(configuration["TargetValue"])
    alarm_by_kind = {
        kind: alarm for alarm in alarms for kind in ("AlarmHigh", "AlarmLow") if f"-{kind}-" in alarm["AlarmName"]
    }
    red = {kind: cloudwatch._alarms.get(alarm["AlarmName"]) for kind, alarm in alarm_by_kind.items()}
    red = {kind: alarm for kind, alarm in red.items() if alarm is not None and alarm["StateValue"] == "ALARM"}
    if high := red.get("AlarmHigh"):
        cooldown = float(configuration.get("ScaleOutCooldown", DEFAULT_COOLDOWN_SECONDS))
        before = _capacity_before(key, capacity, cooldown)
        value = next((value for value in alarm_evaluation.datapoints(high) if value is not None), None)
        wanted = max(before + 1, tracked(before, value, target_value) if value is not None else 0)
        return _asking(name, high, wanted if wanted > capacity else None)
    if configuration.get("DisableScaleIn"):
        return None
    if low := red.get("AlarmLow"):
        cooldown = float(configuration.get("ScaleInCooldown", DEFAULT_COOLDOWN_SECONDS))
        values = [value for value in alarm_evaluation.datapoints(low) if value is not None]
        wanted = tracked(capacity, max(values), target_value) if values else capacity
        return _asking(name, low, wanted if wanted < capacity and not _cooling(key, "in", cooldown) else None)
    return Decision(name, None)


def _step_decision(key: PolicyKey, policy: Policy, alarm: Alarm, capacity: int) -> Decision | None:
    configuration = policy["StepScalingPolicyConfiguration"]
    cooldown = float(configuration.get("Cooldown", DEFAULT_COOLDOWN_SECONDS))
    breach = _breach(alarm, configuration.get("MetricAggregationType") or "Average")
    wanted = stepped(capacity, configuration, breach)
    if wanted is None:
        return None
    if wanted > capacity:
        before = _capacity_before(key, capacity, cooldown)
        wanted = stepped(before, configuration, breach) or 0
        return _asking(policy["PolicyName"], alarm, wanted if wanted > capacity else None)
    held = wanted == capacity or _cooling(key, "in", cooldown)
    return _asking(policy["PolicyName"], alarm, None if held else wanted)


def _asking(policy_name: str, alarm: Alarm, instances: int | None) -> Decision:
    cause = f"monitor alarm {alarm['AlarmName']} in state {alarm['StateValue']} triggered policy {policy_name}"
    return Decision(policy_name, instances, cause)


def _breach(alarm: Alarm, aggregation: str) -> float:
    """The metric's value less the threshold; 0 if the state was forced without data."""
    values = [value for value in alarm_evaluation.datapoints(alarm) if value is not None]
    if not values:
        return 0.0
    aggregated = {"Minimum": min(values), "Maximum": max(values), "Average": sum(values) / len(values)}
    return aggregated[aggregation] - float(alarm["Threshold"])


def _cooling(key: PolicyKey, direction: str, cooldown_seconds: float) -> bool:
    """Whether the policy's last change in this direction is not over or was fulfilled less than the cooldown ago."""
    if (*key, direction) not in last_scalings:
        return False
    _, activity = last_scalings[(*key, direction)]
    return bool(clock.now() < activity.get("EndTime", clock.now()) + cooldown_seconds)


def _capacity_before(key: PolicyKey, capacity: int, cooldown_seconds: float) -> int:
    """The capacity that a scale-out starts from: during a cooldown, the one before the last scale-out."""
    if not _cooling(key, "out", cooldown_seconds):
        return capacity
    before, activity = last_scalings[(*key, "out")]
    return int(before) if activity["_instances"] == capacity else capacity

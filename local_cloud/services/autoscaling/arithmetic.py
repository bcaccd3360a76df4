"""How many instances scaling policies ask for, and how several are combined. Numbers only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """What one policy asks for: a number of instances, or None to stay, which blocks scale-in by the others."""

    policy_name: str
    instances: int | None
    cause: str = ""


def combined(capacity: int, minimum: int, maximum: int, decisions: Sequence[Decision]) -> tuple[int, Decision] | None:
    """The new number of instances, within the bounds, and the decision that it follows; None for no change.

    Out if any policy asks for it, by the largest; in only if all policies that decide ask for it, by the smallest step.
    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """
    asked = [(decision.instances, decision) for decision in decisions if decision.instances is not None]
    if not asked:
        return None
    wanted, decision = max(asked, key=lambda pair: pair[0])
    within = max(minimum, min(maximum, wanted))
    if wanted > capacity:
        return (within, decision) if within > capacity else None
    all_ask_for_less = wanted < capacity and len(asked) == len(decisions)
    return (within, decision) if all_ask_for_less and within < capacity else None


def tracked(capacity: int, metric_value: float, target_value: float) -> int:
    """The number of instances at which a metric inversely proportional to it meets its target."""
    return math.ceil(round(capacity * metric_value / target_value, 9))


def stepped(capacity: int, policy: dict[str, Any], breach: float) -> int | None:
    """The instances a StepScalingPolicyConfiguration asks for; None when no step covers the breach.

    `breach` is the metric's value less the alarm's threshold.
    https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
    """
    step = next((step for step in policy["StepAdjustments"] if _covers(step, breach)), None)
    if step is None:
        return None
    adjustment = float(step["ScalingAdjustment"])
    if policy["AdjustmentType"] == "ExactCapacity":
        return int(adjustment)
    if policy["AdjustmentType"] == "ChangeInCapacity":
        return max(0, capacity + int(adjustment))
    return max(
        0, capacity + _instances_of_percent(capacity, adjustment, int(policy.get("MinAdjustmentMagnitude") or 1))
    )


def _covers(step: dict[str, Any], breach: float) -> bool:
    """Above the threshold the lower bound belongs to the step, below it the upper one does."""
    lower = float(step.get("MetricIntervalLowerBound", -math.inf))
    upper = float(step.get("MetricIntervalUpperBound", math.inf))
    return lower <= breach < upper if breach >= 0 else lower < breach <= upper


def _instances_of_percent(capacity: int, percent: float, least: int) -> int:
    """Rounded towards zero, but never to less than the least magnitude."""
    if not percent:
        return 0
    change = max(math.floor(abs(capacity * percent) / 100), least)
    return change if percent > 0 else -change

"""The timetable of a blue/green endpoint update: when traffic moves, how long each step bakes."""

import math
from dataclasses import dataclass
from typing import Any

from local_cloud.core.errors import ServiceError

# How long SageMaker takes to start a fleet. An estimate: AWS gives no figure.
PROVISION_SECONDS = 180.0


@dataclass(frozen=True)
class Step:
    """Until `ends_at`, this share of the traffic goes to the new fleet."""

    ends_at: float
    new_fleet_traffic_percent: int


def timetable(deployment_config: dict[str, Any], started_at: float, instances: int) -> tuple[Step, ...]:
    """The steps of an update; the last one ends when the old fleet is gone."""
    if "RollingUpdatePolicy" in deployment_config:
        return _rolling(deployment_config["RollingUpdatePolicy"], started_at, instances)
    policy = deployment_config.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    wait = float(routing.get("WaitIntervalInSeconds", 0))
    moment = started_at + PROVISION_SECONDS
    steps = [Step(moment, 0)]
    for percent in _baked_shares(routing, instances):
        moment += wait
        steps.append(Step(moment, percent))
    steps.append(Step(moment + float(policy.get("TerminationWaitInSeconds", 0)), 100))
    return tuple(steps)


def check(deployment_config: dict[str, Any]) -> None:
    """Refuse what the API refuses about a deployment configuration."""
    policy = deployment_config.get("BlueGreenUpdatePolicy")
    if policy and "RollingUpdatePolicy" in deployment_config:
        raise _invalid("specify one of BlueGreenUpdatePolicy and RollingUpdatePolicy, not both")
    if not policy:
        return
    routing = policy["TrafficRoutingConfiguration"]
    wait = routing.get("WaitIntervalInSeconds")
    if wait is None:
        raise _invalid("TrafficRoutingConfiguration.WaitIntervalInSeconds is required")
    sizes = {"CANARY": ("CanarySize", 1, 50), "LINEAR": ("LinearStepSize", 10, 50)}
    if routing["Type"] in sizes:
        field, least, most = sizes[routing["Type"]]
        size = routing.get(field)
        if size is None:
            raise _invalid(f"{field} is required for traffic routing type {routing['Type']}")
        if size["Type"] == "CAPACITY_PERCENT" and not least <= size["Value"] <= most:
            raise _invalid(f"{field} must be between {least} and {most} percent, got {size['Value']}")
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    waits = len(_baked_shares(routing, instances=10)) * wait + policy.get("TerminationWaitInSeconds", 0)
    # As AWS does: an update with these waits could never end in time.
    if limit is not None and limit <= waits:
        raise _invalid(f"MaximumExecutionTimeoutInSeconds {limit} must exceed the total wait of {waits} seconds")


def _baked_shares(routing: dict[str, Any], instances: int) -> list[int]:
    """The shares of the traffic that the new fleet bakes at for WaitIntervalInSeconds each.

    The last step of LINEAR takes what is left, and bakes like every other: 30 % are four steps. Only then comes
    TerminationWaitInSeconds. A canary's second step bakes for TerminationWaitInSeconds alone.
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-linear.html
    """
    if routing["Type"] == "CANARY":
        return [_percent(routing["CanarySize"], instances)]
    if routing["Type"] == "LINEAR":
        step = _percent(routing["LinearStepSize"], instances)
        return [min(100, step * number) for number in range(1, math.ceil(100 / step) + 1)]
    return []


def _rolling(policy: dict[str, Any], started_at: float, instances: int) -> tuple[Step, ...]:
    """Batch by batch: start the batch, move its share, bake; the last batch bakes with all traffic moved."""
    batch = _percent(policy["MaximumBatchSize"], instances)
    moment, steps = started_at, []
    for share in range(0, 100, batch):
        moment += PROVISION_SECONDS
        steps.append(Step(moment, share))
        moment += float(policy["WaitIntervalInSeconds"])
        steps.append(Step(moment, min(100, share + batch)))
    return tuple(steps)


def _percent(size: dict[str, Any], instances: int) -> int:
    if size["Type"] == "CAPACITY_PERCENT":
        return int(size["Value"])
    share: int = math.ceil(100 * size["Value"] / max(instances, 1))
    return max(1, min(100, share))


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", f"Invalid deployment configuration: {message}.")

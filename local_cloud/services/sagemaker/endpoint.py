"""An endpoint as a record: its variants, and the change that is under way."""

from dataclasses import dataclass, field, replace
from typing import Any

from local_cloud.core.clock import clock
from local_cloud.services.sagemaker.names import arn
from local_cloud.services.sagemaker.traffic_shift import Step


@dataclass
class Variant:
    name: str
    instance_type: str | None
    instance_count: int
    weight: float
    serverless: dict[str, int] | None = None
    """ServerlessConfig of a variant without instances."""

    def described(self) -> dict[str, Any]:
        if self.serverless is not None:
            return {
                "VariantName": self.name,
                "CurrentWeight": self.weight,
                "DesiredWeight": self.weight,
                "CurrentServerlessConfig": self.serverless,
                "DesiredServerlessConfig": self.serverless,
            }
        return {
            "VariantName": self.name,
            "CurrentInstanceCount": self.instance_count,
            "DesiredInstanceCount": self.instance_count,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }


@dataclass
class Change:
    """A fleet on its way in: on creation, on an update, on a change of capacity."""

    config_name: str
    variants: list[Variant]
    steps: tuple[Step, ...]
    started_at: float
    generation: int  # the endpoint's own for a change of capacity, a new one for a new fleet
    rollback_alarms: tuple[str, ...] = ()
    healthy: bool = False  # every instance has been; until then no traffic is shifted, whatever the timetable says
    late: bool = False  # the instances took longer than the timetable


@dataclass
class Endpoint:
    name: str
    config_name: str
    creation_time: float
    last_modified_time: float
    status: str
    variants: list[Variant]
    generation: int = 1  # of the fleet that serves
    change: Change | None = None
    settles_at: float = 0.0  # the end of RollingBack or Deleting
    failure_reason: str | None = None
    deployment_config: dict[str, Any] = field(default_factory=dict)

    def next_moment(self) -> float:
        """When the state changes next, if no alarm interferes."""
        if self.change is None:
            return self.settles_at
        if self.waits_for_instances():
            return clock.now()
        return next((s.ends_at for s in self.change.steps if s.ends_at > clock.now()), clock.now())

    def bring_forward(self) -> None:
        """Bring the next moment of the timetable forward to now, and what follows with it."""
        if (ahead := self.next_moment() - clock.now()) <= 0:
            return
        if self.change is None:
            self.settles_at -= ahead
        else:
            steps = self.change.steps
            self.change.steps = tuple(replace(step, ends_at=step.ends_at - ahead) for step in steps)

    def waits_for_instances(self) -> bool:
        """Whether the timetable has come to the point where real processes should run, and they do not yet."""
        return self.change is not None and self.change.late and not self.change.healthy

    def new_fleet_traffic_percent(self) -> int:
        """How much of the traffic the incoming fleet already takes."""
        if self.change is None or not self.change.healthy:
            return 0
        return next((s.new_fleet_traffic_percent for s in self.change.steps if s.ends_at > clock.now()), 100)


def described(endpoint: Endpoint) -> dict[str, Any]:
    described = {
        "EndpointName": endpoint.name,
        "EndpointArn": arn_of(endpoint),
        "EndpointConfigName": endpoint.config_name,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.creation_time,
        "LastModifiedTime": endpoint.last_modified_time,
        "ProductionVariants": [variant.described() for variant in endpoint.variants],
    }
    if endpoint.failure_reason:
        described["FailureReason"] = endpoint.failure_reason
    if endpoint.deployment_config:
        described["LastDeploymentConfig"] = endpoint.deployment_config
    if endpoint.change is not None and endpoint.status == "Updating":
        described["PendingDeploymentSummary"] = {
            "EndpointConfigName": endpoint.change.config_name,
            "ProductionVariants": [variant.described() for variant in endpoint.change.variants],
            "StartTime": endpoint.change.started_at,
        }
    return described


def arn_of(endpoint: Endpoint) -> str:
    return arn("endpoint", endpoint.name)

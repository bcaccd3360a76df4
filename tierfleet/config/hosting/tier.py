"""What every tier has, whatever its hosting, and what tiers with instances have.

A hosting shape is a subclass of HostedTier; of InstanceTier where its endpoints have instances, and of Tier where these
scale with calls. What the rest of tierfleet must know of a tier is asked here, so that a new shape answers in its own
module:

>>> from pathlib import Path
>>> from tierfleet.config import load
>>> tier = load(Path("config/fraud-prod.toml")).tiers["whale"]
>>> tier.endpoint_per_tenant, tier.endpoint_count, tier.endpoint_instance_type
(True, 5, 'ml.m5.large')
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from tierfleet.config.container import Container, Probe
from tierfleet.config.guardrail_time import BAKE_SECONDS
from tierfleet.config.hosting.digest import content_of
from tierfleet.config.hosting.scaling import Instances, Scaling
from tierfleet.config.problems import Problem
from tierfleet.config.section import (
    SMALLEST_LIMIT,
    Count,
    ErrorLimits,
    InstanceTypeName,
    Seconds,
    Section,
)
from tierfleet.runtime.hosting import SHAPES, HostingShape


@dataclass(frozen=True, kw_only=True)
class RestOfFile:
    """What a tier's own rules may ask of the rest of the file. None: that key has an error of its own already."""

    fleet: str | None
    environment: str | None
    account: str | None
    region: str | None
    image: str | None
    """container.image."""
    network_isolation: bool | None
    has_network: bool
    """Whether the file has [network]."""
    probe: Probe | None = None
    """[probe]."""


class HostedTier(Section):
    """What every tier answers, whatever its hosting."""

    if TYPE_CHECKING:
        # Fields of every shape. Here they would come first in the reference and the JSON Schema of each.
        hosting: str
        tenants: Mapping[str, Any] | tuple[str, ...]

    ROUTE_KEYS: ClassVar[Mapping[str, Any]] = {}
    """The keys of a tenant's route beyond those of every shape, as the validator of the routes has them."""

    @property
    def shape(self) -> HostingShape:
        """What callers must know of the hosting."""
        return SHAPES[self.hosting]

    @property
    def endpoint_per_tenant(self) -> bool:
        """Whether each tenant has an endpoint; otherwise one endpoint serves all tenants of the tier."""
        return not self.shape.shared

    @property
    def endpoint_count(self) -> int:
        """Endpoints of the tier."""
        return len(self.tenants) if self.endpoint_per_tenant else 1

    @property
    def stack_tenants(self) -> tuple[str, ...]:
        """The tenants whose endpoint has a nested stack."""
        return tuple(sorted(self.tenants)) if self.endpoint_per_tenant else ()

    @property
    def endpoint_instance_type(self) -> str | None:
        """The instance type in the endpoint's name; None for endpoints without instances."""
        return None

    @property
    def compares_moves(self) -> bool:
        """Whether a fleet with this tier has the gate that compares the old and the new endpoint of a tenant."""
        return self.shape.request_response

    @property
    def capacity(self) -> str:
        """The size of one endpoint, for `config show`."""
        raise NotImplementedError

    def pinned_models(self, tenant: str) -> Mapping[str, str]:
        """The artefacts that a tenant's line pins, by key; `{"model": "m01/2027-09-14.tar.gz"}`.

        The first one is the version that the routes name. Empty where the tenants share an endpoint.
        """
        return {"model": self.tenants[tenant].model} if isinstance(self.tenants, Mapping) else {}

    def route_details(self, _tenant: str, /) -> Mapping[str, Any]:
        """What callers must know of one tenant's endpoint besides its name and version, as JSON-ready data: values of
        ROUTE_KEYS."""
        return {}

    def made_of(self, own: Container, /) -> Mapping[str, Any]:
        """What runs on the instances of an endpoint that tenants share, as JSON-ready data: a change of it makes other
        instances. The argument is the fleet's own container."""
        return {
            "image": own.image,
            "image_version": own.version,
            "image_content": content_of(own),
            "environment": dict(own.environment) or None,
        }

    def containers(self, own: Container, _tenant: str | None = None, /) -> tuple[Container, ...]:
        """What the instances of one endpoint run, in order.

        The arguments are the fleet's own container and the tenant; None for an endpoint of all tenants.
        """
        return (own,)

    def models_of_containers(self, _tenant: str, /) -> Mapping[str, Container]:
        """The container by artefact, the tenant's main one first, where each container has an artefact of its own."""
        return {}

    def probe_or(self, fleets: Probe, /) -> Probe:
        """One valid request of the tier. The argument is the fleet's `[probe]`."""
        return fleets

    def model_container(self, own: Container, /) -> Container:
        """What serves the tenants' models. The argument is the fleet's own container."""
        return own

    def model_probe(self, fleets: Probe, /) -> Probe | None:
        """A row that the tenants' models read; None where the requests of the tier are not their rows."""
        return fleets

    @property
    def shared_models(self) -> Mapping[str, Container]:
        """The container by artefact below `models/` that every endpoint of the tier loads, whoever the tenant is."""
        return {}

    @property
    def pulled_by_policy(self) -> tuple[Container, ...]:
        """The containers whose image SageMaker pulls only if the policy of its ECR repository says so."""
        return ()

    def stack_resources(self, tenant: str, /) -> int:
        """Resources in the nested stack of one tenant's endpoint."""
        raise NotImplementedError

    @staticmethod
    def explained(problem: Problem) -> Problem:
        """A problem with a key of the tier's table, with an explanation where this shape has one; else as it is."""
        return problem

    def check(self, _where: str, _rest: RestOfFile, /) -> Iterator[Problem]:
        """Problems of this shape alone. The first argument is the tier's table, such as `tiers.rare`."""
        yield from ()


class EndpointAlarmLimits(ErrorLimits):
    """Limits of every endpoint with instances."""

    max_disk_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 85
    """DiskUtilization."""


class Guardrail(Section):
    """How SageMaker moves traffic to an updated endpoint's new instances (blue/green), and back on an alarm."""

    type: Literal["ALL_AT_ONCE", "CANARY", "LINEAR"] | None = None
    """Left out: CANARY where there are always two instances or more, else ALL_AT_ONCE.
    -> AWS::SageMaker::Endpoint DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type"""
    canary_instances: Count = 1
    """Instances that take the first traffic (CANARY); at most half of instances.min.
    -> TrafficRoutingConfiguration.CanarySize"""
    linear_step_percent: Annotated[int, Field(ge=10, le=50)] = 25
    """Share of the instances a step moves (LINEAR). -> TrafficRoutingConfiguration.LinearStepSize"""
    wait_interval_in_seconds: Seconds = BAKE_SECONDS
    """How long the alarms are watched after each step; the rollback alarms need the default to go off.
    -> TrafficRoutingConfiguration.WaitIntervalInSeconds"""
    termination_wait_in_seconds: Seconds = BAKE_SECONDS
    """How long the old instances stay after all traffic has moved. -> BlueGreenUpdatePolicy.TerminationWaitInSeconds"""
    maximum_execution_timeout_in_seconds: Annotated[int, Field(ge=600, le=28_800)] = 3600
    """When an update counts as failed; above the sum of the waits.
    -> BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds"""

    def shift(self, fewest_instances: int) -> Literal["ALL_AT_ONCE", "CANARY", "LINEAR"]:
        """How traffic moves on an endpoint that may have so few instances."""
        return self.type or ("CANARY" if fewest_instances >= 2 else "ALL_AT_ONCE")


class InstanceTier(HostedTier):
    """What every tier with instances has, however it scales."""

    if TYPE_CHECKING:

        @property
        def guardrail(self) -> Guardrail | None:
            """How an update gets its traffic; a field of the shapes that let the fleet file choose."""

    instance_type: InstanceTypeName
    """A SageMaker CPU instance type. Another type is another endpoint. -> AWS::SageMaker::EndpointConfig
    InstanceType"""
    instances: Instances
    """Bounds and first size."""
    volume_size_in_gb: Annotated[int, Field(ge=1, le=512)] | None = None
    """Disk of each instance; refused for types with local NVMe disks.
    -> AWS::SageMaker::EndpointConfig VolumeSizeInGB"""
    model_data_download_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ModelDataDownloadTimeoutInSeconds; SageMaker's default if left out."""
    container_startup_health_check_timeout_in_seconds: Annotated[int, Field(ge=60, le=3600)] | None = None
    """-> AWS::SageMaker::EndpointConfig ContainerStartupHealthCheckTimeoutInSeconds; SageMaker's default if left
    out."""

    @property
    def fewest_instances(self) -> int:
        """The least lower bound the endpoint ever has."""
        return self.instances.min

    @property
    def most_instances(self) -> int:
        """The greatest upper bound the endpoint ever has."""
        return self.instances.max

    @property
    def endpoint_instance_type(self) -> str | None:
        """The instance type in the endpoint's name."""
        return self.instance_type


class Tier(InstanceTier):
    """What every tier has whose endpoints have instances and answer calls."""

    if TYPE_CHECKING:
        alarms: EndpointAlarmLimits

    scaling: Scaling
    """Every endpoint scales."""

    @property
    def fewest_instances(self) -> int:
        """The least lower bound the endpoint ever has, its schedules included."""
        return min([self.instances.min, *(scheduled.min for scheduled in self.scaling.schedules.values())])

    @property
    def most_instances(self) -> int:
        """The greatest upper bound the endpoint ever has, its schedules included."""
        return max([self.instances.max, *(scheduled.max for scheduled in self.scaling.schedules.values())])

    @property
    def capacity(self) -> str:
        """The size of one endpoint, for `config show`."""
        bounds = f"{self.instances.min} to {self.instances.max} x {self.instance_type}"
        return f"{bounds}, scaling at {self.scaling.target_invocations_per_minute:g} calls a minute and instance"

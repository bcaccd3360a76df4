"""What the control plane wants to run, as it is sent over the link."""

from dataclasses import dataclass, replace
from typing import Any

Scope = tuple[str, str]
"""Account and region."""


@dataclass(frozen=True)
class ServerlessSpec:
    """A variant without instances."""

    memory_mib: int
    """Memory of one container."""
    max_concurrency: int
    """Calls under way at once; each has a container of its own."""
    provisioned_concurrency: int
    """Containers that are always kept."""


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a variant whose instances run several."""

    hostname: str
    """SageMaker's ContainerHostname, or `container-<n>` by position where a pipeline names none."""
    image: str
    """Its URI: `DataPlaneSettings.image_commands` may have a server for it."""
    multi_model: bool
    model_data_url: str | None
    environment: dict[str, str]
    cache_disabled: bool = False


@dataclass(frozen=True)
class QueueSpec:
    """The queue of an asynchronous endpoint."""

    output_path: str | None
    """s3:// of results."""
    failure_path: str | None
    """s3:// of failures."""
    success_topic: str | None
    error_topic: str | None
    max_concurrency: int | None
    """Requests that one instance works on at once; None leaves it to the service."""


@dataclass(frozen=True)
class VariantSpec:
    """One production variant of a fleet: `count` instances of one container or of several, or containers as calls need
    them."""

    name: str
    count: int
    weight: float
    instance_type: str | None
    """None for a serverless variant."""
    volume_gib: int | None
    multi_model: bool
    model_data_url: str | None
    environment: dict[str, str]
    cache_disabled: bool = False
    serverless: ServerlessSpec | None = None
    queue: QueueSpec | None = None
    """Of an asynchronous endpoint."""
    credentials: tuple[str, str, str] | None = None
    """Access key, secret key and session token to fetch artefacts with; None: the account's own."""
    image: str | None = None
    hostname: str | None = None
    """Of one container's own spec (`of_containers`): its name on an instance that runs several."""
    execution_mode: str | None = None
    """InferenceExecutionConfig.Mode of several containers: `Direct` or `Serial`."""
    containers: tuple[ContainerSpec, ...] = ()
    """Every container of an instance, where it runs several; `multi_model` then says whether any holds many models."""

    def of_containers(self) -> "list[VariantSpec]":
        """What each container of one instance runs, in order: the variant itself where there is one."""
        if not self.containers:
            return [self]
        return [replace(self, containers=(), **vars(container)) for container in self.containers]


@dataclass(frozen=True)
class FleetSpec:
    """The instances of one endpoint configuration; a generation is one deployment of one."""

    generation: int
    config_name: str
    traffic_percent: int
    variants: tuple[VariantSpec, ...]


@dataclass(frozen=True)
class EndpointSpec:
    """One endpoint as it should be now; without fleets it is gone."""

    scope: Scope
    name: str
    accepts: bool
    fleets: tuple[FleetSpec, ...]


def read_endpoint(message: dict[str, Any]) -> EndpointSpec:
    """The inverse of `dataclasses.asdict` after JSON."""
    # JSON has no tuples, and specs are compared with the running ones.
    fleets = tuple(
        FleetSpec(**{**fleet, "variants": tuple(_read_variant(variant) for variant in fleet["variants"])})
        for fleet in message["fleets"]
    )
    account, region = message["scope"]
    return EndpointSpec((account, region), message["name"], message["accepts"], fleets)


def _read_variant(message: dict[str, Any]) -> VariantSpec:
    credentials, without_instances = message["credentials"], message["serverless"]
    return VariantSpec(
        **{
            **message,
            "credentials": tuple(credentials) if credentials else None,
            "serverless": ServerlessSpec(**without_instances) if without_instances else None,
            "containers": tuple(ContainerSpec(**container) for container in message["containers"]),
            "queue": QueueSpec(**message["queue"]) if message["queue"] else None,
        }
    )

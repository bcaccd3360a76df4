"""hosting = "multi-container": its table of the fleet file and its own rules.

A tenant with models of several frameworks has one endpoint with a container for each. A call names the container that
answers it, and all of them are always in memory.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from tierfleet.aws_limits import LONGEST_CALL_SECONDS
from tierfleet.config.container import Container, Probe
from tierfleet.config.hosting.container_rules import (
    check_content_type,
    check_one_of_several,
    check_probe_against_image,
)
from tierfleet.config.hosting.dedicated import DedicatedAlarmLimits
from tierfleet.config.hosting.scaling import Scaling
from tierfleet.config.hosting.tier import Guardrail, RestOfFile, Tier
from tierfleet.config.problems import Problem
from tierfleet.config.section import SMALLEST_LIMIT, ModelKey, Section, TenantId
from tierfleet.runtime.hosting.multi_container import HOSTNAME_PATTERN, MAX_HOSTNAME_CHARACTERS, PRIMARY, is_hostname
from tierfleet.runtime.names import version_of

FEWEST_CONTAINERS: Final = 2
MOST_CONTAINERS: Final = 15
# Of the nested stack of one tenant, without the alarms of its containers. A test compares it with the template.
STACK_RESOURCES: Final = 13
ALARMS_OF_A_CONTAINER: Final = 2

_ROUTE_KEYS: Final[Mapping[str, Any]] = {
    "primary": {"type": "string", "minLength": 1, "maxLength": MAX_HOSTNAME_CHARACTERS},
    "containers": {
        "type": "object",
        "minProperties": FEWEST_CONTAINERS,
        "additionalProperties": {
            "type": "object",
            "required": ["content_type"],
            "additionalProperties": False,
            "properties": {
                "content_type": {"type": "string", "minLength": 1},
                "model_version": {"type": "string", "minLength": 1},
            },
        },
    },
}

# The rules check the pattern and the count, with all other problems of the file; editors need them in the schema.
Hostname = Annotated[
    str, Field(json_schema_extra={"pattern": f"^{HOSTNAME_PATTERN}$", "maxLength": MAX_HOSTNAME_CHARACTERS})
]


class TenantContainer(Container):
    """One container of a tenant's endpoint. It listens on the port in SAGEMAKER_BIND_TO_PORT, and its image has the
    label com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true, as AWS's images and `tierfleet` have."""

    hostname: Hostname
    """What calls name it by; no other container of the tenant has it.
    -> AWS::SageMaker::Model Containers.ContainerHostname"""
    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket.
    -> AWS::SageMaker::Model Containers.ModelDataUrl"""
    content_type: str = "text/csv"
    """What clients send to it unless a call says otherwise."""
    max_average_latency_milliseconds: (
        Annotated[float, Field(ge=SMALLEST_LIMIT, le=1000 * LONGEST_CALL_SECONDS)] | None
    ) = None
    """ContainerLatency of this container to hold, on average. Left out: max_model_latency_p99_milliseconds of the
    tier."""


class MultiContainerTenant(Section):
    """A tenant with several models, a container for each."""

    primary: Hostname
    """The hostname of the container with the tenant's main model: it gets the fleet's `[probe]`, and calls that name
    `primary`."""
    containers: Annotated[
        tuple[TenantContainer, ...],
        Field(json_schema_extra={"minItems": FEWEST_CONTAINERS, "maxItems": MOST_CONTAINERS}),
    ]
    """2 to 15 containers, one table each: `[[tiers.<tier>.tenants.<tenant>.containers]]`. Their order means nothing.
    -> AWS::SageMaker::Model Containers"""

    @property
    def primary_container(self) -> TenantContainer | None:
        """The primary container; None if no container has that name, which is an error of the file."""
        return next((container for container in self.containers if container.hostname == self.primary), None)

    @property
    def by_hostname(self) -> tuple[TenantContainer, ...]:
        """The containers by hostname, since their order in the file means nothing."""
        return tuple(sorted(self.containers, key=lambda container: container.hostname))

    @property
    def primary_first(self) -> tuple[TenantContainer, ...]:
        """The containers by hostname, behind the primary one."""
        return tuple(sorted(self.by_hostname, key=lambda container: container.hostname != self.primary))


class MultiContainerAlarmLimits(DedicatedAlarmLimits):
    """Limits of a multi-container endpoint. Calls of all containers count together, except where a limit says so."""

    max_container_cpu_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, le=100)] = 80
    """CPUUtilization of one container, as a share of all vCPUs of its instance."""


class MultiContainerTier(Tier):
    """One endpoint per tenant with 2 to 15 containers, each with a model that is always in memory."""

    ROUTE_KEYS: ClassVar[Mapping[str, Any]] = _ROUTE_KEYS

    hosting: Literal["multi-container"]
    """`multi-container`: an endpoint with several containers for each tenant of the tier."""
    scaling: Scaling
    """On the calls of all containers together: max_requests_per_second is what one instance serves if every call is for
    the slowest container."""
    tenants: Mapping[TenantId, MultiContainerTenant] = {}
    """The tenants, one table each: `[tiers.<tier>.tenants.<tenant>]`."""
    alarms: MultiContainerAlarmLimits
    """When to call for a person, and when to take a new version back."""
    guardrail: Guardrail = Guardrail()
    """How a new version of any container gets its traffic."""

    @property
    def capacity(self) -> str:
        """The instances, for `config show`."""
        return f"{super().capacity}, as the slowest container serves them"

    def containers(self, _own: Container, tenant: str | None = None, /) -> tuple[TenantContainer, ...]:
        """The tenant's containers by hostname."""
        return self.tenants[tenant].by_hostname if tenant is not None else ()

    def pinned_models(self, tenant: str) -> Mapping[str, str]:
        """The artefacts of the tenant's containers, by `containers.<hostname>.model`; the primary one's first."""
        models: dict[str, str] = {}
        for container in self.tenants[tenant].primary_first:
            key = f"containers.{container.hostname}.model"
            # Two of one name are an error of the file, which must not hide what is wrong with the second one's model.
            models[key if key not in models else f"containers.{container.hostname}.{len(models)}.model"] = (
                container.model
            )
        return models

    def models_of_containers(self, tenant: str, /) -> Mapping[str, Container]:
        """The containers by their artefacts; the primary one first."""
        return {container.model: container for container in self.tenants[tenant].primary_first}

    def route_details(self, tenant: str, /) -> Mapping[str, Any]:
        """The primary container, and type and version of each container."""
        return {
            "primary": self.tenants[tenant].primary,
            "containers": {
                container.hostname: {
                    "content_type": container.content_type,
                    "model_version": version_of(container.model),
                }
                for container in self.tenants[tenant].by_hostname
            },
        }

    def stack_resources(self, tenant: str, /) -> int:
        """A container has two alarms."""
        return STACK_RESOURCES + ALARMS_OF_A_CONTAINER * len(self.tenants[tenant].containers)

    def check(self, where: str, rest: RestOfFile, /) -> Iterator[Problem]:
        """Each tenant has 2 to 15 containers that can run together, and one of them is primary."""
        for tenant, own in sorted(self.tenants.items()):
            place = f"{where}.tenants.{tenant}"
            yield from _count(place, own)
            yield from _hostnames(place, own)
            yield from _primary(place, own, rest.probe)
            for container in own.containers:
                table = f"{place}.containers.{container.hostname}"
                yield from check_one_of_several(table, container, where.removeprefix("tiers."), self, rest)
                yield from check_content_type(table, container.content_type, container)


def _count(place: str, own: MultiContainerTenant) -> Iterator[Problem]:
    count = len(own.containers)
    if not FEWEST_CONTAINERS <= count <= MOST_CONTAINERS:
        message = f"{count} containers, a multi-container endpoint has {FEWEST_CONTAINERS} to {MOST_CONTAINERS}"
        fix = 'host one model with hosting = "dedicated"' if count < FEWEST_CONTAINERS else "remove some"
        yield Problem(place, "containers", None, message, fix)


def _hostnames(place: str, own: MultiContainerTenant) -> Iterator[Problem]:
    for hostname, count in sorted(Counter(container.hostname for container in own.containers).items()):
        if not is_hostname(hostname):
            message = f"SageMaker takes {HOSTNAME_PATTERN} with at most {MAX_HOSTNAME_CHARACTERS} characters"
            fix = "use letters, digits and hyphens between them"
            yield Problem(f"{place}.containers", "hostname", hostname, message, fix)
        if count > 1:
            message = f"{count} containers have this hostname, and a call names one container"
            yield Problem(f"{place}.containers", "hostname", hostname, message, "give each a hostname of its own")
    # DNS has no case (RFC 4343), and AWS does not say which of two such containers would get a call.
    spellings: dict[str, set[str]] = {}
    for container in own.containers:
        spellings.setdefault(container.hostname.lower(), set()).add(container.hostname)
    for alike in (sorted(names) for names in spellings.values() if len(names) > 1):
        message = f"{' and '.join(alike)} differ only in case, and hostnames have none"
        yield Problem(f"{place}.containers", "hostname", alike[0], message, "give each a hostname of its own")


def _primary(place: str, own: MultiContainerTenant, probe: Probe | None) -> Iterator[Problem]:
    hostnames = sorted({container.hostname for container in own.containers})
    primary = own.primary_container
    if primary is None:
        message = f"no container has this hostname; there are {', '.join(hostnames) or 'none'}"
        yield Problem(place, "primary", own.primary, message, "name one of them")
    elif PRIMARY in hostnames and own.primary != PRIMARY:
        message = f"a container is called {PRIMARY}, and so do calls name the primary container, {own.primary}"
        yield Problem(place, "primary", own.primary, message, "rename that container, or make it the primary one")
    if primary is not None and probe is not None:
        for problem in check_probe_against_image(probe, primary):
            message = f"{problem.message}; it is the primary container {own.primary} that gets the probe"
            yield replace(problem, message=message)

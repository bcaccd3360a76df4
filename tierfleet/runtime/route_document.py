"""The routes of a fleet: which endpoint serves a tenant, and which tenants to keep warm."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierfleet.runtime.hosting import SHAPES, HostingShape


class RoutesError(Exception):
    """The route document is missing or invalid. The message is one sentence that says why."""


@dataclass(frozen=True)
class TierRoute:
    """The route of a tier."""

    hosting: str
    """A key of SHAPES."""

    endpoint: str | None
    """The multi-model endpoint; None where each tenant has its own endpoint."""

    bucket: str | None = None
    """The bucket of requests and results of an asynchronous tier; None for other tiers."""

    @property
    def shared(self) -> bool:
        """Whether one endpoint serves the tenants of the tier."""
        return SHAPES[self.hosting].shared or self.endpoint is not None


@dataclass(frozen=True)
class ContainerRoute:
    """One container of a tenant's multi-container endpoint."""

    content_type: str
    """What calls send unless they say otherwise."""

    model_version: str | None
    """The version pinned to the container."""


@dataclass(frozen=True)
class TenantRoute:
    """The route of a listed tenant."""

    tier: str

    endpoint: str | None
    """The tenant's dedicated endpoint; None on a multi-model tier."""

    model_version: str | None = None
    """The version pinned to a dedicated endpoint; None on a multi-model tier and in older documents."""

    stages: str | None = None
    """What the stages of a pipeline are made of, as a few characters; None without stages."""

    primary: str | None = None
    """The hostname of the primary container; None unless the endpoint is a multi-container endpoint."""

    containers: Mapping[str, ContainerRoute] = field(default_factory=dict)
    """The containers of a multi-container endpoint by hostname; empty for any other."""


@dataclass(frozen=True)
class Route:
    """Where one tenant's calls go."""

    tier: str
    """Name of the tier."""

    endpoint: str
    """Name of the endpoint."""

    shape: HostingShape
    """How the endpoint is hosted: how long a call may take and how large it may be."""

    shared: bool
    """Whether the endpoint holds many tenants' models, so that each call names its model."""

    model_version: str | None
    """As in TenantRoute."""

    stages: str | None = None
    """As in TenantRoute."""

    primary: str | None = None
    """As in TenantRoute."""

    containers: Mapping[str, ContainerRoute] = field(default_factory=dict)
    """As in TenantRoute."""

    bucket: str | None = None
    """As in TierRoute."""


@dataclass(frozen=True)
class Probe:
    """A valid row in the container's input format. An invalid one would count as a server error."""

    content_type: str
    body: str


@dataclass(frozen=True)
class TierWarmUp:
    """The warm-up of a tier."""

    tenants: tuple[str, ...]
    """Hottest first."""

    concurrency: int
    """Concurrent probes."""

    deadline_seconds: float
    """The longest time of one run."""


@dataclass(frozen=True)
class RouteDocument:
    """The routes of a fleet."""

    fleet: str
    environment: str
    default_tier: str

    models_bucket: str | None
    """None in older documents."""

    ttl_seconds: int | None
    """How long a caller uses the document before it polls again; None in older documents."""

    tiers: Mapping[str, TierRoute]
    tenants: Mapping[str, TenantRoute]
    probe: Probe | None
    warm_ups: Mapping[str, TierWarmUp]

    probes: Mapping[str, Probe] = field(default_factory=dict)
    """Of tiers whose requests are not the fleet's."""

    def probe_of(self, tier: str) -> Probe | None:
        """A valid request of the tier; None where the document has none."""
        return self.probes.get(tier, self.probe)

    def tier_of(self, tenant: str) -> str:
        """The tier that serves a tenant. A tenant that is not listed is on the default tier."""
        route = self.tenants.get(tenant)
        return route.tier if route else self.default_tier

    def route_of(self, tenant: str) -> Route:
        """Where the tenant's calls go. Raises RoutesError if the tenant's tier has no endpoint for it."""
        return self._route(self.tenants.get(tenant) or TenantRoute(self.default_tier, None))

    def default_route(self) -> Route | None:
        """The default tier's multi-model endpoint, which can serve every tenant since all models are below its prefix;
        None if the default tier has none."""
        if self.tiers[self.default_tier].endpoint is None:
            return None
        return self._route(TenantRoute(self.default_tier, None))

    def _route(self, of_tenant: TenantRoute) -> Route:
        settings = self.tiers[of_tenant.tier]
        endpoint = of_tenant.endpoint or settings.endpoint
        if endpoint is None:
            raise RoutesError(f"tier {of_tenant.tier!r} has no endpoint for a tenant that is not listed")
        return Route(
            tier=of_tenant.tier,
            endpoint=endpoint,
            shape=SHAPES[settings.hosting],
            shared=settings.shared,
            model_version=of_tenant.model_version,
            stages=of_tenant.stages,
            primary=of_tenant.primary,
            containers=of_tenant.containers,
            bucket=settings.bucket,
        )

    def tier_at(self, endpoint_name: str) -> str | None:
        """The tier of this multi-model endpoint; None for a dedicated endpoint or one that is not in the routes."""
        return next((name for name, tier in self.tiers.items() if tier.endpoint == endpoint_name), None)

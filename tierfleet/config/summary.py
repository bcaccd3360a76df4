"""A fleet file in one screen."""

from tierfleet.columns import in_columns, sentence
from tierfleet.config.asynchronous import AsyncTier
from tierfleet.config.model import FleetConfig, InstanceTier, MultiModelTier, TenantEndpointTier
from tierfleet.config.routes import endpoint_name
from tierfleet.config.serverless import ServerlessTier
from tierfleet.text import counted


def fleet_summary(config: FleetConfig, width: int | None = None) -> str:
    """The tiers, then the endpoints, as lines of text. width: columns of the terminal; None: there is none."""
    lines = [f"{config.fleet}-{config.environment} in {config.account}, {config.region}; {_container(config)}"]
    for name, tier in sorted(config.tiers.items()):
        if isinstance(tier, MultiModelTier):
            lines += _shared(config, name, tier, width)
        else:
            lines += _tenant_endpoints(config, name, tier, width)
    return "\n".join(lines)


def _container(config: FleetConfig) -> str:
    return " ".join(part for part in (config.container.image, config.container.version) if part)


def _shared(config: FleetConfig, name: str, tier: MultiModelTier, width: int | None) -> list[str]:
    tenants = "every tenant no other tier names" if tier.default else counted(len(tier.tenants), "tenant")
    lines = [f"  {name}: multi-model, {tenants}", _instances(tier)]
    if tier.scale_on_cache:
        unloads = tier.scale_on_cache.max_unloads_per_hour
        lines.append(f"      + {tier.scale_on_cache.add_instances} instance above {unloads} unloads an hour")
    if tier.warm_up:
        when = f"{tier.warm_up.schedule} {tier.warm_up.timezone}"
        lines += [
            sentence(f"warm-up: {counted(len(tier.warm_up.tenants), 'tenant')}, {when},", width, first="    "),
            "      and whenever it comes into service",
        ]
    return [*lines, f"    {endpoint_name(config, name)}"]


def _tenant_endpoints(config: FleetConfig, name: str, tier: TenantEndpointTier, width: int | None) -> list[str]:
    size = _containers(tier) if isinstance(tier, ServerlessTier) else _instances(tier)
    lines = [f"  {name}: {tier.hosting}, {counted(len(tier.tenants), 'tenant')}, an endpoint each", size]
    rows = [(endpoint_name(config, name, tenant), own.model) for tenant, own in sorted(tier.tenants.items())]
    room = None if width is None else width - 4
    return [*lines, *(f"    {line}" for line in in_columns(rows, room, shrink=(0, 1)))]


def _containers(tier: ServerlessTier) -> str:
    warm = f", {tier.provisioned_concurrency} kept warm" if tier.provisioned_concurrency else ""
    return f"    0 to {tier.max_concurrency} containers of {tier.memory_size_in_mb} MB{warm}"


def _instances(tier: InstanceTier) -> str:
    bounds = f"{tier.instances.min} to {tier.instances.max} x {tier.instance_type}"
    if isinstance(tier, AsyncTier):
        return f"    {bounds}, scaling at {tier.scaling.backlog_size_per_instance:g} requests in the queue an instance"
    return f"    {bounds}, scaling at {tier.scaling.target_invocations_per_minute:g} calls a minute and instance"

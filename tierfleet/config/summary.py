"""A fleet file in one screen."""

from tierfleet.columns import in_columns, sentence
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.tier import HostedTier
from tierfleet.config.model import FleetConfig
from tierfleet.config.routes import endpoint_name
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
    tenants = "every tenant that no other tier names" if tier.default else counted(len(tier.tenants), "tenant")
    lines = [f"  {name}: multi-model, {tenants}", f"    {tier.capacity}"]
    if tier.scale_on_cache:
        added = counted(tier.scale_on_cache.add_instances, "instance")
        lines.append(f"      + {added} above {tier.scale_on_cache.max_unloads_per_hour} unloads an hour")
    if tier.warm_up:
        when = f"{tier.warm_up.schedule} {tier.warm_up.timezone}"
        lines += [
            sentence(f"warm-up: {counted(len(tier.warm_up.tenants), 'tenant')}, {when},", width, first="    "),
            "      and whenever it comes into service",
        ]
    return [*lines, f"    {endpoint_name(config, name)}"]


def _tenant_endpoints(config: FleetConfig, name: str, tier: HostedTier, width: int | None) -> list[str]:
    whose = "an endpoint each" if tier.endpoint_per_tenant else "one endpoint"
    lines = [
        f"  {name}: {tier.hosting}, {counted(len(tier.tenants), 'tenant')}, {whose}",
        sentence(tier.capacity, width, first="    "),
    ]
    if not tier.endpoint_per_tenant:
        return [*lines, f"    {endpoint_name(config, name)}"]
    rows = [
        (endpoint_name(config, name, tenant), ", ".join(tier.pinned_models(tenant).values()))
        for tenant in sorted(tier.tenants)
    ]
    room = None if width is None else width - 4
    return [*lines, *(f"    {line}" for line in in_columns(rows, room, shrink=(0, 1)))]

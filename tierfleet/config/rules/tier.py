"""Rules within one tier."""

from collections.abc import Iterator

from tierfleet.config.hosting import AnyTier
from tierfleet.config.hosting.multi_model import MultiModelTier, WarmUp
from tierfleet.config.hosting.tier import HostedTier, InstanceTier, RestOfFile, Tier
from tierfleet.config.problems import Problem
from tierfleet.config.rules.guardrail import check_guardrail, check_traffic
from tierfleet.instance_types import describe

# A warm-up fills at most this share of the measured capacity, so that it evicts nothing it just loaded.
MAX_WARM_UP_SHARE = 0.7


def check_tier(name: str, tier: AnyTier, rest: RestOfFile) -> Iterator[Problem]:
    """Every problem of one tier, what its shape asks of the rest of the file included."""
    where = f"tiers.{name}"
    if tier.endpoint_per_tenant:
        yield from _pinned_models(where, tier)
    if isinstance(tier, InstanceTier):
        yield from _instances(where, tier)
    yield from tier.check(where, rest)


def _instances(where: str, tier: InstanceTier) -> Iterator[Problem]:
    instance_type = describe(tier.instance_type)
    if instance_type.burstable:
        message = "a burstable type cannot autoscale, and every endpoint scales"
        fix = "use ml.m5.large or larger"
        yield Problem(where, "instance_type", tier.instance_type, message, fix)
    if instance_type.local_nvme and tier.volume_size_in_gb is not None:
        message = f"{tier.instance_type} has a local NVMe disk, so it cannot have a volume size"
        fix = "remove it or use a type without d, such as ml.m5.xlarge"
        yield Problem(where, "volume_size_in_gb", tier.volume_size_in_gb, message, fix)
    if tier.shape.request_response and tier.instances.min < 2:
        message = "one instance: losing it or its availability zone is an outage"
        fix = "set min = 2 where callers depend on it"
        yield Problem(f"{where}.instances", "min", tier.instances.min, message, fix, severity="note")
    if isinstance(tier, MultiModelTier) and tier.warm_up:
        yield from _warm_up(where, tier, tier.warm_up)
    if isinstance(tier, MultiModelTier) and tier.guardrail:
        message = "watches updates in place, but a change of a multi-model endpoint makes a new endpoint"
        fix = "remove it: the warm gate keeps an image that cannot answer out of the routes"
        yield Problem(where, "guardrail", None, message, fix, severity="note")
    if isinstance(tier, Tier):
        yield from check_traffic(where, tier)
    if isinstance(tier, Tier) and tier.guardrail:
        yield from check_guardrail(where, tier, tier.guardrail)


def _pinned_models(where: str, tier: HostedTier) -> Iterator[Problem]:
    for tenant in sorted(tier.tenants):
        for key, model in tier.pinned_models(tenant).items():
            if not model.startswith(f"{tenant}/"):
                message = f"a tenant's models are below its own id, {tenant}/<version>.tar.gz"
                fix = "pin a model of this tenant"
                *tables, last = key.split(".")
                yield Problem(".".join([where, "tenants", tenant, *tables]), last, model, message, fix)


def _warm_up(where: str, tier: MultiModelTier, warm_up: WarmUp) -> Iterator[Problem]:
    where = f"{where}.warm_up"
    listed = len(warm_up.tenants)
    if not listed:
        message = "no tenant to warm up"
        yield Problem(where, "tenants", None, message, "list tenants, hottest first, or remove the table")
    instances = tier.fewest_instances
    probes_per_minute = listed / instances
    half_target = tier.scaling.target_invocations_per_minute / 2
    if probes_per_minute > half_target:
        message = (
            f"{listed} probes on {instances} instances may be {probes_per_minute:.0f} a minute each, "
            f"more than half the scaling target ({half_target:.0f}): the warm-up would scale the tier out"
        )
        yield Problem(where, "tenants", None, message, "shorten the list or raise instances.min")
    if tier.models_per_instance is None:
        message = "a warm-up needs the measured capacity of an instance"
        fix = "set models_per_instance to LoadedModelCount when ModelUnloadingTime first appears"
        yield Problem(where.removesuffix(".warm_up"), "models_per_instance", None, message, fix)
        return
    capacity = int(tier.models_per_instance * instances * MAX_WARM_UP_SHARE)
    if listed > capacity:
        message = (
            f"{listed} tenants, but {instances} instances of {tier.models_per_instance} models take "
            f"{capacity} ({MAX_WARM_UP_SHARE:.0%} of what fits): later loads would evict earlier ones"
        )
        yield Problem(where, "tenants", None, message, "shorten the list, raise instances.min or use larger instances")

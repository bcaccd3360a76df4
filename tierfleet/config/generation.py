"""The generation of an endpoint that tenants share: six characters for everything that its instances are made of.

SageMaker applies a change of these settings by new instances with an empty cache, which get the traffic before anything
could warm them. So a change makes another endpoint, under another name (docs/adr/0042).
"""

from collections.abc import Iterator
from typing import Any

from tierfleet.config.hosting.digest import id_digest, short_digest
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.tier import InstanceTier, Tier
from tierfleet.config.model import FleetConfig
from tierfleet.config.problems import Problem


def generation(config: FleetConfig, tier: Tier) -> str:
    """Six characters of base32 (30 bits of SHA-256), such as `q3f7xk`. The instance type is not part of it, since
    the name has it already."""
    return short_digest(instance_settings(config, tier))


def name_suffix(config: FleetConfig, tier: Tier) -> str | None:
    """The generation in the endpoint's name; None for the fleet file's `first_generation`."""
    current = generation(config, tier)
    return None if isinstance(tier, MultiModelTier) and current == tier.first_generation else current


def check_generations(config: FleetConfig) -> Iterator[Problem]:
    """A note for each multi-model endpoint whose settings are no longer those of its first generation."""
    for name, tier in config.multi_model_tiers.items():
        if tier.first_generation and (suffix := name_suffix(config, tier)):
            message = f"its settings are another generation, {suffix}, so its endpoint's name ends in {suffix}"
            fix = "nothing to do: the new endpoint is built and warmed before the deployed one is deleted"
            yield Problem(f"tiers.{name}", "first_generation", tier.first_generation, message, fix, severity="note")


def instance_settings(config: FleetConfig, tier: Tier) -> dict[str, Any]:
    """What becomes a property of the Model, of the EndpointConfig, or of the Endpoint where it cannot be updated.

    Settings with their default are left out, so that a new key does not change the generations of today.
    """
    made_of: dict[str, Any] = {
        **tier.made_of(config.container),
        "network": config.network.model_dump(mode="json") if config.network else None,
        "network_isolation": config.network_isolation or None,
        "volume_kms_key_arn": config.encryption.volume_kms_key_arn,
        "detailed_observability": config.detailed_observability or None,
        "initial": tier.instances.initial,
        "volume_size_in_gb": tier.volume_size_in_gb,
        "model_data_download_timeout_in_seconds": tier.model_data_download_timeout_in_seconds,
        "container_startup_health_check_timeout_in_seconds": tier.container_startup_health_check_timeout_in_seconds,
        "guardrail": guardrail_settings(tier),
    }
    return {key: value for key, value in made_of.items() if value is not None}


def guardrail_settings(tier: InstanceTier) -> dict[str, Any] | None:
    """The guardrail as SageMaker gets it, without keys that its type does not use; None without one."""
    guardrail = tier.guardrail
    if guardrail is None:
        return None
    shift = guardrail.shift(tier.fewest_instances)
    unused = {"type"}
    unused |= {"canary_instances"} if shift != "CANARY" else set()
    unused |= {"linear_step_percent"} if shift != "LINEAR" else set()
    return {"shift": shift, **guardrail.model_dump(exclude=unused)}


def guardrail_id(tier: InstanceTier) -> str:
    """Eight characters for a guardrail: an EndpointConfig's logical id has them, since an endpoint is updated only by
    another EndpointConfig. Empty without a guardrail."""
    settings = guardrail_settings(tier)
    return "" if settings is None else id_digest(settings)

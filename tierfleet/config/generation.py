"""The generation of an endpoint that tenants share: six characters for everything that its instances are made of.

SageMaker applies a change of these settings by new instances with an empty cache, which get the traffic before anything
could warm them. So a change makes another endpoint, under another name (docs/adr/0042).
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.pipeline import PipelineTier, stage_settings
from tierfleet.config.hosting.tier import InstanceTier, Tier
from tierfleet.config.model import FleetConfig
from tierfleet.config.problems import Problem
from tierfleet.images import TIERFLEET_IMAGE

CHARACTERS: Final = 6
_CONTAINER: Final = Path(__file__).resolve().parents[2] / "container"
# What container/.dockerignore leaves out of the image: bytecode, caches of tools, notes of an installation.
LEFT_OUT: Final = ("__pycache__", "*.pyc", ".*_cache", "*.egg-info", "*.so", "build")


def generation(config: FleetConfig, tier: Tier) -> str:
    """Six characters of base32 (30 bits of SHA-256), such as `q3f7xk`. The instance type is not part of it, since
    the name has it already."""
    return _short(instance_settings(config, tier))


def order_id(tier: PipelineTier) -> str:
    """Eight characters for the order of the stages: the logical id of a pipeline's Model has them."""
    return _digest([stage.name for stage in tier.stages]).hexdigest()[:8].upper()


def stages_id(tier: PipelineTier, tenant: str) -> str:
    """Six characters for what the stages of one tenant's pipeline are made of, besides the model of the tenant."""
    return _short([_stages(tier), sorted(tier.tenants[tenant].stage_models.items())])


def name_suffix(config: FleetConfig, tier: Tier) -> str | None:
    """The generation in the endpoint's name; None for the fleet file's `first_generation`."""
    current = generation(config, tier)
    return None if isinstance(tier, MultiModelTier) and current == tier.first_generation else current


def check_generations(config: FleetConfig) -> Iterator[Problem]:
    """A note for each multi-model endpoint whose settings are no longer those of its first generation."""
    for name, tier in config.multi_model_tiers.items():
        if tier.first_generation and (suffix := name_suffix(config, tier)):
            message = f"its settings are another generation, {suffix}, so its endpoint has a name that ends in it"
            fix = "nothing to do: the new endpoint is built and warmed before the deployed one goes"
            yield Problem(f"tiers.{name}", "first_generation", tier.first_generation, message, fix, severity="note")


def instance_settings(config: FleetConfig, tier: Tier) -> dict[str, Any]:
    """What becomes a property of the Model, of the EndpointConfig, or of the Endpoint where it cannot be updated.

    Settings with their default are left out, so that a new key does not change the generations of today.
    """
    made_of: dict[str, Any] = {
        **(_stages(tier) if isinstance(tier, PipelineTier) else _container(config)),
        "network": config.network.model_dump(mode="json") if config.network else None,
        "network_isolation": config.network_isolation or None,
        "volume_kms_key_arn": config.encryption.volume_kms_key_arn,
        "detailed_observability": config.detailed_observability or None,
        "model_cache": tier.model_cache if isinstance(tier, MultiModelTier) and tier.model_cache != "Enabled" else None,
        "initial": tier.instances.initial,
        "volume_size_in_gb": tier.volume_size_in_gb,
        "model_data_download_timeout_in_seconds": tier.model_data_download_timeout_in_seconds,
        "container_startup_health_check_timeout_in_seconds": tier.container_startup_health_check_timeout_in_seconds,
        "guardrail": guardrail_settings(tier),
    }
    return {key: value for key, value in made_of.items() if value is not None}


def _container(config: FleetConfig) -> dict[str, Any]:
    container = config.container
    return {
        "image": container.image,
        "image_version": container.version,
        "image_content": image_content() if container.image == TIERFLEET_IMAGE else None,
        "environment": dict(container.environment) or None,
    }


def _stages(tier: PipelineTier) -> dict[str, Any]:
    """The stages in order: a list, so that a new order is another generation."""
    ours = any(stage.image == TIERFLEET_IMAGE for stage in tier.stages)
    return {"stages": stage_settings(tier), "image_content": image_content() if ours else None}


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
    return "" if settings is None else _digest(settings).hexdigest()[:8].upper()


@cache
def image_content(directory: Path = _CONTAINER) -> str:
    """SHA-256 of the sources of the image `tierfleet`; of no files where only the package is installed."""
    files = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    kept = [file for file in files if not any(fnmatchcase(part, out) for part in file.parts for out in LEFT_OUT)]
    hashes = [[file.as_posix(), hashlib.sha256((directory / file).read_bytes()).hexdigest()] for file in kept]
    return _digest(hashes).hexdigest()


def _short(value: Any) -> str:
    return base64.b32encode(_digest(value).digest()).decode().lower()[:CHARACTERS]


def _digest(value: Any) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

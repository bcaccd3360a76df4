"""Whether a model fits the tier that would serve it: its disk, its memory, and the count of models the file assumes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.images import TIERFLEET_IMAGE
from tierfleet.instance_types import describe
from tierfleet.models.validation.findings import Facts, Finding, Validated
from tierfleet.text import size

if TYPE_CHECKING:
    from tierfleet.config import FleetConfig
    from tierfleet.config.hosting import AnyTier

_STOCK: Final = "sagemaker-xgboost"
_MIB: Final = 1024**2
_GIB: Final = 1024**3
# The stock XGBoost image, a process a model, measured outside SageMaker: 147 MiB for a small model, 247 MiB for one of
# 44 MB; the front and the system take about 3 GiB. See README, Limits.
_STOCK_BASE_BYTES: Final = 147 * _MIB
_STOCK_BYTES_PER_MODEL_BYTE: Final = (247 - 147) * _MIB / 44e6
_STOCK_RESERVE_BYTES: Final = 3 * _GIB
# Our own server admits 5 bytes a byte of the UBJ file while it loads; docs/container.md, Memory.
_OWN_LOADING: Final = 5.0
_OWN_RESERVE_BYTES: Final = 256 * _MIB
_OWN_RESERVE_SHARE: Final = 0.1
# Whatever the memory. Source: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
_SERVERLESS_DISK_BYTES: Final = 5 * _GIB


def findings(fleet: "FleetConfig", tenant: str, *, file_bytes: int, facts: Facts) -> list[Finding]:
    """Errors of a model that its tier's instances could never load."""
    name = fleet.tier_of(tenant)
    tier, findings = fleet.tiers[name], []
    needed_disk = file_bytes + facts.size_bytes
    image = _image(fleet, tier, tenant)
    loading = _loading_bytes(image, facts)
    if isinstance(tier, ServerlessTier):
        return list(_serverless_findings(image, name, tier, needed_disk, loading))
    if tier.volume_size_in_gb is not None and needed_disk > tier.volume_size_in_gb * _GIB:
        message = (
            f"takes {size(needed_disk)} of disk, packed and unpacked, and tier {name} has volume_size_in_gb = "
            f"{tier.volume_size_in_gb}; raise it"
        )
        findings.append(Finding("error", "size", message))
    budget = _instance_bytes(image, tier.instance_type)
    if budget is not None and loading > budget:
        message = (
            f"needs about {size(loading)} of memory to load, and an {tier.instance_type} of tier {name} has "
            f"{size(budget)} for models; choose a larger instance_type"
        )
        findings.append(Finding("error", "size", message))
    return findings


def _serverless_findings(
    image: str | None, name: str, tier: ServerlessTier, needed_disk: int, loading: int
) -> Iterator[Finding]:
    if needed_disk > _SERVERLESS_DISK_BYTES:
        message = (
            f"takes {size(needed_disk)} of disk, packed and unpacked, and a serverless container has "
            f"{size(_SERVERLESS_DISK_BYTES)}; host the tenant on a dedicated tier"
        )
        yield Finding("error", "size", message)
    budget = _serverless_bytes(image, tier.memory_size_in_mb * _MIB)
    if budget is not None and loading > budget:
        message = (
            f"needs about {size(loading)} of memory to load, and a container of tier {name} has {size(budget)} "
            "for models; raise memory_size_in_mb"
        )
        yield Finding("error", "size", message)


def fleet_findings(fleet: "FleetConfig", validated: Sequence[Validated]) -> list[Finding]:
    """A warning for each multi-model tier whose models_per_instance is more than fit its memory."""
    by_tier: dict[str, list[int]] = defaultdict(list)
    # The multi-model tiers', which run the fleet's own container.
    image = fleet.container.image
    for item in validated:
        if item.facts is not None:
            by_tier[fleet.tier_of(item.model.tenant)].append(_resident_bytes(image, item.facts))
    findings = []
    for name, tier in fleet.multi_model_tiers.items():
        budget = _instance_bytes(image, tier.instance_type)
        if not by_tier[name] or budget is None or tier.models_per_instance is None:
            continue
        average = sum(by_tier[name]) / len(by_tier[name])
        if average * tier.models_per_instance > budget:
            message = (
                f"tier {name} counts on models_per_instance = {tier.models_per_instance}; these "
                f"{len(by_tier[name])} models take {size(int(average))} each on average, and {size(budget)} hold "
                f"{int(budget / average)}"
            )
            findings.append(Finding("warning", "size", message))
    return findings


def _image(fleet: "FleetConfig", tier: "AnyTier", tenant: str) -> str | None:
    """The image that loads the tenant's models; None where several do, and the file's name does not say which."""
    images = {container.image for container in tier.models_of_containers(tenant).values()}
    images = images or {tier.model_container(fleet.container).image}
    return images.pop() if len(images) == 1 else None


def _instance_bytes(image: str | None, instance_type: str) -> int | None:
    """What an instance has for models; None for an image whose needs are not known."""
    memory = describe(instance_type).memory_gib * _GIB
    return memory - _STOCK_RESERVE_BYTES if image == _STOCK else _own_bytes(image, memory)


def _serverless_bytes(image: str | None, memory: int) -> int | None:
    """What a serverless container has for models; None for an image whose needs are not known.

    The stock image's reserve is for the front of a multi-model endpoint and the instance's system: neither is there.
    """
    return memory if image == _STOCK else _own_bytes(image, memory)


def _own_bytes(image: str | None, memory: int) -> int | None:
    return int(memory - max(_OWN_RESERVE_BYTES, _OWN_RESERVE_SHARE * memory)) if image == TIERFLEET_IMAGE else None


def _loading_bytes(image: str | None, facts: Facts) -> int:
    return int(_OWN_LOADING * facts.size_bytes) if image == TIERFLEET_IMAGE else _resident_bytes(image, facts)


def _resident_bytes(image: str | None, facts: Facts) -> int:
    if image != TIERFLEET_IMAGE:
        return int(_STOCK_BASE_BYTES + _STOCK_BYTES_PER_MODEL_BYTE * facts.size_bytes)
    return facts.memory_bytes if facts.memory_bytes is not None else int(1.6 * facts.size_bytes)

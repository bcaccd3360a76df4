"""Whether a model fits the tier that would serve it: its disk, its memory, and the count of models the file assumes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tierfleet.config.hosting.serverless import ServerlessTier
from tierfleet.instance_types import describe
from tierfleet.models.validation.findings import Facts, Finding, Validated
from tierfleet.text import size

if TYPE_CHECKING:
    from tierfleet.config import FleetConfig

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


def tier_of(fleet: "FleetConfig", tenant: str) -> str:
    """The tier that serves a tenant."""
    return fleet.tier_of(tenant)


def findings(fleet: "FleetConfig", tenant: str, *, file_bytes: int, facts: Facts) -> list[Finding]:
    """Errors of a model that its tier's instances could never load."""
    name = tier_of(fleet, tenant)
    tier, findings = fleet.tiers[name], []
    needed_disk = file_bytes + facts.size_bytes
    if isinstance(tier, ServerlessTier):
        return list(_serverless_findings(fleet, name, tier, needed_disk, _loading_bytes(fleet, facts)))
    if tier.volume_size_in_gb is not None and needed_disk > tier.volume_size_in_gb * _GIB:
        message = (
            f"takes {size(needed_disk)} of disk, packed and unpacked, and tier {name} has volume_size_in_gb = "
            f"{tier.volume_size_in_gb}; raise it"
        )
        findings.append(Finding("error", "size", message))
    budget, loading = _budget_bytes(fleet, tier.instance_type), _loading_bytes(fleet, facts)
    if budget is not None and loading > budget:
        message = (
            f"needs about {size(loading)} of memory to load, and an {tier.instance_type} of tier {name} has "
            f"{size(budget)} for models; choose a larger instance_type"
        )
        findings.append(Finding("error", "size", message))
    return findings


def _serverless_findings(
    fleet: "FleetConfig", name: str, tier: ServerlessTier, needed_disk: int, loading: int
) -> Iterator[Finding]:
    if needed_disk > _SERVERLESS_DISK_BYTES:
        message = (
            f"takes {size(needed_disk)} of disk, packed and unpacked, and a serverless container has "
            f"{size(_SERVERLESS_DISK_BYTES)}; host the tenant on a dedicated tier"
        )
        yield Finding("error", "size", message)
    budget = _memory_for_models(fleet, tier.memory_size_in_mb * _MIB)
    if budget is not None and loading > budget:
        message = (
            f"needs about {size(loading)} of memory to load, and a container of tier {name} has {size(max(0, budget))} "
            "for models; raise memory_size_in_mb"
        )
        yield Finding("error", "size", message)


def fleet_findings(fleet: "FleetConfig", validated: Sequence[Validated]) -> list[Finding]:
    """A warning for each multi-model tier whose models_per_instance is more than fit its memory."""
    by_tier: dict[str, list[int]] = defaultdict(list)
    for item in validated:
        if item.facts is not None:
            by_tier[tier_of(fleet, item.model.tenant)].append(_resident_bytes(fleet, item.facts))
    findings = []
    for name, tier in fleet.multi_model_tiers.items():
        budget = _budget_bytes(fleet, tier.instance_type)
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


def _is_ours(fleet: "FleetConfig") -> bool:
    return fleet.container.image == "tierfleet"


def _budget_bytes(fleet: "FleetConfig", instance_type: str) -> int | None:
    """What an instance has for models; None for an image whose needs are not known."""
    return _memory_for_models(fleet, describe(instance_type).memory_gib * _GIB)


def _memory_for_models(fleet: "FleetConfig", memory: int) -> int | None:
    if _is_ours(fleet):
        return int(memory - max(_OWN_RESERVE_BYTES, _OWN_RESERVE_SHARE * memory))
    return memory - _STOCK_RESERVE_BYTES if fleet.container.image == "sagemaker-xgboost" else None


def _loading_bytes(fleet: "FleetConfig", facts: Facts) -> int:
    return int(_OWN_LOADING * facts.size_bytes) if _is_ours(fleet) else _resident_bytes(fleet, facts)


def _resident_bytes(fleet: "FleetConfig", facts: Facts) -> int:
    if not _is_ours(fleet):
        return int(_STOCK_BASE_BYTES + _STOCK_BYTES_PER_MODEL_BYTE * facts.size_bytes)
    return facts.memory_bytes if facts.memory_bytes is not None else int(1.6 * facts.size_bytes)

"""What the name of a SageMaker instance type says: vCPUs, memory, disk and processor."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_NAME = re.compile(r"ml\.(?P<family>[a-z]+)(?P<generation>[0-9]+)(?P<options>[a-z]*)\.(?P<size>[a-z0-9]+)")
_VCPUS = {"medium": 1, "large": 2, "xlarge": 4}
_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8}
_BURSTABLE_GIB = {"medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}

# CPU families before generation 5, which SageMaker still hosts models on. Source: as data/instance_types.txt.
OLDER_FAMILIES = ("c4", "m4")
# What has an accelerator. Source: the same; a test finds every type that SageMaker hosts in one of these lists.
_ACCELERATED = re.compile(r"ml\.(dl|g|inf|p|trn)[0-9][a-z0-9-]*\.[a-z0-9]+")


@dataclass(frozen=True)
class InstanceType:
    """One CPU instance type."""

    name: str
    """Such as `ml.m5.xlarge`."""
    family: str
    """Such as `m5`."""
    vcpus: int
    memory_gib: int
    local_nvme: bool
    """It has local disks, and takes no volume size."""
    burstable: bool
    """It cannot autoscale."""
    graviton: bool
    """Its processor is AWS's Arm."""


@cache
def hosting_types() -> frozenset[str]:
    """The instance types tierfleet hosts models on, such as `ml.m5.xlarge`."""
    lines = (files("tierfleet") / "data/instance_types.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


@cache
def hosting_regions() -> frozenset[str]:
    """The regions in which SageMaker hosts models, the isolated and sovereign ones left out."""
    return frozenset(_offers())


@cache
def hosted_in(region: str) -> frozenset[str]:
    """The types of `hosting_types` that the price list offers for hosting in a region; none in an unknown region."""
    offer = _offers().get(region, {})
    families, without = set(offer.get("families", ())), set(offer.get("without", ()))
    return frozenset(name for name in hosting_types() if name.rpartition(".")[0] in families and name not in without)


def describe(name: str) -> InstanceType:
    """The instance type called `name`.

    >>> kind = describe("ml.r5.2xlarge")
    >>> kind.vcpus, kind.memory_gib, kind.graviton
    (8, 64, False)

    Raises ValueError for a name that is not among `hosting_types`. Sizes follow from AWS's naming: c, m and r have
    2, 4 and 8 GiB a vCPU. Source: docs.aws.amazon.com/ec2/latest/instancetypes.
    """
    match = _NAME.fullmatch(name)
    if not match or name not in hosting_types():
        raise ValueError(_why_not(name))
    family = match["family"] + match["generation"] + match["options"]
    burstable = match["family"] == "t"
    vcpus = 2 if burstable and match["size"] == "medium" else _vcpus(match["size"])
    return InstanceType(
        name=name,
        family=family,
        vcpus=vcpus,
        memory_gib=_BURSTABLE_GIB[match["size"]] if burstable else vcpus * _GIB_PER_VCPU[match["family"]],
        local_nvme="d" in match["options"],
        burstable=burstable,
        graviton="g" in match["options"],
    )


def check_instance_type(name: str) -> str:
    """Return the name, or raise ValueError as `describe` does."""
    describe(name)
    return name


@cache
def _offers() -> dict[str, Any]:
    return tomllib.loads((files("tierfleet") / "data/hosting_regions.toml").read_text(encoding="utf-8"))


def _why_not(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 3 and parts[0] == "ml" and parts[1] in OLDER_FAMILIES:
        size = f"ml.{parts[1][0]}5.{parts[2]}"
        newer = size if size in hosting_types() else f"ml.{parts[1][0]}5.xlarge"
        return (
            f"SageMaker hosts models on {parts[1]}, but it is older than the types tierfleet offers (generation 5 and "
            f"later); use {newer}"
        )
    if _ACCELERATED.fullmatch(name):
        return "has an accelerator, which these models do not use; use a CPU type such as ml.m5.xlarge"
    if f"ml.{name}" in hosting_types():
        return f"not a SageMaker type, their names begin with ml.; write ml.{name}"
    return "not a CPU type that SageMaker hosts models on; use the c, m or r families, such as ml.m5.xlarge"


def _vcpus(size: str) -> int:
    return _VCPUS.get(size) or 4 * int(size.removesuffix("xlarge"))

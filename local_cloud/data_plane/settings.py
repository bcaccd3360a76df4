"""What can be chosen about the data plane, and what an instance type is worth at a scale."""

import json
import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from local_cloud.data_plane.desired import ServerlessSpec, VariantSpec
from tierfleet import instance_types

# What a container's limit leaves for models: the model server's own reserve (docs/container.md).
_MODELS_SHARE_OF_MEMORY = 0.9
# "5 GB of disk, whatever the memory."
_SERVERLESS_DISK_GIB = 5
# vCPUs grow with the memory; AWS gives no table. An estimate.
_MIB_PER_VCPU = 3072
# Volume of an instance without local disks where the configuration names no size, in GiB. An estimate.
_DEFAULT_VOLUME_GIB = 30
# Local NVMe, in GB a vCPU, of the smallest of the d families. Source: docs.aws.amazon.com/ec2/latest/instancetypes.
_NVME_GB_PER_VCPU = 25

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class ContainerSize:
    """What one container has for its models."""

    memory_mib: int
    disk_bytes: int
    vcpus: int


class SettingsError(ValueError):
    """One or more settings are wrong; the message names all of them."""


@dataclass(frozen=True, kw_only=True)
class DataPlaneSettings:
    """How instances are sized and delayed. Seconds and milliseconds are wall-clock time."""

    scale: float = 1.0
    """Share of the instance type's memory and disk that an instance gets, above 0, at most 1."""
    command: str = ""
    """A container of your own, `{port}` filled in; empty: the dense model server."""
    image_commands: Mapping[str, str] = field(default_factory=dict)
    """A container of your own for each of these images, by URI or repository name; other images run `command`."""
    s3_mb_per_second: float = 0.0
    """How fast artefacts come, MB = 10^6 bytes; 0: as fast as possible."""
    s3_first_byte_milliseconds: float = 0.0
    """The time until S3 sends the first byte."""
    network_milliseconds: float = 0.0
    """Added to each InvokeEndpoint."""
    max_loading_wait_seconds: float = 60.0
    """A caller waits this long for a model, then gets ModelNotReadyException."""
    max_loading_seconds: float = 360.0
    """A load that takes longer has failed."""
    max_response_seconds: float = 60.0
    """A container that has not answered by then has failed the request."""
    start_seconds: float = 60.0
    """An instance that is not healthy by then has failed."""
    serverless_idle_seconds: float = 300.0
    """A container of a serverless endpoint without a call for so long is stopped."""
    spill_in_flight: int = 4
    """Requests of one model on its instance before a second instance loads it too."""

    def __post_init__(self) -> None:
        problems = []
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name in ("command", "image_commands"):
                continue
            at_least_zero = setting.name.startswith(("s3_", "network_"))
            if not math.isfinite(value) or value < 0 or (value == 0 and not at_least_zero):
                problems.append(f"{setting.name} is {value}; it must be {'0 or more' if at_least_zero else 'above 0'}")
        problems += [f"image_commands has no command for {image}" for image, c in self.image_commands.items() if not c]
        if self.scale > 1:
            problems.append(f"scale is {self.scale}; it must be at most 1, the whole instance")
        if problems:
            raise SettingsError("; ".join(problems))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "DataPlaneSettings":
        return cls(**json.loads(text))

    def command_of(self, image: str | None) -> str:
        """What runs in place of an image: its own command, an example's server, else `command`."""
        if image is None:
            return self.command
        repository = image.partition("/")[2].partition("@")[0].partition(":")[0]
        return (
            self.image_commands.get(image)
            or self.image_commands.get(repository)
            or _of_example(repository)
            or self.command
        )

    def size_of(self, spec: VariantSpec) -> ContainerSize:
        """What one instance of a variant, or one serverless container, has. Raises ValueError for an unknown type."""
        if spec.serverless is not None:
            return _serverless_container_size(spec.serverless, self.scale)
        if spec.instance_type is None:
            raise ValueError(f"variant {spec.name} has neither an instance type nor a serverless configuration")
        memory = self.memory_budget_mib(spec.instance_type)
        disk = self.disk_budget_bytes(spec.instance_type, spec.volume_gib)
        return ContainerSize(memory, disk, instance_types.describe(spec.instance_type).vcpus)

    def memory_budget_mib(self, instance_type: str) -> int:
        """MiB for models on one instance, at least 1; raises ValueError for a type that is not used for hosting."""
        memory_mib = instance_types.describe(instance_type).memory_gib * 1024
        return max(1, round(memory_mib * _MODELS_SHARE_OF_MEMORY * self.scale))

    def disk_budget_bytes(self, instance_type: str, volume_gib: int | None) -> int:
        """Bytes for artefacts on one instance; raises ValueError as above."""
        described = instance_types.describe(instance_type)
        if described.local_nvme:
            return round(described.vcpus * _NVME_GB_PER_VCPU * 10**9 * self.scale)
        return round((volume_gib or _DEFAULT_VOLUME_GIB) * 2**30 * self.scale)


def _serverless_container_size(spec: ServerlessSpec, scale: float) -> ContainerSize:
    """The size of one serverless container, at the scale of the data plane."""
    memory = max(1, round(spec.memory_mib * _MODELS_SHARE_OF_MEMORY * scale))
    return ContainerSize(memory, round(_SERVERLESS_DISK_GIB * 2**30 * scale), max(1, spec.memory_mib // _MIB_PER_VCPU))


def _of_example(repository: str) -> str:
    """The server of `examples/<name>` for the repository `tierfleet-examples/<name>`; empty for any other."""
    owner, _, name = repository.partition("/")
    server = _EXAMPLES / name / "server.py"
    is_example = owner == "tierfleet-examples" and server.parent.parent == _EXAMPLES and server.is_file()
    return shlex.join([sys.executable, str(server)]) if is_example else ""


def from_options(options: dict[str, Any]) -> DataPlaneSettings:
    """Settings from keyword arguments; SettingsError names one that does not exist."""
    known = {setting.name for setting in fields(DataPlaneSettings)}
    if unknown := sorted(set(options) - known):
        raise SettingsError(f"no such data plane setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return DataPlaneSettings(**options)

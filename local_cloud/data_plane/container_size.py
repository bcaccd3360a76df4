"""What one container has for its models: an instance's share, or a serverless container's."""

from dataclasses import dataclass

from local_cloud.data_plane.desired import ServerlessSpec

# What a container's limit leaves for models: the model server's own reserve (docs/container.md).
MODELS_SHARE_OF_MEMORY = 0.9
# "5 GB of disk, whatever the memory."
_SERVERLESS_DISK_GIB = 5
# vCPUs grow with the memory; AWS gives no table. An estimate.
_MIB_PER_VCPU = 3072


@dataclass(frozen=True)
class ContainerSize:
    """What one container has for its models."""

    memory_mib: int
    disk_bytes: int
    vcpus: int


def serverless_container_size(spec: ServerlessSpec, scale: float) -> ContainerSize:
    """The size of one serverless container, at the scale of the data plane."""
    memory = max(1, round(spec.memory_mib * MODELS_SHARE_OF_MEMORY * scale))
    return ContainerSize(memory, round(_SERVERLESS_DISK_GIB * 2**30 * scale), max(1, spec.memory_mib // _MIB_PER_VCPU))

"""Multi-container endpoints with direct invocation: each call names the container that answers it.

https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-direct.html
"""

from collections.abc import Callable, Sequence

from local_cloud.core import invocation_rules
from local_cloud.data_plane.desired import VariantSpec
from local_cloud.data_plane.instances.container_client import ContainerReply
from local_cloud.data_plane.instances.instance import Instance


def check_target(spec: VariantSpec, target: str | None) -> None:
    """Raises ServiceError in SageMaker's three cases."""
    names = [container.hostname for container in spec.containers] if spec.execution_mode == "Direct" else None
    invocation_rules.check_target_container(target, names)


def called(instances: Sequence[Instance], target: str) -> list[Instance]:
    """The containers of this hostname, one on each instance."""
    return [instance for instance in instances if instance.spec.hostname == target]


def observe_call(
    observe: Callable[[str, float], None], reply: ContainerReply, *, container_seconds: float, overhead_seconds: float
) -> None:
    """What SageMaker publishes of one call with the dimension ContainerName.

    https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-metrics.html
    """
    observe("Invocations", 1)
    observe("ContainerLatency", container_seconds * 1e6)
    observe("OverheadLatency", overhead_seconds * 1e6)
    observe("Invocation4XXErrors", float(400 <= reply.status < 500))
    observe("Invocation5XXErrors", float(reply.status >= 500 or reply.status == 0))

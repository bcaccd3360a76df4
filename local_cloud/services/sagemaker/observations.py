"""What the endpoints' instances did, value by value. SageMaker's metrics are computed from it.

The publisher of metrics takes the values from here. A buffer that is not emptied forgets the oldest.
"""

from collections import deque
from typing import NamedTuple

from ministack.core.responses import get_account_id, get_region

from local_cloud.core.clock import clock

MAX_KEPT = 500_000

# https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
UNITS = {
    "Invocations": "None",
    "InvocationsPerInstance": "None",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "ModelCacheHit": "None",
    "ModelLoadingWaitTime": "Microseconds",
    "ModelDownloadingTime": "Microseconds",
    "ModelLoadingTime": "Microseconds",
    "ModelUnloadingTime": "Microseconds",
    "ModelSetupTime": "Microseconds",
    "ContainerLatency": "Microseconds",
    "ServerlessConcurrentExecutionsUtilization": "None",
    "InvocationsProcessed": "Count",
    "InvocationFailures": "Count",
    "ExpiredRequests": "Count",
    "RequestDownloadFailures": "Count",
    "ResponseUploadFailures": "Count",
    "NotificationFailures": "Count",
    "RequestDownloadLatency": "Microseconds",
    "ResponseUploadLatency": "Microseconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
}


class Observation(NamedTuple):
    """One value of one metric, in the unit of `UNITS`, at a moment of the local emulator's clock."""

    time: float
    account: str
    region: str
    endpoint_name: str
    variant_name: str
    config_name: str
    metric_name: str
    value: float
    container_name: str = ""
    """The container's hostname; empty for a value of the whole variant."""


_kept: deque[Observation] = deque(maxlen=MAX_KEPT)


def record(
    endpoint_name: str,
    variant_name: str,
    config_name: str,
    metric_name: str,
    value: float,
    container_name: str = "",
) -> None:
    """Keep one value, of the current account and region, as of now."""
    names = (get_account_id(), get_region(), endpoint_name, variant_name, config_name, metric_name)
    _kept.append(Observation(clock.now(), *names, value, container_name))


def take() -> list[Observation]:
    """Everything recorded since the last call, oldest first; it is forgotten here."""
    taken = []
    while _kept:
        taken.append(_kept.popleft())
    return taken


def clear() -> None:
    _kept.clear()

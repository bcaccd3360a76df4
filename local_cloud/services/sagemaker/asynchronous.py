"""What SageMaker accepts of asynchronous endpoints, and the metrics of their queues.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.desired import QueueSpec
from local_cloud.services.cloudwatch import store
from local_cloud.services.cloudwatch.store import MINUTE_SECONDS

_NAMESPACE = "AWS/SageMaker"

QueueRow = tuple[str, int, float, int]
"""Endpoint, requests in the queue and at work, age of the oldest in seconds, instances in service."""


def check(variant: Mapping[str, Any], model: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Raises ServiceError for what CreateEndpointConfig refuses; a configuration without a queue passes."""
    queue = request.get("AsyncInferenceConfig")
    if queue is None:
        return
    containers = [container for container in [model.get("PrimaryContainer"), *model.get("Containers", [])] if container]
    output = queue["OutputConfig"]
    paths = [output.get(name, "s3://") for name in ("S3OutputPath", "S3FailurePath")]
    refused = {
        "for multi-model containers": any(container.get("Mode") == "MultiModel" for container in containers),
        "for inference pipelines and multi-container endpoints": len(model.get("Containers", [])) > 1,
        "with several production variants": len(request["ProductionVariants"]) > 1,
        "with shadow variants": bool(request.get("ShadowProductionVariants")),
        "for serverless variants": "ServerlessConfig" in variant,
        "with data capture": "DataCaptureConfig" in request,
        "with a path that is not s3://": any(not path.startswith("s3://") for path in paths),
    }
    wrong = [why for why, holds in refused.items() if holds]
    if wrong:
        raise ServiceError("ValidationException", f"Asynchronous Inference is not supported {'; '.join(wrong)}.")


def spec_of(config: Mapping[str, Any]) -> QueueSpec | None:
    """What the data plane is told of an AsyncInferenceConfig; None without one."""
    queue = config.get("AsyncInferenceConfig")
    if queue is None:
        return None
    output = queue["OutputConfig"]
    topics = output.get("NotificationConfig", {})
    return QueueSpec(
        output_path=output.get("S3OutputPath"),
        failure_path=output.get("S3FailurePath"),
        success_topic=topics.get("SuccessTopic"),
        error_topic=topics.get("ErrorTopic"),
        max_concurrency=queue.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance"),
    )


def publish(rows: Sequence[QueueRow], minutes: range) -> None:
    """A datapoint a minute of each queue, under EndpointName alone."""
    for endpoint, size, age, instances in rows:
        values = {
            "ApproximateBacklogSize": ("Count", float(size)),
            "ApproximateAgeOfOldestRequest": ("Seconds", age),
            "HasBacklogWithoutCapacity": ("Count", float(size > 0 and instances == 0)),
        }
        if instances:
            # Without one nothing publishes the quotient.
            values["ApproximateBacklogSizePerInstance"] = ("Count", size / instances)
        for name, (unit, value) in values.items():
            for minute in minutes:
                start = minute * MINUTE_SECONDS
                store.put(_NAMESPACE, name, {"EndpointName": endpoint}, unit, start=start, seconds=0, values=[value])

"""Why an invocation failed, in InvokeEndpoint's codes. The codes are documented; the wording is from memory or ours.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from local_cloud.core.errors import ServiceError

_LONGEST_MESSAGE_CHARACTERS = 1024
# What SageMaker calls the container of a model that has one.
ONLY_CONTAINER = "primary"


def model_error(status: int, body: bytes, container: str = ONLY_CONTAINER, *, log_stream_arn: str = "") -> ServiceError:
    """The container answered 4xx or 5xx; status 0 where it did not answer."""
    text = body.decode("utf-8", "replace")[:_LONGEST_MESSAGE_CHARACTERS]
    side = "client" if 400 <= status < 500 else "server"
    return ServiceError(
        "ModelError",
        f'Received {side} error ({status}) from {container} with message "{text}".',
        status=424,
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=log_stream_arn,
    )


def response_timed_out(container: str = ONLY_CONTAINER) -> ServiceError:
    text = f"Your invocation timed out while waiting for a response from container {container}."
    return model_error(0, text.encode(), container)


def too_large_between(container: str, following: str, size: int, most: int) -> ServiceError:
    """A pipeline's container answered with more than the next one may get.

    The status is documented, the wording is ours: AWS names both containers and the size.
    """
    text = f"The response of {size} bytes from {container} exceeds {most} bytes and cannot be sent to {following}."
    return ServiceError("ModelError", text, status=424, OriginalStatusCode=413, OriginalMessage=text, LogStreamArn="")


def model_not_ready(target_model: str) -> ServiceError:
    return ServiceError("ModelNotReadyException", f"Model {target_model} is still loading, try again.", status=429)


def missing_model_data(bucket: str, key: str) -> ServiceError:
    return ServiceError(
        "ValidationError",
        f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object located "
        "at the URL and that the role passed to CreateModel has permissions to download the model.",
    )


def storage_failed(reason: str) -> ServiceError:
    return ServiceError("InternalDependencyException", f"Amazon S3 did not give the model data: {reason}", status=530)


def disk_full(message: str) -> ServiceError:
    return ServiceError("InternalFailure", f"The instance's volume has no room for the model: {message}", status=500)


def instance_lost(reason: str) -> ServiceError:
    return ServiceError("ServiceUnavailable", f"The instance went away during the request: {reason}", status=503)


def no_instance(reason: str) -> ServiceError:
    return ServiceError("ServiceUnavailable", f"No instance is in service: {reason}", status=503)


def throttled() -> ServiceError:
    return ServiceError("ThrottlingException", "Rate exceeded")

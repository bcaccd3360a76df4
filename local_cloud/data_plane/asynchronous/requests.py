"""One call of InvokeEndpointAsync as a request, checked as SageMaker checks it."""

import re
import time
import uuid
from dataclasses import dataclass, field

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.answers import HEADER_PREFIX, Headers, sagemaker_header
from local_cloud.data_plane.desired import QueueSpec

MAX_INLINE_BYTES = 128_000
_PASSED = (b"accept", HEADER_PREFIX + b"custom-attributes", HEADER_PREFIX + b"inference-id")
_LOCATION = re.compile(r"(https|s3)://([^/]+)/?(.*)")
_EXTENSION = re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}")
_FILENAME = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_.]{0,31}")
_TTL_SECONDS, _TIMEOUT_SECONDS = (60, 21_600, 21_600), (1, 3_600, 900)
"""Least, most and default."""


@dataclass
class Request:
    """One request, from InvokeEndpointAsync to its result."""

    inference_id: str
    body: bytes | None
    input_location: str | None
    content_type: str
    passed: list[tuple[bytes, bytes]]
    """Headers for the container."""
    output_location: str
    failure_location: str
    ttl_seconds: int
    timeout_seconds: int
    received_at: float
    """Wall-clock time."""
    since: float = field(default_factory=time.monotonic)
    attempts: int = 0


def request_of(spec: QueueSpec, headers: Headers, body: bytes) -> Request:
    """The request of a call. Raises ServiceError."""
    location = sagemaker_header(headers, b"inputlocation")
    if (location is None) == (not body):
        raise ServiceError("ValidationError", "Exactly one of InputLocation and Body must be provided.")
    if location is not None and not _LOCATION.fullmatch(location):
        raise ServiceError("ValidationError", f"InputLocation {location} is not an S3 URI.")
    if len(body) > MAX_INLINE_BYTES:
        raise ServiceError("ValidationError", f"Body of {len(body)} bytes exceeds {MAX_INLINE_BYTES} bytes.")
    inference_id = sagemaker_header(headers, b"inference-id") or str(uuid.uuid4())
    extension, file_name = sagemaker_header(headers, b"s3outputpathextension"), sagemaker_header(headers, b"filename")
    if extension is not None and not _EXTENSION.fullmatch(extension):
        raise ServiceError("ValidationError", f"S3OutputPathExtension {extension} is not allowed.")
    if file_name is not None and not _FILENAME.fullmatch(file_name):
        raise ServiceError("ValidationError", f"Filename {file_name} is not allowed.")
    name = str(uuid.uuid4())
    below = "/".join(part.strip("/") for part in (extension, file_name or f"{name}.out") if part)
    failed = "/".join(part.strip("/") for part in (extension, f"{name}-error.out") if part)
    return Request(
        inference_id=inference_id,
        body=body or None,
        input_location=location,
        content_type=sagemaker_header(headers, b"content-type") or "application/octet-stream",
        passed=[(key, headers[key]) for key in _PASSED if key in headers]
        + ([(b"accept", headers[HEADER_PREFIX + b"accept"])] if HEADER_PREFIX + b"accept" in headers else []),
        output_location=f"{spec.output_path.rstrip('/')}/{below}" if spec.output_path else "",
        failure_location=f"{spec.failure_path.rstrip('/')}/{failed}" if spec.failure_path else "",
        ttl_seconds=_seconds(headers, b"requestttlseconds", *_TTL_SECONDS),
        timeout_seconds=_seconds(headers, b"invocationtimeoutseconds", *_TIMEOUT_SECONDS),
        received_at=time.time(),
    )


def _seconds(headers: Headers, name: bytes, least: int, most: int, default: int) -> int:
    text = sagemaker_header(headers, name)
    if text is None:
        return default
    if not text.isdigit() or not least <= int(text) <= most:
        raise ServiceError("ValidationError", f"{name.decode()} is {text}, allowed: {least} to {most}.")
    return int(text)

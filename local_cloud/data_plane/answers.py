"""The headers of an invocation, and what the front sends back."""

import uuid
from dataclasses import dataclass

from local_cloud.core import invocation_rules
from local_cloud.core.errors import ServiceError

Headers = dict[bytes, bytes]

HEADER_PREFIX = b"x-amzn-sagemaker-"


@dataclass(frozen=True)
class Answer:
    """What the front sends back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def refused(error: ServiceError) -> Answer:
    status, headers, body = invocation_rules.error_response(error)
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Answer(status, [*fields, (b"x-amzn-RequestId", str(uuid.uuid4()).encode())], body)


def sagemaker_header(headers: Headers, name: bytes) -> str | None:
    """The value of `x-amzn-sagemaker-<name>`; None where the request has none."""
    value = headers.get(HEADER_PREFIX + name)
    return None if value is None else value.decode("utf-8", "replace")

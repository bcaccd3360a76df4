"""Submits a request to an asynchronous endpoint: inside the call while it is small, as an object in S3 above that."""

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tierfleet.runtime.client.errors import EndpointGoneError, RequestInvalidError
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.hosting.asynchronous import (
    LEAST_TTL_SECONDS,
    MAX_INLINE_BYTES,
    MAX_INPUT_BYTES,
    MOST_INVOCATION_SECONDS,
    MOST_TTL_SECONDS,
)
from tierfleet.runtime.names import async_prefix
from tierfleet.runtime.route_document import Route
from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from tierfleet.runtime.client.call import Call

_S3_LOCATION: Final = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_LONGEST_LOCATION_CHARACTERS: Final = 1_024


class _Allowed(NamedTuple):
    """What a value of a stored submission may be."""

    fits: Callable[[Any], bool]
    words: str


_TEXT: Final = _Allowed(lambda value: isinstance(value, str) and bool(value), "a text")
_LOCATION: Final = _Allowed(
    lambda value: isinstance(value, str) and bool(_S3_LOCATION.fullmatch(value)), "s3://bucket/key"
)
_ALLOWED: Final = {
    "model_version": _Allowed(lambda value: value is None or _TEXT.fits(value), "a text or null"),
    "input_location": _Allowed(lambda value: value is None or _LOCATION.fits(value), "s3://bucket/key or null"),
    "output_location": _LOCATION,
    "failure_location": _LOCATION,
    "submitted_at": _Allowed(lambda value: type(value) in (int, float) and value >= 0, "a number of seconds"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request in the queue of an asynchronous endpoint.

    >>> submission = fleet.submit("m08", b"0.3,1.0,12.5")
    >>> submission.endpoint, submission.input_location
    ('fraud--prod--backfill--m08--async-m5-large', None)
    >>> Submission.from_json(submission.to_json()) == submission
    True

    It may be stored as JSON, and its result read by another process, until the bucket's life cycle deletes it.
    """

    tenant: str
    tier: str
    endpoint: str

    model_version: str | None
    """The version in the routes when it was submitted. After an update of the endpoint a newer one answers it."""

    inference_id: str
    """SageMaker's id of the request: in notifications and in the endpoint's data log."""

    input_location: str | None
    """The object of the request, `s3://bucket/key`; None if the body was sent in the call."""

    output_location: str
    """Where the reply will be."""

    failure_location: str
    """Where the reason of a failure will be."""

    submitted_at: float
    """Seconds since the epoch."""

    def to_json(self) -> dict[str, Any]:
        """Plain texts and numbers, ready for json.dumps."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The inverse of to_json. Raises ValueError for anything else."""
        names = [field.name for field in fields(cls)]
        if not isinstance(document, dict) or document.keys() != set(names):
            raise ValueError(f"not a submission: it must have exactly {', '.join(names)}")
        wrong = [
            f"{name} is {repr(value)[:80]}, allowed: {_ALLOWED.get(name, _TEXT).words}"
            for name, value in document.items()
            if not _ALLOWED.get(name, _TEXT).fits(value)
        ]
        if wrong:
            raise ValueError(f"not a submission: {'; '.join(wrong)}")
        return cls(**document)


@dataclass(frozen=True, kw_only=True)
class AsyncRequest:
    """What a caller submits. Exactly one of body and s3 is given."""

    tenant: str
    body: bytes | None
    s3: str | None
    content_type: str
    accept: str
    request_ttl_seconds: int | None
    invocation_timeout_seconds: int | None

    def check(self) -> None:
        """Raises RequestInvalidError with everything that is wrong, whatever the fleet has deployed."""
        wrong = []
        if (self.body is None) == (self.s3 is None):
            given = "neither" if self.body is None else "both"
            wrong.append(f"{given} of body and s3 given, allowed: one of them")
        # SageMaker takes an empty Body for none.
        if self.body is not None and not 1 <= len(self.body) <= MAX_INPUT_BYTES:
            wrong.append(f"the body has {len(self.body):,} bytes, allowed: 1 to {MAX_INPUT_BYTES:,}")
        if self.s3 is not None and not (
            isinstance(self.s3, str)
            and _S3_LOCATION.fullmatch(self.s3)
            and len(self.s3) <= _LONGEST_LOCATION_CHARACTERS
        ):
            wrong.append(f"s3 is {repr(self.s3)[:80]}, allowed: s3://bucket/key of up to 1,024 characters")
        ranges = (
            ("request_ttl_seconds", self.request_ttl_seconds, LEAST_TTL_SECONDS, MOST_TTL_SECONDS),
            ("invocation_timeout_seconds", self.invocation_timeout_seconds, 1, MOST_INVOCATION_SECONDS),
        )
        for name, value, least, most in ranges:
            if value is not None and not (type(value) is int and least <= value <= most):
                wrong.append(f"{name} is {value!r}, allowed: {least} to {most:,}")
        if wrong:
            raise RequestInvalidError(f"{'; '.join(wrong)}; correct the request", tenant=self.tenant[:80])


def submit(call: "Call", aws: CallingClients, request: AsyncRequest) -> Submission:
    """Put the request into the queue. Raises CallError."""
    uploads: dict[str, str] = {}

    def check(route: Route) -> None:
        if call.fell_back:
            raise EndpointGoneError(
                f"tenant {request.tenant}: its asynchronous endpoint does not exist, and the default tier has no "
                "queue; compare the deployed routes with the fleet's stack",
                tenant=request.tenant,
            )
        _check_route(route, request)

    def send(route: Route) -> Submission:
        inline = request.body is not None and len(request.body) <= MAX_INLINE_BYTES and takes_inline_bodies(aws)
        location = request.s3
        if request.body is not None and not inline:
            # An attempt that is repeated does not upload again.
            location = uploads.get(route.endpoint) or _upload(call, aws, route, request)
            uploads[route.endpoint] = location
        with time_limit(min(call.seconds_left(), route.shape.longest_answer_seconds)):
            answer = aws.runtime.invoke_endpoint_async(**_parameters(route, request, location))
        return Submission(
            tenant=request.tenant,
            tier=route.tier,
            endpoint=route.endpoint,
            model_version=route.model_version,
            inference_id=answer["InferenceId"],
            input_location=location,
            output_location=answer["OutputLocation"],
            failure_location=answer["FailureLocation"],
            # Not the monotonic clock: another process may read the result.
            submitted_at=time.time(),
        )

    _, submission = call.attempt(check, send)
    return submission


def takes_inline_bodies(aws: CallingClients) -> bool:
    """Whether this version of botocore knows the Body of InvokeEndpointAsync, which came in 2026."""
    shape = aws.runtime.meta.service_model.operation_model("InvokeEndpointAsync").input_shape
    return shape is not None and "Body" in shape.members


def split_location(location: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises ValueError."""
    match = _S3_LOCATION.fullmatch(location)
    if match is None:
        raise ValueError(f"{location[:80]!r} is not s3://bucket/key")
    return match["bucket"], match["key"]


def _check_route(route: Route, request: AsyncRequest) -> None:
    where = f"tenant {request.tenant} on endpoint {route.endpoint}"
    if route.shape.request_response:
        raise RequestInvalidError(
            f"{where}: a {route.shape.hosting} endpoint has no queue; use invoke or predict, or host the tenant on a "
            'tier with hosting = "async"',
            tenant=request.tenant,
            endpoint=route.endpoint,
        )
    readable = f"s3://{route.bucket}/{async_prefix(route.tier, 'input', request.tenant)}"
    if request.s3 is not None and not request.s3.startswith(readable):
        raise RequestInvalidError(
            f"{where}: s3 is {request.s3[:200]}, and the endpoint's role reads only {readable}; copy the object there",
            tenant=request.tenant,
            endpoint=route.endpoint,
        )


def _upload(call: "Call", aws: CallingClients, route: Route, request: AsyncRequest) -> str:
    # A name of its own: SageMaker reads the object later, and a second upload of that name would replace it.
    key = f"{async_prefix(route.tier, 'input', request.tenant)}{uuid.uuid4().hex}"
    body = request.body or b""
    with time_limit(call.seconds_left()):
        aws.s3.put_object(Bucket=str(route.bucket), Key=key, Body=body, ContentType=request.content_type)
    return f"s3://{route.bucket}/{key}"


def _parameters(route: Route, request: AsyncRequest, location: str | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "EndpointName": route.endpoint,
        "ContentType": request.content_type,
        "Accept": request.accept,
        "InputLocation": location,
        "Body": None if location else request.body,
        "RequestTTLSeconds": request.request_ttl_seconds,
        "InvocationTimeoutSeconds": request.invocation_timeout_seconds,
    }
    return {name: value for name, value in parameters.items() if value is not None}

"""Classifies AWS errors by what they mean for the call.

The texts and codes are those of SageMaker, S3 and botocore. A multi-model endpoint of the stock XGBoost image answers
503 for a busy container and for an invalid payload; only the text differs.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPException
from typing import Any, Final

import urllib3.exceptions
from botocore import exceptions
from botocore.exceptions import ClientError

# A container may answer with a traceback, or with the caller's rows.
_LONGEST_DETAIL_CHARACTERS: Final = 300
_FROM_CONTAINER: Final = re.compile(r"Received (?:client|server) error \(\d+\) from ([A-Za-z0-9-]{1,63}) with message")


class CredentialsError(Exception):
    """The credentials cannot be renewed. The message is one sentence that says why."""


class Kind(StrEnum):
    """What happened, as a word for logs and metrics."""

    MODEL_NOT_READY = "model-not-ready"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    DEPENDENCY = "dependency"
    CONTAINER_BUSY = "container-busy"
    OUT_OF_MEMORY = "out-of-memory"
    READ_TIMEOUT = "read-timeout"
    CONNECTION = "connection"
    PAYLOAD_OR_MODEL = "payload-or-model"
    PAYLOAD = "payload"
    NOT_ACCEPTABLE = "not-acceptable"
    MODEL = "model"
    MISSING_MODEL = "missing-model"
    UNKNOWN_ENDPOINT = "unknown-endpoint"
    UNKNOWN_BUCKET = "unknown-bucket"
    REQUEST = "request"
    DENIED = "denied"
    UNEXPECTED = "unexpected"


_RETRYABLE: Final = frozenset(
    {
        Kind.MODEL_NOT_READY,
        Kind.THROTTLED,
        Kind.UNAVAILABLE,
        Kind.DEPENDENCY,
        Kind.CONTAINER_BUSY,
        Kind.OUT_OF_MEMORY,
        Kind.READ_TIMEOUT,
        Kind.CONNECTION,
    }
)
_SAME_FOR_EVERY_TENANT: Final = frozenset({Kind.DENIED, Kind.UNKNOWN_ENDPOINT, Kind.UNKNOWN_BUCKET})

_MEANING: Final[Mapping[Kind, str]] = {
    Kind.MODEL_NOT_READY: "the model is still loading",
    Kind.THROTTLED: "AWS throttles the calls",
    Kind.UNAVAILABLE: "the service is unavailable",
    Kind.DEPENDENCY: "a service that SageMaker depends on failed",
    Kind.CONTAINER_BUSY: "the model server has no free worker",
    Kind.OUT_OF_MEMORY: "the instance had no memory left for the model",
    Kind.READ_TIMEOUT: "no answer in time; the model may still be loading",
    Kind.CONNECTION: "the connection failed",
    Kind.PAYLOAD_OR_MODEL: "the model server rejected the payload or cannot use the model",
    Kind.PAYLOAD: "the model server rejected the payload",
    Kind.NOT_ACCEPTABLE: "the model server cannot answer in the requested format",
    Kind.MODEL: "the model failed",
    Kind.MISSING_MODEL: "the artefact does not exist, or the endpoint's role may not read it",
    Kind.UNKNOWN_ENDPOINT: "the endpoint does not exist",
    Kind.UNKNOWN_BUCKET: "the bucket does not exist",
    Kind.REQUEST: "the request is invalid",
    Kind.DENIED: "access denied",
    Kind.UNEXPECTED: "unexpected error",
}

_KIND_OF_CODE: Final[Mapping[str, Kind]] = {
    "ModelNotReadyException": Kind.MODEL_NOT_READY,
    "ThrottlingException": Kind.THROTTLED,
    "Throttling": Kind.THROTTLED,
    "TooManyRequestsException": Kind.THROTTLED,
    "SlowDown": Kind.THROTTLED,
    "ServiceUnavailable": Kind.UNAVAILABLE,
    "InternalFailure": Kind.UNAVAILABLE,
    "InternalError": Kind.UNAVAILABLE,
    "InternalServerException": Kind.UNAVAILABLE,
    "InternalDependencyException": Kind.DEPENDENCY,
    "NoSuchKey": Kind.MISSING_MODEL,
    "NoSuchBucket": Kind.UNKNOWN_BUCKET,
    "AccessDenied": Kind.DENIED,
    "AccessDeniedException": Kind.DENIED,
    "UnrecognizedClientException": Kind.DENIED,
    "InvalidClientTokenId": Kind.DENIED,
    "ExpiredToken": Kind.DENIED,
    "ExpiredTokenException": Kind.DENIED,
}


@dataclass(frozen=True)
class Verdict:
    """The kind of an error, and one sentence for a person."""

    kind: Kind
    sentence: str

    @property
    def retryable(self) -> bool:
        return self.kind in _RETRYABLE

    @property
    def same_for_every_tenant(self) -> bool:
        """Whether every tenant's call to the same endpoint or bucket would fail."""
        return self.kind in _SAME_FOR_EVERY_TENANT


def classify(error: Exception) -> Verdict:
    """The verdict on any exception that a boto3 call may raise. Never raises."""
    if isinstance(error, ClientError):
        response = _mapping(error.response)
        said = _mapping(response.get("Error"))
        message = _text(said.get("Message"))
        detail = _of_container(message) + (_text(response.get("OriginalMessage")) or message)
        return _verdict(_kind_of_reply(response), f"{_text(said.get('Code'))}: {detail}")
    return _verdict(_kind_of_exception(error), f"{type(error).__name__}: {_text(error)}")


def _of_container(message: str) -> str:
    """`features: ` where SageMaker names one of several containers; the only one is `primary` or `model`."""
    named = _FROM_CONTAINER.match(message)
    return f"{named[1]}: " if named and named[1] not in ("primary", "model") else ""


def _verdict(kind: Kind, detail: str) -> Verdict:
    one_line = " ".join(detail.split())
    if len(one_line) > _LONGEST_DETAIL_CHARACTERS:
        one_line = one_line[: _LONGEST_DETAIL_CHARACTERS - 1] + "…"
    return Verdict(kind, f"{_MEANING[kind]} ({one_line})")


def _mapping(value: object) -> Mapping[str, Any]:
    """A part of a reply that should be an object; empty if it is not."""
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    if value is None:
        return ""
    try:
        return str(value)
    except Exception:
        # An int of more than 4,300 digits; an exception whose own text fails.
        return f"a {type(value).__name__} that has no text"


def _whole_number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _kind_of_reply(response: Mapping[str, Any]) -> Kind:
    said = _mapping(response.get("Error"))
    code, message = _text(said.get("Code")), _text(said.get("Message")).lower()
    if code == "ModelError":
        status = _whole_number(response.get("OriginalStatusCode"))
        return _kind_of_model_error(status, _text(response.get("OriginalMessage")) or message)
    if code in {"ValidationError", "ValidationException"}:
        return _kind_of_validation_error(message)
    if code in {"AccessDenied", "AccessDeniedException"} and "s3:listbucket" in message:
        # S3 answers so for a *missing* key to a caller that may not list the bucket.
        return Kind.MISSING_MODEL
    return _KIND_OF_CODE.get(code) or _kind_of_status(
        _whole_number(_mapping(response.get("ResponseMetadata")).get("HTTPStatusCode"))
    )


def _kind_of_status(status: int) -> Kind:
    """For a reply without a known code, such as a load balancer's empty 503, to which botocore gives the code "503"."""
    if status == 429:
        return Kind.THROTTLED
    if status in {401, 403}:
        return Kind.DENIED
    return Kind.UNAVAILABLE if status >= 500 else Kind.UNEXPECTED


def _kind_of_model_error(original_status_code: int, original_message: str) -> Kind:
    # The container contract's status for "no memory". SageMaker unloads other models and tries again before.
    # docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
    if original_status_code == 507:
        return Kind.OUT_OF_MEMORY
    # The stock image on a multi-model endpoint says "Prediction failed" for an invalid row, an unknown content type and
    # a model that does not load. A retry helps none of them.
    if original_status_code == 503:
        return Kind.PAYLOAD_OR_MODEL if "prediction failed" in original_message.lower() else Kind.CONTAINER_BUSY
    if original_status_code == 406:
        return Kind.NOT_ACCEPTABLE
    return Kind.PAYLOAD if 400 <= original_status_code < 500 else Kind.MODEL


def _kind_of_validation_error(message: str) -> Kind:
    if "failed to download model data" in message or "could not find model" in message:
        return Kind.MISSING_MODEL
    if "target container" in message or "container hostname" in message:
        return Kind.REQUEST
    if "endpoint" in message and ("not found" in message or "could not find" in message):
        return Kind.UNKNOWN_ENDPOINT
    return Kind.REQUEST


def _kind_of_exception(error: Exception) -> Kind:
    match error:
        case exceptions.ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return Kind.READ_TIMEOUT
        case exceptions.ConnectionError() | exceptions.HTTPClientError() | exceptions.IncompleteReadError():
            return Kind.CONNECTION
        case TimeoutError():
            return Kind.READ_TIMEOUT
        case urllib3.exceptions.HTTPError() | HTTPException() | ssl.SSLError() | ConnectionError():
            # While botocore reads the body of an error, it does not convert these into its own.
            return Kind.CONNECTION
        case (
            CredentialsError()
            | exceptions.NoCredentialsError()
            | exceptions.PartialCredentialsError()
            | exceptions.CredentialRetrievalError()
            | exceptions.TokenRetrievalError()
            | exceptions.SSOError()
            | exceptions.MetadataRetrievalError()
            | exceptions.RefreshWithMFAUnsupportedError()
            | exceptions.UnknownCredentialError()
            | exceptions.InvalidConfigError()
            | exceptions.ProfileNotFound()
            | exceptions.ConfigNotFound()
            | exceptions.ConfigParseError()
        ):
            return Kind.DENIED
        case exceptions.ParamValidationError():
            return Kind.REQUEST
        case _:
            return Kind.UNEXPECTED

"""The errors of a call: one class for each thing a caller can do about it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tierfleet.runtime.aws_errors import Kind, Verdict, classify
from tierfleet.runtime.catalog import CatalogError, NoSuchModelError
from tierfleet.runtime.route_document import RoutesError


class CallError(Exception):
    """A call that was not answered.

    >>> try:
    ...     fleet.invoke("m38", b"1,2,3")
    ... except CallError as error:
    ...     print(type(error).__name__, error.tenant, error.kind.value)
    ModelMissingError m38 missing-model

    Its text is one sentence with the tenant, the endpoint and what to do.
    tenant: the tenant that was called. endpoint: the endpoint of the last attempt, None if none was made. kind: what
    happened, for logs and metrics; None if AWS returned no error.
    """

    def __init__(self, sentence: str, *, tenant: str, endpoint: str | None = None, kind: Kind | None = None) -> None:
        super().__init__(sentence)
        self.tenant = tenant
        self.endpoint = endpoint
        self.kind = kind


class RequestInvalidError(CallError):
    """The call is invalid: not a tenant id, too large a body, a bad argument. The same call would fail again."""


class RoutesUnavailableError(CallError):
    """No route document could be read, so the tenant's endpoint is unknown."""


class CatalogUnavailableError(CallError):
    """The tenant's pointer could not be read, or is invalid."""


class ModelMissingError(CallError):
    """Nothing is published for the tenant, or the artefact that its pointer names was deleted."""


class EndpointGoneError(CallError):
    """The endpoint in the routes does not exist, and no other can serve the tenant."""


class PayloadRejectedError(CallError):
    """The model server rejected the body. The stock image reports an unusable model in the same way."""


class ModelFailedError(CallError):
    """The model server failed on this call."""


class InferenceFailedError(CallError):
    """An asynchronous request failed, and its failure object does not say whether the body or the model was wrong.

    Its text has the start of that object, which is often the model server's own reply.
    """


class RequestExpiredError(CallError):
    """An asynchronous request was too long in the queue, or ran too long, or it is so old that its result is gone."""


class AccessDeniedError(CallError):
    """The caller's identity lacks a permission that the call needs."""


class TenantBusyError(CallError):
    """The tenant's other calls used all its slots until the deadline."""


class DeadlineExceededError(CallError):
    """No answer came before the deadline. `kind` says how the last attempt failed."""


class ServiceFailedError(CallError):
    """AWS failed on every attempt."""


class ReplyFormatError(CallError):
    """The reply's body does not have what was requested for each row."""


class ContributionsUnavailableError(CallError):
    """The tenant's image or model gives no contributions of features to scores."""


@dataclass(frozen=True)
class Lookup:
    """What a call reads from AWS before it can be sent. error: the error of a read that fails."""

    what: str
    source: str
    error: type[CallError]


ROUTES: Final = Lookup("routes", "AppConfig", RoutesUnavailableError)
POINTER: Final = Lookup("pointer", "S3", CatalogUnavailableError)
RESULT: Final = Lookup("result", "S3", ServiceFailedError)

# Every other kind is a failure of AWS: ServiceFailedError.
_ERROR_OF_KIND: Final[Mapping[Kind, type[CallError]]] = {
    Kind.PAYLOAD: PayloadRejectedError,
    Kind.NOT_ACCEPTABLE: RequestInvalidError,
    Kind.PAYLOAD_OR_MODEL: PayloadRejectedError,
    Kind.MODEL: ModelFailedError,
    Kind.MISSING_MODEL: ModelMissingError,
    Kind.UNKNOWN_ENDPOINT: EndpointGoneError,
    Kind.UNKNOWN_BUCKET: CatalogUnavailableError,
    Kind.REQUEST: RequestInvalidError,
    Kind.DENIED: AccessDeniedError,
}
_REMEDY: Final[Mapping[type[CallError], str]] = {
    PayloadRejectedError: "check the row's format and number of features, then the endpoint's log group",
    ModelFailedError: "read the endpoint's log group",
    ModelMissingError: "publish the tenant's model",
    EndpointGoneError: "compare the deployed routes with the fleet's stack",
    CatalogUnavailableError: "check the account, the region and the models bucket given to FleetClient",
    RequestInvalidError: "correct the request",
    InferenceFailedError: "check the body, then the endpoint's log group",
    RequestExpiredError: "submit it again with a longer request_ttl_seconds or invocation_timeout_seconds, or raise "
    "the tier's instances.max",
    AccessDeniedError: "check the credentials, and compare the caller's policy with docs/calling.md",
    ServiceFailedError: "try again later, and check the endpoint's alarms",
    DeadlineExceededError: "give the call more time, or warm the tenant up",
}
_MODEL_ERROR: Final = re.compile(r"Received (?P<side>client|server) error \(\d+\)")
# AWS documents no sentence. A model server's reply, which is often JSON, may say that a card or a session expired.
_EXPIRED: Final = re.compile(r"\brequest\b[^.]{0,40}\bexpired\b", re.IGNORECASE)
_OF_A_MODEL_SERVER: Final = ("{", "[", "<", '"')
# A failure object may be a whole traceback of the model server.
_LONGEST_FAILURE_CHARACTERS: Final = 300
_NETWORK: Final = "check the network, the region and AWS_ENDPOINT_URL"


def call_error(verdict: Verdict, *, tenant: str, endpoint: str | None, out_of_time: bool = False) -> CallError:
    """The error for a verdict. out_of_time: another attempt was due, but the deadline came first."""
    error = DeadlineExceededError if out_of_time else _ERROR_OF_KIND.get(verdict.kind, ServiceFailedError)
    remedy = _NETWORK if verdict.kind is Kind.CONNECTION else _REMEDY[error]
    return error(
        f"{_where(tenant, endpoint)}: {verdict.sentence}; {remedy}", tenant=tenant, endpoint=endpoint, kind=verdict.kind
    )


def contributions_error(why: str, *, tenant: str, endpoint: str | None, kind: Kind | None = None) -> CallError:
    """The error of a call whose scores cannot be explained."""
    sentence = (
        f"{_where(tenant, endpoint)}: its scores cannot be explained: {why}; "
        "contributions need the image tierfleet and a model that it can explain (docs/calling.md)"
    )
    return ContributionsUnavailableError(sentence, tenant=tenant, endpoint=endpoint, kind=kind)


def unexpected_error(error: Exception, *, tenant: str) -> CallError:
    """The error of a call that failed outside its requests, for example because no thread could be started."""
    return call_error(classify(error), tenant=tenant, endpoint=None)


def unread_error(
    verdict: Verdict, lookup: Lookup, *, tenant: str, endpoint: str | None, out_of_time: bool = False
) -> CallError:
    """The error of a call that was not sent because AWS did not return its routes or pointer."""
    # "Try again later" would mislead: these fail until someone changes a policy or the settings.
    if verdict.kind in {Kind.DENIED, Kind.UNKNOWN_BUCKET}:
        remedy = _REMEDY[_ERROR_OF_KIND[verdict.kind]]
    else:
        remedy = _NETWORK if verdict.kind in {Kind.CONNECTION, Kind.READ_TIMEOUT} else "try again later"
    error = AccessDeniedError if verdict.kind is Kind.DENIED else lookup.error
    if out_of_time:
        error, remedy = DeadlineExceededError, f"{remedy}, or give the call more time"
    why = f"its {lookup.what} could not be read from {lookup.source}: {verdict.sentence}; {remedy}"
    return error(f"{_where(tenant, endpoint)}: {why}", tenant=tenant, endpoint=endpoint, kind=verdict.kind)


def lookup_error(failure: RoutesError | CatalogError, *, tenant: str, endpoint: str | None) -> CallError:
    """The error of a call whose routes or pointer are invalid."""
    where = _where(tenant, endpoint)
    if isinstance(failure, RoutesError):
        remedy = "deploy the fleet, or check its name, environment, account and region"
        return RoutesUnavailableError(f"{where}: {failure}; {remedy}", tenant=tenant, endpoint=endpoint)
    if isinstance(failure, NoSuchModelError):
        remedy = _REMEDY[ModelMissingError]
        return ModelMissingError(
            f"{where}: {failure}; {remedy}", tenant=tenant, endpoint=endpoint, kind=Kind.MISSING_MODEL
        )
    return CatalogUnavailableError(f"{where}: {failure}; publish the model again", tenant=tenant, endpoint=endpoint)


def inference_error(failure: str, *, tenant: str, endpoint: str) -> CallError:
    """The error of an asynchronous request, from the text at its FailureLocation."""
    text = " ".join(failure.split())
    shown = text if len(text) <= _LONGEST_FAILURE_CHARACTERS else f"{text[:_LONGEST_FAILURE_CHARACTERS]}…"
    error, kind = _kind_of_failure(text)
    remedy = _REMEDY[error]
    sentence = (
        f"{_where(tenant, endpoint)}: the asynchronous request failed: {shown or 'no reason was given'}; {remedy}"
    )
    return error(sentence, tenant=tenant, endpoint=endpoint, kind=kind)


def _kind_of_failure(text: str) -> tuple[type[CallError], Kind | None]:
    """SageMaker's own sentences are recognised; anything else is the model server's reply, whose status is lost."""
    if model_error := _MODEL_ERROR.search(text):
        if model_error["side"] == "client":
            return PayloadRejectedError, Kind.PAYLOAD
        return ModelFailedError, Kind.MODEL
    if _EXPIRED.search(text) and not text.startswith(_OF_A_MODEL_SERVER):
        return RequestExpiredError, None
    return InferenceFailedError, None


def gone_error(request: str, *, seconds: float, tenant: str, endpoint: str) -> CallError:
    """The error of an asynchronous request without an outcome that is too old to get one."""
    sentence = (
        f"{_where(tenant, endpoint)}: request {request} has neither a result nor a failure, and none lives longer than "
        f"{seconds / 3600:g} hours: the bucket's life cycle deleted its result (expire_after_days), or its endpoint "
        "went with its queue; submit it again"
    )
    return RequestExpiredError(sentence, tenant=tenant, endpoint=endpoint)


def too_late_error(lookup: Lookup | None, *, seconds: float, tenant: str, endpoint: str | None) -> CallError:
    """The error of a call that ran out of time between two attempts, or while it waited for `lookup`."""
    if lookup is None:
        why, remedy = "the deadline passed", _REMEDY[DeadlineExceededError]
    else:
        why, remedy = f"{lookup.source} did not return its {lookup.what}", f"{_NETWORK}, or give the call more time"
    sentence = f"{_where(tenant, endpoint)}: {why} after {seconds:.1f} s; {remedy}"
    return DeadlineExceededError(sentence, tenant=tenant, endpoint=endpoint)


def _where(tenant: str, endpoint: str | None) -> str:
    return f"tenant {tenant} on endpoint {endpoint}" if endpoint else f"tenant {tenant}"

"""What a call of a tenant's model can fail with: one class per thing to do about it, one clear sentence each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tierfleet.runtime.aws_errors import Kind, Verdict, classify
from tierfleet.runtime.catalog import CatalogError, NoSuchModelError
from tierfleet.runtime.route_document import RoutesError


class CallError(Exception):
    """A call that was not answered. Its text is one sentence with the tenant, the endpoint and what to do.

    tenant: whose call; endpoint: where it was sent last, None if it was not sent; kind: what happened, for logs and
    metrics, None if no reply of AWS was at fault.
    """

    def __init__(self, sentence: str, *, tenant: str, endpoint: str | None = None, kind: Kind | None = None) -> None:
        super().__init__(sentence)
        self.tenant = tenant
        self.endpoint = endpoint
        self.kind = kind


class RequestInvalidError(CallError):
    """The call itself is wrong: no tenant id, too large a body, a bad argument. The same call fails again."""


class RoutesUnavailableError(CallError):
    """No route document could be read, so nobody knows where the tenant's model is served."""


class CatalogUnavailableError(CallError):
    """The tenant's pointer could not be read, or cannot be used."""


class ModelMissingError(CallError):
    """Nothing is published for the tenant, or the archive its pointer names is gone."""


class EndpointGoneError(CallError):
    """The endpoint in the routes does not exist, and no other can serve the tenant."""


class PayloadRejectedError(CallError):
    """The model server rejected the body, or (the stock image does not tell) cannot use the model."""


class ModelFailedError(CallError):
    """The model server failed on this call."""


class AccessDeniedError(CallError):
    """The caller's identity may not do what the call needs."""


class TenantBusyError(CallError):
    """As many calls of this tenant are under way as one may have, and none ended before the deadline."""


class DeadlineExceededError(CallError):
    """No answer before the caller's deadline; `kind` says what the last attempt met."""


class ServiceFailedError(CallError):
    """AWS kept failing; the attempts are used up."""


class ReplyFormatError(CallError):
    """The reply's body does not hold what was asked for, row by row."""


class ContributionsUnavailableError(CallError):
    """The tenant's image or model gives no contributions of features to scores."""


@dataclass(frozen=True)
class Lookup:
    """What a call reads of AWS before it can be sent; error: what a read that fails ends the call with."""

    what: str
    source: str
    error: type[CallError]


ROUTES: Final = Lookup("routes", "AppConfig", RoutesUnavailableError)
POINTER: Final = Lookup("pointer", "S3", CatalogUnavailableError)

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
    AccessDeniedError: "check the credentials, and compare the caller's policy with docs/calling.md",
    ServiceFailedError: "try again later, and look at the endpoint's alarms",
    DeadlineExceededError: "give the call more time, or warm the tenant up",
}
_NETWORK: Final = "check the network, the region and AWS_ENDPOINT_URL"


def call_error(verdict: Verdict, *, tenant: str, endpoint: str | None, out_of_time: bool = False) -> CallError:
    """The error a verdict ends a call with; out_of_time: another attempt was due, but the deadline came first."""
    error = DeadlineExceededError if out_of_time else _ERROR_OF_KIND.get(verdict.kind, ServiceFailedError)
    remedy = _NETWORK if verdict.kind is Kind.CONNECTION else _REMEDY[error]
    return error(
        f"{_where(tenant, endpoint)}: {verdict.sentence}; {remedy}", tenant=tenant, endpoint=endpoint, kind=verdict.kind
    )


def contributions_error(why: str, *, tenant: str, endpoint: str | None, kind: Kind | None = None) -> CallError:
    """The error of a call whose scores are not explained."""
    sentence = (
        f"{_where(tenant, endpoint)}: its scores are not explained: {why}; contributions need the image tierfleet, and "
        "a model that it can explain (docs/calling.md)"
    )
    return ContributionsUnavailableError(sentence, tenant=tenant, endpoint=endpoint, kind=kind)


def unexpected_error(error: Exception, *, tenant: str) -> CallError:
    """The error of a call that failed outside of its requests, such as where no thread could be started."""
    return call_error(classify(error), tenant=tenant, endpoint=None)


def unread_error(
    verdict: Verdict, lookup: Lookup, *, tenant: str, endpoint: str | None, out_of_time: bool = False
) -> CallError:
    """The error of a call that was not sent, since AWS did not give its routes or its pointer."""
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
    """The error of a call whose routes or pointer cannot be used."""
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


def too_late_error(lookup: Lookup | None, *, seconds: float, tenant: str, endpoint: str | None) -> CallError:
    """The error of a call whose time ran out between two attempts, or while it waited for `lookup`."""
    if lookup is None:
        why, remedy = "the deadline passed", _REMEDY[DeadlineExceededError]
    else:
        why, remedy = f"its {lookup.what} did not come from {lookup.source}", f"{_NETWORK}, or give the call more time"
    sentence = f"{_where(tenant, endpoint)}: {why} after {seconds:.1f} s; {remedy}"
    return DeadlineExceededError(sentence, tenant=tenant, endpoint=endpoint)


def _where(tenant: str, endpoint: str | None) -> str:
    return f"tenant {tenant} on endpoint {endpoint}" if endpoint else f"tenant {tenant}"

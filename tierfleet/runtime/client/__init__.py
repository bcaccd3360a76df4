"""FleetClient, its settings, its reply and its errors: all that a caller imports."""

from tierfleet.runtime.client.client import FleetClient
from tierfleet.runtime.client.errors import (
    AccessDeniedError,
    CallError,
    CatalogUnavailableError,
    DeadlineExceededError,
    EndpointGoneError,
    InferenceFailedError,
    ModelFailedError,
    ModelMissingError,
    PayloadRejectedError,
    ReplyFormatError,
    RequestExpiredError,
    RequestInvalidError,
    RoutesUnavailableError,
    ServiceFailedError,
    TenantBusyError,
)
from tierfleet.runtime.client.reply import Reply
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.client.submission import Submission

__all__ = [
    "AccessDeniedError",
    "CallError",
    "CatalogUnavailableError",
    "ClientSettings",
    "DeadlineExceededError",
    "EndpointGoneError",
    "FleetClient",
    "InferenceFailedError",
    "ModelFailedError",
    "ModelMissingError",
    "PayloadRejectedError",
    "Reply",
    "ReplyFormatError",
    "RequestExpiredError",
    "RequestInvalidError",
    "RoutesUnavailableError",
    "ServiceFailedError",
    "Submission",
    "TenantBusyError",
]

"""FleetClient, its settings, its reply and its errors: all that a caller imports."""

from tierfleet.runtime.client.client import FleetClient
from tierfleet.runtime.client.errors import (
    AccessDeniedError,
    CallError,
    CatalogUnavailableError,
    DeadlineExceededError,
    EndpointGoneError,
    ModelFailedError,
    ModelMissingError,
    PayloadRejectedError,
    ReplyFormatError,
    RequestInvalidError,
    RoutesUnavailableError,
    ServiceFailedError,
    TenantBusyError,
)
from tierfleet.runtime.client.reply import Reply
from tierfleet.runtime.client.settings import ClientSettings

__all__ = [
    "AccessDeniedError",
    "CallError",
    "CatalogUnavailableError",
    "ClientSettings",
    "DeadlineExceededError",
    "EndpointGoneError",
    "FleetClient",
    "ModelFailedError",
    "ModelMissingError",
    "PayloadRejectedError",
    "Reply",
    "ReplyFormatError",
    "RequestInvalidError",
    "RoutesUnavailableError",
    "ServiceFailedError",
    "TenantBusyError",
]

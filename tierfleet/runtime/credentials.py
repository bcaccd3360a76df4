"""Renews expiring credentials in a separate thread, since their source may be slow or hang.

botocore renews them inside the call that signs next, without a time limit.
"""

import logging
import threading
from concurrent.futures import Future
from typing import Any, Final

import boto3

from tierfleet.runtime.aws_errors import CredentialsError
from tierfleet.runtime.single_flight import SingleFlight
from tierfleet.runtime.time_limit import seconds_allowed

# How long a call waits for new credentials while the old ones are valid.
PATIENCE_SECONDS: Final = 1.0
# Credentials that the machine provides by HTTP, over a connection that botocore keeps open.
_FROM_THE_MACHINE: Final = frozenset({"iam-role", "container-role"})

_log = logging.getLogger(__name__)


class RenewedAside:
    """Wraps expiring credentials for botocore's signers; thread-safe.

    held: a botocore RefreshableCredentials. A signer waits for new ones within its thread's time limit, and at most a
    second while the old ones are valid.
    """

    def __init__(self, held: Any) -> None:
        self._held = held
        self._flights: SingleFlight[bool, Any] = SingleFlight("tierfleet-credentials")
        self._late: Future[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def get_frozen_credentials(self) -> Any:
        """The credentials to sign with. Raises CredentialsError, and TimeoutError if they are not renewed in time."""
        held = self._held
        if not held.refresh_needed():
            return held.get_frozen_credentials()
        # botocore's margins: it renews from 15 minutes before they expire, and must from 10 minutes before.
        due = held.refresh_needed(refresh_in=held._mandatory_refresh_timeout)
        try:
            flight = self._flights.start(True, held.get_frozen_credentials)
        except RuntimeError as error:
            # No thread can be started.
            if due:
                raise CredentialsError(f"the credentials could not be renewed ({error})") from error
            return held._frozen_credentials
        allowed = seconds_allowed(threading.TIMEOUT_MAX)
        if not due:
            allowed = 0.0 if flight is self._late else min(PATIENCE_SECONDS, (allowed or 0.0) / 2)
        try:
            return flight.result(allowed)
        except MemoryError:
            raise
        except Exception as error:
            if not flight.done():
                if due:
                    raise TimeoutError("the credentials were not renewed in time") from error
                self._late = flight
            elif due:
                why = f"the credentials could not be renewed ({type(error).__name__}: {error})"
                raise CredentialsError(why) from error
            _log.warning("credentials not renewed, the old ones are still valid: %s: %s", type(error).__name__, error)
            return held._frozen_credentials


def renew_aside(*clients: Any) -> None:
    """Have these boto3 clients use RenewedAside. Clients without expiring credentials are left alone."""
    shields: dict[int, RenewedAside] = {}
    for client in clients:
        signer = getattr(client, "_request_signer", None)
        held = getattr(signer, "_credentials", None)
        if signer is not None and hasattr(held, "refresh_needed") and not isinstance(held, RenewedAside):
            signer._credentials = shields.setdefault(id(held), RenewedAside(held))


def session_after_fork(session: boto3.Session) -> boto3.Session:
    """The session for a forked child, whose credentials share no lock or connection with the parent's."""
    inner = session._session
    held = getattr(inner, "_credentials", None)
    if getattr(held, "method", None) in _FROM_THE_MACHINE:
        return boto3.Session(profile_name=inner.profile, region_name=session.region_name)
    if held is not None and hasattr(held, "_refresh_lock"):
        # A thread of the parent may hold it.
        held._refresh_lock = threading.Lock()
    return session

"""Credentials that expire are renewed in a thread of their own, since their source may be slow, or silent.

botocore renews them inside whichever call signs next, and waits without a limit.
"""

import logging
import threading
from concurrent.futures import Future
from typing import Any, Final

import boto3

from tierfleet.runtime.aws_errors import CredentialsError
from tierfleet.runtime.single_flight import SingleFlight
from tierfleet.runtime.time_limit import seconds_allowed

# How long a call waits for new credentials where the old ones still do.
PATIENCE_SECONDS: Final = 1.0
# What the machine gives by HTTP, over a connection that botocore keeps.
_FROM_THE_MACHINE: Final = frozenset({"iam-role", "container-role"})

_log = logging.getLogger(__name__)


class RenewedAside:
    """Stands before credentials that expire, for botocore's signers; thread-safe.

    held: a botocore RefreshableCredentials. A signer waits for new ones within its thread's time limit, and only for a
    second while the old ones still do.
    """

    def __init__(self, held: Any) -> None:
        self._held = held
        self._flights: SingleFlight[bool, Any] = SingleFlight("tierfleet-credentials")
        self._late: Future[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def get_frozen_credentials(self) -> Any:
        """What to sign with. Raises CredentialsError, and TimeoutError if they do not come in time."""
        held = self._held
        if not held.refresh_needed():
            return held.get_frozen_credentials()
        # botocore's own margins: 15 minutes before they expire new ones are asked for, 10 before they are due.
        due = held.refresh_needed(refresh_in=held._mandatory_refresh_timeout)
        try:
            flight = self._flights.start(True, held.get_frozen_credentials)
        except RuntimeError as error:
            # No thread may be had for it.
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
            _log.warning("credentials not renewed yet, the ones held still do: %s: %s", type(error).__name__, error)
            return held._frozen_credentials


def renew_aside(*clients: Any) -> None:
    """Have these boto3 clients sign so; what has no credentials that expire is left alone."""
    shields: dict[int, RenewedAside] = {}
    for client in clients:
        signer = getattr(client, "_request_signer", None)
        held = getattr(signer, "_credentials", None)
        if signer is not None and hasattr(held, "refresh_needed") and not isinstance(held, RenewedAside):
            signer._credentials = shields.setdefault(id(held), RenewedAside(held))


def session_after_fork(session: boto3.Session) -> boto3.Session:
    """The child's session: what its credentials share with the parent's stays behind."""
    inner = session._session
    held = getattr(inner, "_credentials", None)
    if getattr(held, "method", None) in _FROM_THE_MACHINE:
        return boto3.Session(profile_name=inner.profile, region_name=session.region_name)
    if held is not None and hasattr(held, "_refresh_lock"):
        # A thread of the parent may have held it.
        held._refresh_lock = threading.Lock()
    return session

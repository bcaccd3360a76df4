"""A caller's routes: polled in the background, and read again immediately when an endpoint does not exist."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Protocol

from tierfleet.runtime.appconfig import Fetched
from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.route_document import RouteDocument, RoutesError
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.route_parts import TENANTS, WARM_UP, ReadPart
from tierfleet.runtime.single_flight import SingleFlight

# Every caller of a deleted endpoint refreshes; a process asks AppConfig at most this often.
FORCED_REFRESH_PAUSE_SECONDS: Final = 5.0
# For a document without one.
DEFAULT_TTL_SECONDS: Final = 60
RETRY_PAUSE_SECONDS: Final = 5.0
# How long a caller waits for newer routes when it has old ones: AppConfig may hang instead of failing.
PATIENCE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class FetchRoutes(Protocol):
    def __call__(self, *, new_session: bool) -> Fetched: ...


def routes_in_file(
    file: Path, *, read_part: ReadPart | None = None, sections: Collection[str] = (TENANTS, WARM_UP)
) -> FetchRoutes:
    """Read the whole file each time. read_part, sections: as in parse_routes. It raises RoutesError."""

    def fetch(*, new_session: bool) -> Fetched:  # noqa: ARG001 - a file is read whole every time
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RoutesError(f"routes file {file} cannot be read: {error.strerror}") from error
        return Fetched(parse_routes(content, read_part=read_part, sections=sections), 0.0)

    return fetch


def fixed_routes(document: RouteDocument) -> FetchRoutes:
    """Always the same document."""

    def fetch(*, new_session: bool) -> Fetched:  # noqa: ARG001 - the document never changes
        return Fetched(document, float("inf"))

    return fetch


class RouteCache:
    """The current route document of one fleet; thread-safe.

    After one interval the document is used while a background thread asks for a newer one. After two intervals (the
    process was idle) a call first waits for a newer one, for at most a second. While AppConfig fails, the last document
    is used.

    ttl_seconds: that interval; None: the document's own. AppConfig may require a longer one.
    refreshes_begun, refreshes_ended: counts of forced refreshes, which run one at a time.
    """

    def __init__(
        self,
        fetch: FetchRoutes,
        *,
        fleet: str,
        environment: str,
        ttl_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._fleet = fleet
        self._environment = environment
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: SingleFlight[bool, RouteDocument] = SingleFlight("tierfleet-routes")
        self._document: RouteDocument | None = None
        self._poll_at = 0.0
        self._wait_at = 0.0
        self._forced_at = float("-inf")
        self.refreshes_begun = 0
        self.refreshes_ended = 0

    @property
    def held(self) -> RouteDocument | None:
        """The last document, of any age; None before the first."""
        return self._document

    def current(self, *, seconds_left: float) -> RouteDocument:
        """The document to use. seconds_left: how long to wait for another thread's read.

        Raises RoutesError, TimeoutError or botocore's errors if there has never been a document.
        """
        document = self._document
        if document is not None:
            now = self._clock()
            if now < self._poll_at:
                return document
            if now < self._wait_at:
                try:
                    self._flights.start(False, self._poll)
                except RuntimeError as error:
                    # No thread can be started. The routes are still valid.
                    self._note_failure(error)
                return document
        patience = seconds_left if document is None else min(seconds_left / 2, PATIENCE_SECONDS)
        try:
            return self._flights.run(False, self._poll, timeout_seconds=patience)
        except Exception:
            if document is None:
                raise
            with self._lock:
                if self._document is document and self._clock() >= self._wait_at:
                    # Until AppConfig answers again, no call waits for it.
                    self._wait_at = float("inf")
            return document

    def newer_than(self, seen: RouteDocument, *, seconds_left: float) -> RouteDocument:
        """After an unknown endpoint in `seen`: a newer document, read in a new configuration session if necessary.

        Returns `seen` if there is none: the last forced refresh was less than 5 s ago, or this one failed.
        """
        try:
            return self._flights.run(True, lambda: self._force(seen), timeout_seconds=seconds_left)
        except Exception:
            return seen

    def seconds_until_refresh(self) -> float:
        """How long until `newer_than` may ask AppConfig again; 0 or more."""
        return max(0.0, self._forced_at + FORCED_REFRESH_PAUSE_SECONDS - self._clock())

    def _poll(self) -> RouteDocument:
        with self._lock:
            if self._document is not None and self._clock() < self._poll_at:
                return self._document
        return self._read(new_session=False)

    def _force(self, seen: RouteDocument) -> RouteDocument:
        with self._lock:
            if self._document is not None and (self._document is not seen or self.seconds_until_refresh() > 0):
                return self._document
            self._forced_at = self._clock()
            self.refreshes_begun += 1
        try:
            return self._read(new_session=True)
        finally:
            self.refreshes_ended += 1

    def _read(self, *, new_session: bool) -> RouteDocument:
        try:
            fetched = self._fetch(new_session=new_session)
            document = fetched.document
            if document is not None and (document.fleet, document.environment) != (self._fleet, self._environment):
                raise RoutesError(
                    f"the routes belong to {document.fleet} {document.environment}, "
                    f"not to {self._fleet} {self._environment}"
                )
        except Exception as error:
            self._note_failure(error)
            raise
        with self._lock:
            if document is not None:
                self._document = document
            if self._document is None:
                raise RoutesError(f"there is no route document of {self._fleet} {self._environment}")
            ttl_seconds = self._ttl_seconds or self._document.ttl_seconds or DEFAULT_TTL_SECONDS
            # AppConfig answers an earlier poll with an error.
            interval_seconds = max(fetched.next_poll_seconds, ttl_seconds)
            self._poll_at = self._clock() + interval_seconds
            self._wait_at = self._poll_at + interval_seconds
            return self._document

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            if self._document is None:
                return
            # No call waits while AppConfig fails: routes change seldom, so the last ones are most likely right.
            self._poll_at = self._clock() + RETRY_PAUSE_SECONDS
            self._wait_at = float("inf")
        reason = str(error) if isinstance(error, RoutesError) else classify(error).sentence
        _log.warning("routes of %s %s not refreshed, using the last ones: %s", self._fleet, self._environment, reason)

"""A caller's catalog pointers: one read per tenant and interval; the last pointer is used while S3 fails."""

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.catalog import CatalogError, NoSuchModelError, Pointer
from tierfleet.runtime.single_flight import SingleFlight

# How long to wait after S3 failed, and how long "no model" is cached.
RETRY_PAUSE_SECONDS: Final = 5.0
# How long a caller waits for a newer pointer when it has an old one: S3 may hang instead of failing.
PATIENCE_SECONDS: Final = 1.0
_LEAST_OF_TTL: Final = 0.8

_log = logging.getLogger(__name__)


class PointerSource(StrEnum):
    """Where a pointer came from: the cache, S3, or an expired cache entry because S3 failed."""

    CACHED = "cached"
    READ = "read"
    STALE = "stale"


@dataclass(frozen=True)
class _Entry:
    pointer: Pointer | None
    read_at: float
    good_until: float
    source: PointerSource


class PointerCache:
    """The newest pointers, at most `size` of them; thread-safe.

    ttl_seconds: how long a pointer is used; each entry expires after 0.8 to 1 of it, so that they do not expire
    together.
    stale_seconds: the maximum age of a pointer while S3 fails or returns an invalid pointer.
    stale_used: called each time an expired pointer is used.
    """

    def __init__(
        self,
        read: Callable[[str], Pointer],
        *,
        ttl_seconds: float,
        stale_seconds: float,
        size: int,
        stale_used: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._read_pointer = read
        self._stale_used = stale_used
        self._ttl_seconds = ttl_seconds
        self._stale_seconds = stale_seconds
        self._size = size
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: SingleFlight[str, _Entry] = SingleFlight("tierfleet-pointer")

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, tenant: str, *, seconds_left: float) -> tuple[Pointer, PointerSource]:
        """The tenant's pointer. seconds_left: how long to wait for another thread's read of it.

        Raises NoSuchModelError, and CatalogError, TimeoutError or botocore's errors if there is no usable pointer.
        """
        with self._lock:
            entry = self._entries.get(tenant)
            if entry is not None and self._clock() < entry.good_until:
                self._entries.move_to_end(tenant)
                return self._answer(tenant, entry, PointerSource.CACHED)
        usable = entry is not None and entry.pointer is not None and not self._too_old(entry)
        # Half of the time is left for the call itself.
        patience = min(seconds_left / 2, PATIENCE_SECONDS) if usable else seconds_left
        try:
            entry = self._flights.run(tenant, lambda: self._refresh(tenant), timeout_seconds=patience)
        except (TimeoutError, RuntimeError) as error:
            # RuntimeError: no thread can be started for the read.
            if entry is None or not usable:
                raise
            why = "S3 has not answered yet" if isinstance(error, TimeoutError) else str(error)
            entry = self._kept(tenant, entry, why)
        return self._answer(tenant, entry, entry.source)

    def newer_than(self, seen: Pointer, *, seconds_left: float) -> Pointer:
        """After a missing artefact: the current pointer, equal to `seen` if nothing newer is published.

        Raises as `get` does.
        """
        with self._lock:
            entry = self._entries.get(seen.tenant)
            if entry is not None and entry.pointer == seen:
                del self._entries[seen.tenant]
        return self.get(seen.tenant, seconds_left=seconds_left)[0]

    @staticmethod
    def _answer(tenant: str, entry: _Entry, source: PointerSource) -> tuple[Pointer, PointerSource]:
        if entry.pointer is None:
            raise NoSuchModelError(f"tenant {tenant} has no published model")
        return entry.pointer, PointerSource.STALE if entry.source is PointerSource.STALE else source

    def _refresh(self, tenant: str) -> _Entry:
        held = self._entries.get(tenant)
        now = self._clock()
        if held is not None and now < held.good_until:
            # Another thread read it in the meantime.
            return held
        try:
            pointer: Pointer | None = self._read_pointer(tenant)
        except NoSuchModelError:
            entry = _Entry(None, now, now + RETRY_PAUSE_SECONDS, PointerSource.READ)
        except MemoryError:
            raise
        except Exception as error:
            entry = self._stale(tenant, held, error)
        else:
            lives_seconds = self._ttl_seconds * (_LEAST_OF_TTL + (1 - _LEAST_OF_TTL) * self._jitter())
            entry = _Entry(pointer, now, now + lives_seconds, PointerSource.READ)
        with self._lock:
            self._entries[tenant] = entry
            self._entries.move_to_end(tenant)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return entry

    def _stale(self, tenant: str, held: _Entry | None, error: Exception) -> _Entry:
        """The entry to use while S3 fails or returns an invalid pointer. Raises the error if access was denied."""
        verdict = classify(error)
        # Access or bucket are gone for good, and an old pointer would hide that.
        final = verdict.kind in {Kind.DENIED, Kind.UNKNOWN_BUCKET, Kind.REQUEST}
        if held is None or held.pointer is None or self._too_old(held) or final:
            raise error
        return self._again_later(tenant, held, str(error) if isinstance(error, CatalogError) else verdict.sentence)

    def _kept(self, tenant: str, held: _Entry, why: str) -> _Entry:
        """The entry to use while S3 does not answer. The running read continues, and its result is used later."""
        with self._lock:
            now = self._entries.get(tenant)
            # The read may have ended between the timeout and this lock.
            if now is not None and now is not held:
                return now
            entry = self._entries[tenant] = self._again_later(tenant, held, why)
        return entry

    def _again_later(self, tenant: str, held: _Entry, why: str) -> _Entry:
        now = self._clock()
        self._stale_used()
        _log.warning("pointer of %s is %.0f s old and not refreshed: %s", tenant, now - held.read_at, why)
        return _Entry(held.pointer, held.read_at, now + RETRY_PAUSE_SECONDS, PointerSource.STALE)

    def _too_old(self, entry: _Entry) -> bool:
        return self._clock() - entry.read_at > self._stale_seconds

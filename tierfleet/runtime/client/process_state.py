"""The state of a FleetClient in one process: connections, slots, caches, metrics. A forked child creates its own.

A child that used its parent's connections would read replies to the parent's requests. A lock that another thread held
during the fork would never be released, and metric lines would be written twice.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3

from tierfleet.runtime import catalog, clients, metrics, names
from tierfleet.runtime.appconfig import SHORTEST_POLL_SECONDS, RouteSession
from tierfleet.runtime.client.call import Services
from tierfleet.runtime.client.metrics import CallMetrics, Emit, default_emit
from tierfleet.runtime.client.pointer_cache import PointerCache
from tierfleet.runtime.client.route_cache import FetchRoutes, RouteCache, fixed_routes, routes_in_file
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.client.tenant_slots import TenantSlots
from tierfleet.runtime.clients import LOOKUP_SECONDS, CallingClients
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parts import TENANTS, PartReader
from tierfleet.runtime.single_flight import SingleFlight
from tierfleet.runtime.time_limit import time_limit

# The account takes a call of STS, after a read from the source of the credentials.
ACCOUNT_SECONDS: Final = 2 * LOOKUP_SECONDS
# Callers do not need the warm-up lists.
_CALLERS_SECTIONS: Final = (TENANTS,)


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """The arguments of FleetClient."""

    fleet: str
    environment: str
    account: str | None
    region: str | None
    settings: ClientSettings
    routes_file: str | Path | None
    routes: RouteDocument | None
    emit: Emit | None
    aws: CallingClients | None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class ProcessState:
    """Of the process that makes it. Raises ValueError, and botocore's errors."""

    def __init__(self, options: ClientOptions, session: boto3.Session) -> None:
        settings = options.settings
        self.process_id = os.getpid()
        self._options = options
        self._session = session
        self._bucket: str | None = None
        self._bucket_flights: SingleFlight[bool, str] = SingleFlight("tierfleet-bucket")
        self.aws = options.aws or clients.calling_clients(
            session=session,
            region=options.region,
            # The longest of all shapes: each call ends within the time of its own shape (call.py).
            read_timeout_seconds=min(LONGEST_ANSWER_SECONDS, settings.deadline_seconds or LONGEST_ANSWER_SECONDS),
            connections=settings.connections,
            with_appconfigdata=options.routes is None and options.routes_file is None,
        )
        self.aws.bound_in_time()
        self.slots = TenantSlots(settings.calls_per_tenant)
        self.metrics = CallMetrics(
            options.emit or default_emit(),
            fleet=options.fleet,
            environment=options.environment,
            named_tenants=settings.named_tenants,
            clock=options.clock,
        )
        self.services = Services(
            runtime=self.aws.runtime,
            routes=RouteCache(
                self._fetch(),
                fleet=options.fleet,
                environment=options.environment,
                ttl_seconds=settings.route_ttl_seconds,
                clock=options.clock,
            ),
            pointers=PointerCache(
                self._read_pointer,
                ttl_seconds=settings.pointer_ttl_seconds,
                stale_seconds=settings.pointer_stale_seconds,
                size=settings.pointers_kept,
                stale_used=lambda: self.metrics.route(metrics.CALL_STALE_POINTERS),
                clock=options.clock,
                jitter=options.jitter,
            ),
            metrics=self.metrics,
            clock=options.clock,
            sleep=options.sleep,
            jitter=options.jitter,
        )

    def free_locks(self) -> None:
        """Replace all locks, in a child that was forked during a call: the threads that held them do not exist there.

        That call continues in the child, but what it waits for never comes, so it ends by its deadline.
        """
        routes, pointers = self.services.routes, self.services.pointers
        for holder in (self.slots, routes, pointers, self.metrics, routes._flights, pointers._flights):
            holder._lock = threading.Lock()

    def close(self) -> None:
        """Write the last metric lines and close this state's connections."""
        self.metrics.close()
        if self._options.aws is None:
            self.aws.close()

    def _fetch(self) -> FetchRoutes:
        options = self._options
        read_part = PartReader(lambda: self.aws.s3)
        if options.routes is not None:
            return fixed_routes(options.routes)
        if options.routes_file is not None:
            return routes_in_file(Path(options.routes_file), read_part=read_part, sections=_CALLERS_SECTIONS)
        if self.aws.appconfigdata is None:
            raise ValueError("aws has no appconfigdata client and no routes are given, allowed: one of them")
        return RouteSession(
            self.aws.appconfigdata,
            application_id=names.routes_application(options.fleet, options.environment),
            environment_id=options.environment,
            profile_id=names.ROUTES_PROFILE,
            # The interval is unknown before the routes are read: AppConfig allows any, and the cache applies it.
            poll_seconds=options.settings.route_ttl_seconds or SHORTEST_POLL_SECONDS,
            read_part=read_part,
            sections=_CALLERS_SECTIONS,
        ).fetch

    def _read_pointer(self, tenant: str) -> catalog.Pointer:
        bucket = self._models_bucket()
        with time_limit(LOOKUP_SECONDS):
            return catalog.read_pointer(self.aws.s3, bucket=bucket, tenant=tenant)

    def _models_bucket(self) -> str:
        routes = self.services.routes.held
        if self._options.account is None and routes is not None and routes.models_bucket is not None:
            return routes.models_bucket
        if self._bucket is None:
            self._bucket = self._bucket_flights.run(True, self._named_bucket, timeout_seconds=ACCOUNT_SECONDS)
        return self._bucket

    def _named_bucket(self) -> str:
        if self._bucket is not None:
            return self._bucket
        options = self._options
        account = options.account or clients.caller_account(self._session, region=options.region)
        return names.models_bucket(options.fleet, options.environment, account, self.aws.s3.meta.region_name)

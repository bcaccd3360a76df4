"""FleetClient: calls any tenant's model, wherever the fleet serves it now."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import boto3

from tierfleet.runtime import catalog, clients, names
from tierfleet.runtime.call import Call, Services
from tierfleet.runtime.call_errors import CallError, ReplyFormatError, RequestInvalidError, TenantBusyError
from tierfleet.runtime.call_metrics import CallMetrics, Emit, default_emit
from tierfleet.runtime.client_settings import LONGEST_ANSWER_SECONDS, ClientSettings
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.pointer_cache import PointerCache
from tierfleet.runtime.reply import CSV, JSON, Reply, csv_rows
from tierfleet.runtime.route_cache import FetchRoutes, RouteCache, fixed_routes, routes_in_file
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.routes import SHORTEST_POLL_SECONDS, RouteSession
from tierfleet.runtime.tenant_slots import TenantSlots

_TENANT: Final = re.compile(names.WORD_PATTERN)


class FleetClient:
    """The models of one fleet in one environment; thread-safe, made to live as long as the process.

        with FleetClient("fraud", "prod", region="eu-west-1") as fleet:
            scores = fleet.predict("m37", [[0.3, 1.0, 12.5]])
            reply = fleet.invoke("m37", b"0.3,1.0,12.5", deadline_seconds=2)

    account: of the fleet, whose models bucket is named after it. Without one the routes name the bucket; those of a
    fleet that was deployed before they did take the account of the credentials, by one call of STS if need be.
    region: of the fleet; without one it is the session's.
    routes_file, routes: a route document on disk (read again every TTL) or in hand, instead of AppConfig.
    emit: takes each metric line (docs/calling.md); by default standard output in a Lambda function, else none.
    aws: clients instead of those made from the session; they must not retry by themselves.
    Make it after a fork, not before. docs/calling.md has the errors, the retries and the policy a caller needs.
    """

    def __init__(
        self,
        fleet: str,
        environment: str,
        *,
        account: str | None = None,
        region: str | None = None,
        settings: ClientSettings | None = None,
        routes_file: str | Path | None = None,
        routes: RouteDocument | None = None,
        emit: Emit | None = None,
        session: boto3.Session | None = None,
        aws: CallingClients | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        for what, word in (("fleet", fleet), ("environment", environment)):
            if not _TENANT.fullmatch(word):
                raise ValueError(f"{what} is {word!r}, allowed: {names.WORD_PATTERN}")
        if routes is not None and routes_file is not None:
            raise ValueError("routes and routes_file are both given, allowed: one of them")
        self._fleet = fleet
        self._environment = environment
        self._account = account
        self._region = region
        self._settings = settings or ClientSettings()
        self._session = session or boto3.Session()
        if aws is None and region is None and self._session.region_name is None:
            raise ValueError("there is no region; give region, a session that has one, or set AWS_DEFAULT_REGION")
        self._bucket: str | None = None
        self._bucket_lock = threading.Lock()
        self._clock = clock
        self._own_aws = aws is None
        self._aws = aws or clients.calling_clients(
            session=self._session,
            region=region,
            read_timeout_seconds=min(LONGEST_ANSWER_SECONDS, self._settings.deadline_seconds),
            connections=self._settings.connections,
            with_appconfigdata=routes is None and routes_file is None,
        )
        self._slots = TenantSlots(self._settings.calls_per_tenant)
        self._metrics = CallMetrics(
            emit or default_emit(),
            fleet=fleet,
            environment=environment,
            named_tenants=self._settings.named_tenants,
            clock=clock,
        )
        self._services = Services(
            runtime=self._aws.runtime,
            routes=RouteCache(
                self._fetch(routes, routes_file),
                fleet=fleet,
                environment=environment,
                ttl_seconds=self._settings.route_ttl_seconds,
                clock=clock,
            ),
            pointers=PointerCache(
                self._read_pointer,
                ttl_seconds=self._settings.pointer_ttl_seconds,
                stale_seconds=self._settings.pointer_stale_seconds,
                size=self._settings.pointers_kept,
                clock=clock,
                jitter=jitter,
            ),
            metrics=self._metrics,
            clock=clock,
            sleep=sleep,
            jitter=jitter,
        )

    def invoke(
        self,
        tenant: str,
        body: bytes,
        *,
        content_type: str = CSV,
        accept: str = JSON,
        deadline_seconds: float | None = None,
    ) -> Reply:
        """Send one body, at most 6 MB, to the tenant's current model.

        deadline_seconds: no attempt starts after it; one under way then ends by its own timeout, which is the
        client's own deadline_seconds or 70 s, the shorter. Raises CallError (tierfleet.runtime.call_errors).
        """
        started = self._clock()
        if not _TENANT.fullmatch(tenant):
            raise RequestInvalidError(
                f"{tenant!r} is not a tenant id, allowed: {names.WORD_PATTERN}; correct the request", tenant=tenant
            )
        seconds = self._settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        deadline = started + seconds
        answered = False
        try:
            if not self._slots.take(tenant, timeout_seconds=seconds):
                raise TenantBusyError(
                    f"tenant {tenant}: {self._slots.limit} calls of it were under way for {seconds:g} s; "
                    "send fewer at once, or raise calls_per_tenant",
                    tenant=tenant,
                )
            try:
                call = Call(self._services, tenant, started=started, deadline=deadline)
                reply = call.run(body, content_type=content_type, accept=accept)
            finally:
                self._slots.give_back(tenant)
            answered = True
            return reply
        finally:
            self._metrics.call(tenant, self._clock() - started, answered=answered)

    def predict(
        self, tenant: str, rows: Iterable[Sequence[float | None]], *, deadline_seconds: float | None = None
    ) -> list[float]:
        """One score per row of features; None and NaN are missing values.

        Raises ValueError for rows that are no table, ReplyFormatError for a model with several scores per row, and
        CallError as `invoke` does.
        """
        body = csv_rows(rows)
        reply = self.invoke(tenant, body, deadline_seconds=deadline_seconds)
        sent = body.count(b"\n") + 1
        try:
            scores = reply.predictions
        except ValueError as error:
            raise self._format_error(reply, str(error)) from error
        if len(scores) != sent:
            raise self._format_error(reply, f"{sent} rows were sent and {len(scores)} scores came back")
        return scores

    def flush_metrics(self) -> None:
        """Write the collected metric lines now: at the end of a Lambda handler, which may be frozen after it."""
        self._metrics.flush()

    def close(self) -> None:
        """Write the last metric lines and close the connections; no call may be under way."""
        self._metrics.close()
        if self._own_aws:
            self._aws.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, routes: RouteDocument | None, routes_file: str | Path | None) -> FetchRoutes:
        if routes is not None:
            return fixed_routes(routes)
        if routes_file is not None:
            return routes_in_file(Path(routes_file))
        if self._aws.appconfigdata is None:
            raise ValueError("aws has no appconfigdata client and no routes are given, allowed: one of them")
        return RouteSession(
            self._aws.appconfigdata,
            application_id=names.routes_application(self._fleet, self._environment),
            environment_id=self._environment,
            profile_id=names.ROUTES_PROFILE,
            # The interval is not known before the routes are: AppConfig is asked to allow any, the cache keeps it.
            poll_seconds=self._settings.route_ttl_seconds or SHORTEST_POLL_SECONDS,
        ).fetch

    def _read_pointer(self, tenant: str) -> catalog.Pointer:
        return catalog.read_pointer(self._aws.s3, bucket=self._models_bucket(), tenant=tenant)

    def _models_bucket(self) -> str:
        routes = self._services.routes.held
        if self._account is None and routes is not None and routes.models_bucket is not None:
            return routes.models_bucket
        with self._bucket_lock:
            if self._bucket is None:
                account = self._account or clients.caller_account(self._session, region=self._region)
                region = self._aws.s3.meta.region_name
                self._bucket = names.models_bucket(self._fleet, self._environment, account, region)
            return self._bucket

    def _format_error(self, reply: Reply, why: str) -> CallError:
        return ReplyFormatError(
            f"tenant {reply.tenant} on endpoint {reply.endpoint}: {why}; use invoke and read the body",
            tenant=reply.tenant,
            endpoint=reply.endpoint,
        )

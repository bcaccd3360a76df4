"""One call of one tenant: find the endpoint and the model, send, and recover from errors until the deadline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tierfleet.runtime import metrics
from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.catalog import CatalogError, Pointer
from tierfleet.runtime.client.errors import (
    POINTER,
    ROUTES,
    CallError,
    Lookup,
    call_error,
    lookup_error,
    too_late_error,
    unread_error,
)
from tierfleet.runtime.client.metrics import CallMetrics
from tierfleet.runtime.client.pointer_cache import PointerCache, PointerSource
from tierfleet.runtime.client.reply import CSV, Reply, Timings
from tierfleet.runtime.client.request_check import check_answers_calls, check_body_size, container_to_call
from tierfleet.runtime.client.retries import Retries
from tierfleet.runtime.client.route_cache import RouteCache
from tierfleet.runtime.hosting.multi_container import PRIMARY
from tierfleet.runtime.route_document import Route, RouteDocument, RoutesError
from tierfleet.runtime.single_flight import StillReadingError
from tierfleet.runtime.time_limit import time_limit

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

# SageMaker answers with this status, or with an error.
OK: Final = 200

Sent = TypeVar("Sent")


class StatusError(Exception):
    """InvokeEndpoint returned a status that is neither 200 nor an error."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """The objects that all calls of one FleetClient share."""

    runtime: "SageMakerRuntimeClient"
    routes: RouteCache
    pointers: PointerCache
    metrics: CallMetrics
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]


class Call:
    """One call, in one thread. started, deadline: times of the services' clock. extends: the caller gave no deadline,
    so the call may take as long as the tenant's hosting shape allows."""

    def __init__(
        self, services: Services, tenant: str, *, started: float, deadline: float, extends: bool = False
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._tenant = tenant
        self._started = started
        self._deadline = deadline
        self._extends = extends
        self._retries = Retries(jitter=services.jitter)
        self._document: RouteDocument | None = None
        self._route: Route | None = None
        self._pointer: Pointer | None = None
        self._pointer_source: PointerSource | None = None
        self._pointer_renewed = False
        self._fell_back = False
        self._container: str | None = None
        self._gone: set[str] = set()
        self._attempts = 0
        self._waiting_seconds = 0.0
        self._calling_seconds = 0.0

    def run(self, body: bytes, *, content_type: str | None, accept: str, container: str | None = None) -> Reply:
        """Make the call and return its reply. content_type: None for the container's, or text/csv. Raises CallError."""
        hostname: str | None = None

        def check(route: Route) -> None:
            nonlocal hostname
            check_answers_calls(route, tenant=self._tenant)
            check_body_size(body, route.shape, tenant=self._tenant)
            hostname = container_to_call(route, self._container, tenant=self._tenant)

        def send(route: Route) -> tuple[bytes, str]:
            sent_type = content_type or (route.containers[hostname].content_type if hostname else CSV)
            return self._send(route, body, sent_type, accept, hostname)

        self._container = container
        route, (content, replied_type) = self.attempt(check, send)
        return self._reply(route, content, replied_type, hostname)

    def attempt(self, check: Callable[[Route], None], send: Callable[[Route], Sent]) -> tuple[Route, Sent]:
        """Send until an attempt succeeds; returns its route and what `send` returned.

        check: raises CallError for a route that the request does not fit, which ends the call. send: makes one attempt,
        within `seconds_left`; its exceptions are healed where possible. Raises CallError.
        """
        self._waiting_seconds = self._clock() - self._started
        while True:
            route = self._resolve()
            check(route)
            sent_at = self._clock()
            try:
                sent = send(route)
            # Another attempt would need the same memory.
            except MemoryError:
                raise
            except Exception as error:
                # Every exception: botocore raises more than its own errors.
                self._calling_seconds += self._clock() - sent_at
                self._heal(error, route)
            else:
                self._calling_seconds += self._clock() - sent_at
                return route, sent

    def _resolve(self) -> Route:
        """Find the route and, on a multi-model endpoint, the pointer. Raises CallError when no time is left."""
        while True:
            if self.seconds_left() <= 0:
                raise self._too_late()
            lookup = POINTER if self._route else ROUTES
            try:
                if self._route is None:
                    self._document = self._services.routes.current(seconds_left=self.seconds_left())
                    self._take_route(self._document.route_of(self._tenant))
                elif self._route.shared and self._pointer is None:
                    self._pointer, self._pointer_source = self._services.pointers.get(
                        self._tenant, seconds_left=self.seconds_left()
                    )
                else:
                    return self._route
            except (CallError, MemoryError):
                raise
            except (RoutesError, CatalogError) as error:
                raise lookup_error(error, tenant=self._tenant, endpoint=self._endpoint()) from error
            except StillReadingError as error:
                raise self._too_late(lookup) from error
            except Exception as error:
                self._pause(error, lookup)

    def _send(
        self, route: Route, body: bytes, content_type: str, accept: str, container: str | None
    ) -> tuple[bytes, str]:
        request: dict[str, Any] = {
            "EndpointName": route.endpoint,
            "Body": body,
            # Both are always sent. The stock image reads a body without a type as libsvm. Without Accept it answers
            # JSON on a multi-model endpoint and CSV on a dedicated one, so a promotion would change the reply's format.
            "ContentType": content_type,
            "Accept": accept,
        }
        if route.shared and self._pointer is not None:
            request["TargetModel"] = self._pointer.target_model
        if container is not None:
            request["TargetContainerHostname"] = container
        self._attempts += 1
        with time_limit(min(self.seconds_left(), route.shape.longest_answer_seconds)):
            response = self._services.runtime.invoke_endpoint(**request)
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", OK)
            if status != OK:
                raise StatusError(f"InvokeEndpoint returned status {status}")
            return response["Body"].read(), response.get("ContentType", "")

    def _heal(self, error: Exception, route: Route) -> None:
        """Prepare the next attempt, or raise the call's error if there is none."""
        verdict = classify(error)
        if verdict.kind is Kind.UNKNOWN_ENDPOINT:
            self._services.metrics.route(metrics.ROUTE_ERRORS)
            self._gone.add(route.endpoint)
            healed = self._reroute()
        elif verdict.kind is Kind.MISSING_MODEL:
            healed = self._renew_pointer()
        else:
            self._pause(error)
            return
        if not healed:
            raise call_error(verdict, tenant=self._tenant, endpoint=route.endpoint) from error

    def _reroute(self) -> bool:
        """After a missing endpoint: follow newer routes, or fall back to the default tier. False if neither works."""
        routes = self._services.routes
        begun = routes.refreshes_begun
        while True:
            # A refresh that started after the endpoint was missing is conclusive.
            settled = routes.refreshes_ended > begun
            if self._take_newer_route():
                return True
            if settled:
                return False
            if routes.refreshes_ended <= begun:
                pause = routes.seconds_until_refresh()
                if pause >= self.seconds_left():
                    return False
                self._wait(pause)

    def _take_newer_route(self) -> bool:
        if self._document is None:
            return False
        # If AppConfig does not answer, half of the time is left for the default tier.
        newer = self._services.routes.newer_than(self._document, seconds_left=self.seconds_left() / 2)
        if newer != self._document:
            # New routes may name an endpoint that has been created again.
            self._gone.clear()
        self._document = newer
        try:
            route = self._document.route_of(self._tenant)
        except RoutesError:
            return False
        if route.endpoint in self._gone:
            default = self._document.default_route()
            # The default tier has the primary container's model only.
            other_model = route.primary is not None and self._container not in (PRIMARY, route.primary)
            falls_back = route.shape.falls_back and not other_model
            if default is None or default.endpoint in self._gone or not falls_back:
                return False
            if route.primary is not None:
                self._container = PRIMARY
            self._services.metrics.route(metrics.ROUTE_FALLBACK)
            route = default
            self._fell_back = True
        else:
            self._fell_back = False
        self._take_route(route)
        return True

    def _take_route(self, route: Route) -> None:
        self._route = route
        if self._extends:
            # A cold call to a serverless endpoint takes minutes, and only the route says that it is one.
            self._deadline = max(self._deadline, self._started + route.shape.longest_answer_seconds)

    def _renew_pointer(self) -> bool:
        """After a missing artefact: whether a newer version was published since the pointer was read."""
        old = self._pointer
        if old is None or self._pointer_renewed:
            return False
        # Garbage collection deletes old versions, so a cached pointer may name one that is gone. A fresh one may not.
        self._pointer_renewed = True
        try:
            newer = self._services.pointers.newer_than(old, seconds_left=self.seconds_left())
        except MemoryError:
            raise
        except Exception:
            return False
        self._pointer, self._pointer_source = newer, PointerSource.READ
        return newer != old

    def _pause(self, error: Exception, lookup: Lookup | None = None) -> None:
        """Wait for the next attempt (of `lookup`), or raise the call's error if there is none or no time is left."""
        verdict = classify(error)
        seconds = self._retries.pause_seconds(verdict)
        out_of_time = seconds is not None and seconds >= self.seconds_left()
        if seconds is None or out_of_time:
            where: Any = {"tenant": self._tenant, "endpoint": self._endpoint(), "out_of_time": out_of_time}
            raise (unread_error(verdict, lookup, **where) if lookup else call_error(verdict, **where)) from error
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._services.sleep(seconds)
        self._waiting_seconds += seconds

    @property
    def fell_back(self) -> bool:
        """Whether the route is the default tier's, because the tenant's own endpoint does not exist."""
        return self._fell_back

    def seconds_left(self) -> float:
        """Until the deadline; may be negative."""
        return self._deadline - self._clock()

    def _endpoint(self) -> str | None:
        return self._route.endpoint if self._route else None

    def _too_late(self, lookup: Lookup | None = None) -> Exception:
        seconds = self._clock() - self._started
        return too_late_error(lookup, seconds=seconds, tenant=self._tenant, endpoint=self._endpoint())

    def _reply(self, route: Route, content: bytes, content_type: str, container: str | None) -> Reply:
        total = self._clock() - self._started
        pinned = route.containers[container].model_version if container else route.model_version
        return Reply(
            body=content,
            content_type=content_type,
            tenant=self._tenant,
            tier=route.tier,
            endpoint=route.endpoint,
            fell_back=self._fell_back,
            container=container,
            model_version=self._pointer.version if route.shared and self._pointer else pinned,
            pointer=self._pointer_source if route.shared else None,
            attempts=self._attempts,
            timings=Timings(
                waiting_seconds=self._waiting_seconds,
                resolving_seconds=max(0.0, total - self._waiting_seconds - self._calling_seconds),
                calling_seconds=self._calling_seconds,
                total_seconds=total,
            ),
        )

"""Traces every AWS request of a call with its time, outcome and headers, for `tierfleet invoke --explain`.

It uses botocore's events, so a client that is not traced has no overhead.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.clients import CallingClients

_CONTEXT_KEY: Final = "tierfleet_trace"
# What is traced is printed, and pasted into issues.
_SECRET_HEADERS: Final = frozenset({"authorization", "x-amz-security-token"})


@dataclass(frozen=True, kw_only=True)
class TracedRequest:
    """One request to AWS."""

    service: str
    operation: str

    started_seconds: float
    """Since the trace started."""

    seconds: float
    """Until the headers of the reply, or the failure."""

    status: int | None
    """The HTTP status, None without a reply."""

    failure: str | None
    """One sentence, None if the request succeeded."""

    sent: Mapping[str, str]
    """Request headers, without credentials and signature."""

    received: Mapping[str, str]
    """Reply headers."""


class ApiTrace:
    """The requests of the watched clients since the last `take`; thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._requests: list[TracedRequest] = []

    def watch(self, aws: CallingClients) -> None:
        """Trace these clients from now on."""
        for client in (aws.runtime, aws.s3, aws.appconfigdata):
            if client is not None:
                client.meta.events.register("before-call", self._sent)
                client.meta.events.register("after-call", self._answered)
                client.meta.events.register("after-call-error", self._failed)

    def take(self) -> list[TracedRequest]:
        """The finished requests in the order they started. The next `take` returns only later ones."""
        with self._lock:
            taken, self._requests = self._requests, []
        return sorted(taken, key=lambda request: request.started_seconds)

    def _sent(self, *, model: Any, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context[_CONTEXT_KEY] = (model.service_model.service_name, model.name, params["headers"], self._clock())

    def _answered(self, *, http_response: Any, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: Any) -> None:
        failure = None
        if http_response.status_code >= 300:
            # A failed reply has its other fields next to Error, as in the exception that the caller gets.
            failure = classify(ClientError({**parsed}, "")).sentence  # type: ignore[typeddict-item]
        self._note(context, status=http_response.status_code, failure=failure, received=http_response.headers)

    def _failed(self, *, exception: Exception, context: Mapping[str, Any], **_: Any) -> None:
        self._note(context, status=None, failure=classify(exception).sentence, received={})

    def _note(
        self, context: Mapping[str, Any], *, status: int | None, failure: str | None, received: Mapping[str, str]
    ) -> None:
        service, operation, sent, started = context[_CONTEXT_KEY]
        request = TracedRequest(
            service=service,
            operation=operation,
            started_seconds=started - self._began,
            seconds=self._clock() - started,
            status=status,
            failure=failure,
            sent=_shown(sent),
            received=_shown(received),
        )
        with self._lock:
            self._requests.append(request)


def _shown(headers: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        name: value.decode("latin-1") if isinstance(value, bytes) else str(value) for name, value in headers.items()
    }
    return {name: value for name, value in sorted(texts.items()) if name.lower() not in _SECRET_HEADERS}

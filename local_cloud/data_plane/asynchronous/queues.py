"""InvokeEndpointAsync: a queue for each endpoint, worked off by its instances.

AWS says what ends a request (its result, a failure, its age). That a request whose instance dies is run again, at most
three times, is our reading. docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
"""

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane import invocation_errors
from local_cloud.data_plane.answers import Answer, Headers, refused
from local_cloud.data_plane.asynchronous.objects import Objects, TransferError, message
from local_cloud.data_plane.asynchronous.requests import Request, request_of
from local_cloud.data_plane.desired import Scope, VariantSpec
from local_cloud.data_plane.fleets import Endpoint, Fleet, Fleets
from local_cloud.data_plane.instances.instance import Instance
from local_cloud.data_plane.instances.role_clients import Reader
from local_cloud.data_plane.invocations import Invocations

_MOST_ATTEMPTS = 3
_TICK_SECONDS = 0.02
_MILLISECONDS = 1000.0


@dataclass
class Queue:
    """The requests of one endpoint."""

    waiting: deque[Request] = field(default_factory=deque)
    at_work: dict[int, Request] = field(default_factory=dict)
    """By identity: callers may give two requests one InferenceId."""

    @property
    def size(self) -> int:
        """ApproximateBacklogSize: queued and at work."""
        return len(self.waiting) + len(self.at_work)

    def oldest_age_seconds(self) -> float:
        requests = [*self.waiting, *self.at_work.values()]
        return max((time.monotonic() - request.since for request in requests), default=0.0)


@dataclass
class Queues:
    """The queues of all asynchronous endpoints. One that never had a request has none."""

    fleets: Fleets
    invocations: Invocations
    objects: Objects
    _queues: dict[tuple[Scope, str], Queue] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, scope: Scope, endpoint_name: str, headers: Headers, body: bytes) -> Answer:
        """Answer InvokeEndpointAsync. No request makes it raise."""
        try:
            return self._accept(scope, endpoint_name, headers, body)
        except ServiceError as error:
            return refused(error)

    def rows(self) -> list[list[Any]]:
        """[account, region, endpoint, requests, age of the oldest in seconds, instances in service] of each queue."""
        return [
            [
                *scope,
                name,
                queue.size,
                queue.oldest_age_seconds(),
                sum(instance.in_service for _, instance in _places(self.fleets.endpoints[scope, name])),
            ]
            for (scope, name), queue in self._queues.items()
            if (scope, name) in self.fleets.endpoints
        ]

    async def run_forever(self) -> None:
        """Give requests to instances as these have room."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for key in [key for key in self._queues if key not in self.fleets.endpoints]:
                del self._queues[key]  # an endpoint takes its queue with it
            for key, queue in self._queues.items():
                self._give_out(self.fleets.endpoints[key], queue)

    def _accept(self, scope: Scope, endpoint_name: str, headers: Headers, body: bytes) -> Answer:
        endpoint = self.fleets.endpoints.get((scope, endpoint_name))
        if endpoint is None or not endpoint.spec.accepts:
            raise ServiceError("ValidationError", f"Endpoint {endpoint_name} of account {scope[0]} not found.")
        spec = next((variant.queue for fleet in endpoint.spec.fleets for variant in fleet.variants), None)
        if spec is None:
            raise ServiceError(
                "ValidationError", f"Endpoint {endpoint_name} does not support asynchronous invocations."
            )
        request = request_of(spec, headers, body)
        self._queues.setdefault((scope, endpoint_name), Queue()).waiting.append(request)
        answered = [
            (b"Content-Type", b"application/json"),
            (b"X-Amzn-SageMaker-OutputLocation", request.output_location.encode()),
            (b"X-Amzn-SageMaker-FailureLocation", request.failure_location.encode()),
            (b"x-amzn-RequestId", str(uuid.uuid4()).encode()),
        ]
        return Answer(202, answered, json.dumps({"InferenceId": request.inference_id}).encode())

    def _give_out(self, endpoint: Endpoint, queue: Queue) -> None:
        for fleet, instance in _places(endpoint):
            while queue.waiting and instance.in_service and instance.requests_in_flight < _room(instance):
                request = queue.waiting.popleft()
                queue.at_work[id(request)] = request
                # Before the first wait, so that an instance never gets more than it has room for.
                instance.enter("")
                self._begin(self._work(queue, _Place(self.fleets, endpoint, fleet, instance.spec), instance, request))
        expired = [request for request in queue.waiting if time.monotonic() - request.since > request.ttl_seconds]
        if not expired:
            return
        variants = [(fleet, variant) for fleet in endpoint.fleets.values() for variant in fleet.variants.values()]
        if not variants:
            return
        fleet, variant = variants[0]
        place = _Place(self.fleets, endpoint, fleet, variant.spec)
        for request in expired:
            queue.waiting.remove(request)
            place.observe("ExpiredRequests", 1.0)
            reason = f"The request expired: it was in the queue for more than {request.ttl_seconds} seconds."
            self._begin(self._end(place, request, Outcome(failure=reason.encode())))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, queue: Queue, place: "_Place", instance: Instance, request: Request) -> None:
        """Run one request on an instance that has room for it."""
        request.attempts += 1
        began = time.monotonic()
        try:
            outcome = await self._run(place, instance, request)
        except ServiceError as error:
            if request.attempts < _MOST_ATTEMPTS:
                queue.waiting.appendleft(request)
                return
            outcome = Outcome(failure=error.message.encode())
        finally:
            instance.leave("")
            queue.at_work.pop(id(request), None)
        place.observe("TimeInBacklog", (began - request.since) * _MILLISECONDS)
        place.observe("TotalProcessingTime", (time.monotonic() - request.since) * _MILLISECONDS)
        await self._end(place, request, outcome)

    async def _run(self, place: "_Place", instance: Instance, request: Request) -> "Outcome":
        """What the container makes of the request. Raises ServiceError if the instance goes away."""
        body, began = request.body, time.monotonic()
        if body is None:
            try:
                body = await self.objects.read(place.reader, str(request.input_location))
            except TransferError as error:
                place.observe("RequestDownloadFailures", 1.0)
                return Outcome(failure=str(error).encode())
            place.observe("RequestDownloadLatency", (time.monotonic() - began) * 1e6)
        place.observe("RequestDownloadFailures", 0.0)
        instance.counters.requests += 1
        passed = [(b"content-type", request.content_type.encode()), *request.passed]
        reply, seconds = await self.invocations.run_request(
            place.endpoint, place.fleet, instance, passed, body, timeout_seconds=request.timeout_seconds
        )
        place.observe("ModelLatency", seconds * 1e6)
        place.observe("Invocation4XXErrors", float(400 <= reply.status < 500))
        place.observe("Invocation5XXErrors", float(reply.status >= 500 or reply.status == 0))
        content_type = reply.headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        if 200 <= reply.status < 300:
            return Outcome(body=reply.body, content_type=content_type)
        return Outcome(failure=_failure(reply.status, reply.body), content_type=content_type)

    async def _end(self, place: "_Place", request: Request, outcome: "Outcome") -> None:
        """Write the result or the failure, and tell the topic."""
        began = time.monotonic()
        failed = outcome.failure is not None
        location = request.failure_location if failed else request.output_location
        try:
            if location:
                content = outcome.body if outcome.failure is None else outcome.failure
                await self.objects.write(place.reader, location, content, outcome.content_type or "text/plain")
            place.observe("ResponseUploadLatency", (time.monotonic() - began) * 1e6)
            place.observe("ResponseUploadFailures", 0.0)
        except TransferError as error:
            place.observe("ResponseUploadFailures", 1.0)
            failed, outcome = True, Outcome(failure=str(error).encode())
        place.observe("InvocationsProcessed", 1.0)
        place.observe("InvocationFailures", float(failed))
        queue = place.spec.queue
        topic = queue and (queue.error_topic if failed else queue.success_topic)
        if not topic:
            return
        told = message(
            region=place.endpoint.spec.scope[1],
            endpoint=place.endpoint.spec.name,
            inference_id=request.inference_id,
            received_at=request.received_at,
            content_type=request.content_type,
            input_location=request.input_location,
            output=None if failed else {"contentType": outcome.content_type, "outputLocation": location},
            failure=None if outcome.failure is None else outcome.failure.decode("utf-8", "replace"),
        )
        try:
            await self.objects.publish(place.reader, topic, told)
            place.observe("NotificationFailures", 0.0)
        except TransferError:
            place.observe("NotificationFailures", 1.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a request ended: with a reply, or with what is written to its failure location."""

    body: bytes = b""
    content_type: str = ""
    failure: bytes | None = None


@dataclass(frozen=True)
class _Place:
    """Where a request runs: whose metrics, credentials and topics it has."""

    fleets: Fleets
    endpoint: Endpoint
    fleet: Fleet
    spec: VariantSpec

    @property
    def reader(self) -> Reader:
        return self.endpoint.spec.scope, self.spec.credentials

    def observe(self, metric: str, value: float) -> None:
        self.fleets.observer(self.endpoint.spec, self.fleet.spec, self.spec.name)(metric, value)


def _places(endpoint: Endpoint) -> list[tuple[Fleet, Instance]]:
    """The instances that take requests, with their fleet, the least busy first."""
    taking = [fleet for fleet in endpoint.fleets.values() if fleet.spec.traffic_percent > 0]
    pairs = [(fleet, instance) for fleet in taking for instance in fleet.instances()]
    return sorted(pairs, key=lambda pair: pair[1].requests_in_flight)


def _room(instance: Instance) -> int:
    """Requests at once. SageMaker says nothing of its own choice; a request for each vCPU is ours."""
    spec = instance.spec.queue
    return spec.max_concurrency if spec and spec.max_concurrency else instance.vcpus


def _failure(status: int, body: bytes) -> bytes:
    """The container's own reply where it has one, as users of SageMaker have found it there."""
    if body:
        return body
    if status == 0:
        return invocation_errors.response_timed_out().message.encode()
    return invocation_errors.model_error(status, body).message.encode()

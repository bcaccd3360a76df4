"""InvokeEndpoint: from a request to a container's answer, with metrics and counters on the way."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from local_cloud.core import invocation_rules
from local_cloud.core.errors import ServiceError
from local_cloud.core.invocation_rules import MAX_BODY_BYTES
from local_cloud.data_plane import invocation_errors, multi_container, pipeline, routing, serverless
from local_cloud.data_plane.answers import HEADER_PREFIX, Answer, Headers, refused, sagemaker_header
from local_cloud.data_plane.desired import EndpointSpec, Scope
from local_cloud.data_plane.faults import FailingModelServer, SlowModelServer, Throttled
from local_cloud.data_plane.fleets import Endpoint, Fleet, Fleets, Variant
from local_cloud.data_plane.instances.container_client import ContainerGoneError, ContainerReply
from local_cloud.data_plane.instances.instance import Instance
from local_cloud.data_plane.instances.model_cache import container_name
from local_cloud.data_plane.settings import DataPlaneSettings

# Names of endpoints come from callers, so only this many are counted.
_MOST_ENDPOINTS_WITH_ERRORS = 10_000
# The headers that SageMaker passes on to a container; it keeps the caller's others.
_TO_CONTAINER = (
    b"content-type",
    b"accept",
    HEADER_PREFIX + b"custom-attributes",
    HEADER_PREFIX + b"inference-id",
    HEADER_PREFIX + b"target-model",
)


@dataclass
class Invocations:
    fleets: Fleets
    settings: DataPlaneSettings
    slow: list[SlowModelServer] = field(default_factory=list)
    failing: list[FailingModelServer] = field(default_factory=list)
    throttled: list[Throttled] = field(default_factory=list)
    errors: dict[tuple[Scope, str], Counter[str]] = field(default_factory=dict)

    async def answer(self, scope: Scope, endpoint_name: str, headers: Headers, body: bytes) -> Answer:
        """Answer a request. No request makes it raise."""
        started = time.perf_counter()
        if self.settings.network_milliseconds:
            await asyncio.sleep(self.settings.network_milliseconds / 1000)
        try:
            return await self._invoke(scope, endpoint_name, headers, body, started)
        except ServiceError as error:
            self._count(scope, endpoint_name, error)
            return refused(error)

    def errors_by_class(self) -> list[dict[str, Any]]:
        """How often callers of each endpoint got each error: its code, with the container's status if any."""
        return [
            {"account": account, "region": region, "endpoint": endpoint, "errors": dict(counted)}
            for ((account, region), endpoint), counted in self.errors.items()
        ]

    def _count(self, scope: Scope, endpoint_name: str, error: ServiceError) -> None:
        key = (scope, endpoint_name)
        if key in self.errors or len(self.errors) < _MOST_ENDPOINTS_WITH_ERRORS:
            status = error.fields.get("OriginalStatusCode")
            self.errors.setdefault(key, Counter())[f"{error.code} {status}" if status else error.code] += 1

    async def _invoke(self, scope: Scope, endpoint_name: str, headers: Headers, body: bytes, started: float) -> Answer:
        endpoint = self.fleets.endpoints.get((scope, endpoint_name))
        if endpoint is None or not endpoint.spec.accepts:
            raise invocation_rules.endpoint_not_found(endpoint_name, scope[0])
        if any(fault.endpoint == endpoint_name and fault.refuses() for fault in self.throttled):
            raise invocation_errors.throttled()
        fleet, variant = _choose(endpoint, sagemaker_header(headers, b"target-variant"))
        if variant.spec.queue is not None:
            raise ServiceError("ValidationError", f"Endpoint {endpoint_name} only supports asynchronous invocations.")
        invocation_rules.check_body(body, serverless.MAX_BODY_BYTES if variant.spec.serverless else MAX_BODY_BYTES)
        model = sagemaker_header(headers, b"target-model")
        invocation_rules.check_target_model(model, multi_model=variant.spec.multi_model)
        container = sagemaker_header(headers, b"target-container-hostname")
        multi_container.check_target(variant.spec, container)
        observe = self.fleets.observer(endpoint.spec, fleet.spec, variant.spec.name)
        observe("Invocations", 1)
        if variant.spec.serverless is not None:
            spec, start = variant.spec.serverless, partial(self.fleets.start_one, endpoint, fleet, variant)
            taken = serverless.container(spec, variant.instances, variant.calls, start=start, observe=observe)
            async with taken as instance:
                return await self._answer(endpoint, fleet, instance, model, headers, body, started)
        # SageMaker publishes 1/instances for each call, so that Sum is the calls per instance.
        # docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        observe("InvocationsPerInstance", 1 / max(1, len(variant.groups())))
        instance = self._instance(_candidates(variant, container), model)
        if variant.spec.execution_mode == "Serial":
            containers = pipeline.stages(variant.groups(), instance)
            return await self._answer_in_stages(endpoint, fleet, containers, model, headers, body, started)
        return await self._answer(endpoint, fleet, instance, model, headers, body, started)

    async def _answer(
        self,
        endpoint: Endpoint,
        fleet: Fleet,
        instance: Instance,
        model: str | None,
        headers: Headers,
        body: bytes,
        started: float,
    ) -> Answer:
        observe = self.fleets.observer(endpoint.spec, fleet.spec, instance.spec.name)
        instance.counters.requests += 1
        instance.enter(model or "")
        try:
            reply, model_seconds = await self._ask(endpoint, fleet, instance, model, headers, body)
        finally:
            instance.leave(model or "")
        overhead_seconds = time.perf_counter() - started - model_seconds
        _observe_call(observe, reply, model_seconds, overhead_seconds)
        container = instance.spec.hostname
        if container is not None:
            observe_container = self.fleets.observer(endpoint.spec, fleet.spec, instance.spec.name, container)
            multi_container.observe_call(
                observe_container, reply, container_seconds=model_seconds, overhead_seconds=overhead_seconds
            )
        answered_by = container or invocation_errors.ONLY_CONTAINER
        return _answer_of(reply, answered_by, endpoint.spec, instance.spec.name)

    async def _answer_in_stages(
        self,
        endpoint: Endpoint,
        fleet: Fleet,
        containers: Sequence[Instance],
        model: str | None,
        headers: Headers,
        body: bytes,
        started: float,
    ) -> Answer:
        """The answer of a pipeline's containers, one after the other."""
        variant = containers[0].spec.name

        async def ask(container: Instance, passed: Headers, sent: bytes) -> tuple[ContainerReply, float]:
            named = model if container.spec.multi_model else None
            return await self._ask(endpoint, fleet, container, named, passed, sent)

        def observe_container(name: str, seconds: float) -> None:
            self.fleets.observer(endpoint.spec, fleet.spec, variant, name)("ContainerLatency", seconds * 1e6)

        for container in containers:
            container.counters.requests += 1
            container.enter(model or "")
        try:
            passed = await pipeline.through(containers, headers, body, ask=ask, observe=observe_container)
        finally:
            for container in containers:
                container.leave(model or "")
        observe = self.fleets.observer(endpoint.spec, fleet.spec, variant)
        _observe_call(observe, passed.reply, passed.seconds, time.perf_counter() - started - passed.seconds)
        return _answer_of(passed.reply, passed.container, endpoint.spec, variant)

    async def run_request(
        self,
        endpoint: Endpoint,
        fleet: Fleet,
        instance: Instance,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        timeout_seconds: float,
    ) -> tuple[ContainerReply, float]:
        """Send a queued request to its instance; the reply, status 0 if none came in time, and how long it took."""
        return await self._timed(endpoint, fleet, instance, None, b"/invocations", headers, body, timeout_seconds)

    def _instance(self, instances: Sequence[Instance], model: str | None) -> Instance:
        if model is None:
            instance = routing.dedicated_instance(instances)
        else:
            limit = self.settings.spill_in_flight
            instance = routing.multi_model_instance(instances, model, spill_in_flight=limit)
            other = routing.spill_target(instances, model, spill_in_flight=limit)
            if other is not None and other.cache is not None:
                other.counters.spills += 1
                other.cache.start_loading(model)
        if instance is None:
            reasons = [i.reason for i in instances if i.reason]
            raise invocation_errors.no_instance(reasons[0] if reasons else "they are starting")
        return instance

    async def _ask(
        self, endpoint: Endpoint, fleet: Fleet, instance: Instance, model: str | None, headers: Headers, body: bytes
    ) -> tuple[ContainerReply, float]:
        """The container's reply, status 0 if none came in time, and how long it took."""
        passed = [(name, headers[name]) for name in _TO_CONTAINER if name in headers]
        if model is None:
            return await self._timed(endpoint, fleet, instance, None, b"/invocations", passed, body)
        cache, path = instance.cache, b"/models/%s/invoke" % container_name(model).encode()
        if cache is None:
            raise invocation_errors.no_instance(instance.reason)
        observe = self.fleets.observer(endpoint.spec, fleet.spec, instance.spec.name)
        hit = cache.enter(model)
        try:
            observe("ModelCacheHit", float(hit))
            instance.counters.hits += hit
            if not hit:
                await self._wait_for_model(instance, model, observe)
            reply, seconds = await self._timed(endpoint, fleet, instance, model, path, passed, body)
            if reply.status == 404 and instance.cache is cache:
                cache.forget(model)  # unloaded by someone else: load it and ask again
                await self._wait_for_model(instance, model, observe)
                reply, seconds = await self._timed(endpoint, fleet, instance, model, path, passed, body)
            return reply, seconds
        finally:
            cache.leave(model)
            if instance.spec.cache_disabled and instance.cache is cache:
                await cache.discard(model)

    async def _wait_for_model(self, instance: Instance, model: str, observe: Callable[[str, float], None]) -> None:
        cache, started = instance.cache, time.perf_counter()
        if cache is None:
            raise invocation_errors.no_instance(instance.reason)
        try:
            await cache.ensure(model, max_wait_seconds=self.settings.max_loading_wait_seconds)
        except TimeoutError:
            instance.counters.not_ready += 1
            raise invocation_errors.model_not_ready(model) from None
        finally:
            waited = time.perf_counter() - started
            instance.counters.waited(waited)
            observe("ModelLoadingWaitTime", waited * 1e6)

    async def _timed(
        self,
        endpoint: Endpoint,
        fleet: Fleet,
        instance: Instance,
        model: str | None,
        path: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        timeout_seconds: float | None = None,
    ) -> tuple[ContainerReply, float]:
        started = time.perf_counter()
        for slow in self.slow:
            if slow.endpoint == endpoint.spec.name and slow.config in (None, fleet.spec.config_name):
                await asyncio.sleep(slow.milliseconds / 1000)
        for fault in self.failing:
            if fault.fails(endpoint.spec.name, fleet.spec.config_name, model):
                return ContainerReply(500, {}, b"injected fault"), time.perf_counter() - started
        if instance.client is None:
            raise invocation_errors.instance_lost(instance.reason)
        try:
            reply = await instance.client.ask(
                b"POST",
                path,
                headers=headers,
                body=body,
                timeout_seconds=timeout_seconds or self.settings.max_response_seconds,
            )
        except TimeoutError:
            reply = ContainerReply(0, {}, b"")
        except ContainerGoneError as error:
            observe = self.fleets.observer(endpoint.spec, fleet.spec, instance.spec.name)
            for metric, value in (("Invocation4XXErrors", 0), ("Invocation5XXErrors", 1), ("InvocationModelErrors", 1)):
                observe(metric, value)
            raise invocation_errors.instance_lost(str(error)) from None
        return reply, time.perf_counter() - started


def _candidates(variant: Variant, container: str | None) -> Sequence[Instance]:
    """The containers that may take a request."""
    if container is not None:
        return multi_container.called(variant.instances, container)
    if variant.spec.execution_mode == "Serial":
        return pipeline.entries(variant.groups())
    return variant.instances


def _observe_call(
    observe: Callable[[str, float], None], reply: ContainerReply, model_seconds: float, overhead_seconds: float
) -> None:
    observe("ModelLatency", model_seconds * 1e6)
    observe("OverheadLatency", overhead_seconds * 1e6)
    observe("Invocation4XXErrors", float(400 <= reply.status < 500))
    observe("Invocation5XXErrors", float(reply.status >= 500 or reply.status == 0))
    observe("InvocationModelErrors", float(not 200 <= reply.status < 300))


def _answer_of(reply: ContainerReply, container: str, endpoint: EndpointSpec, variant_name: str) -> Answer:
    """The reply as the caller gets it. Raises ServiceError where it is a failure."""
    if reply.status == 0:
        raise invocation_errors.response_timed_out(container)
    if not 200 <= reply.status < 300:
        raise invocation_errors.model_error(reply.status, reply.body, container, log_stream_arn=_log(endpoint))
    return _passed_on(reply, variant_name)


def _passed_on(reply: ContainerReply, variant_name: str) -> Answer:
    headers = [
        (b"Content-Type", reply.headers.get(b"content-type", b"application/octet-stream")),
        (b"x-Amzn-Invoked-Production-Variant", variant_name.encode()),
        (b"x-amzn-RequestId", str(uuid.uuid4()).encode()),
    ]
    if attributes := reply.headers.get(HEADER_PREFIX + b"custom-attributes"):
        headers.append((b"X-Amzn-SageMaker-Custom-Attributes", attributes))
    return Answer(200, headers, reply.body)


def _choose(endpoint: Endpoint, target_variant: str | None) -> tuple[Fleet, Variant]:
    fleet = endpoint.next_fleet()
    if fleet is None:
        raise invocation_errors.no_instance("the endpoint has no fleet")
    invocation_rules.check_variant(target_variant, list(fleet.variants), endpoint.spec.name)
    return fleet, fleet.variants[target_variant] if target_variant else fleet.next_variant()


def _log(endpoint: EndpointSpec) -> str:
    account, region = endpoint.scope
    return f"arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/{endpoint.name}"

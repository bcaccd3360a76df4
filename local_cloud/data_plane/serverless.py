"""Serverless variants: containers that are started for calls and stopped when none come.

AWS gives no figure for how long an idle container is kept, nor the error code above MaxConcurrency; both are ours.
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from local_cloud.data_plane import invocation_errors
from local_cloud.data_plane.desired import ServerlessSpec
from local_cloud.data_plane.instances.instance import Instance

MAX_BODY_BYTES = 4 * 1024 * 1024
_LOOK_SECONDS = 0.5
_POLL_SECONDS = 0.02
_UTILIZATION = "ServerlessConcurrentExecutionsUtilization"


@dataclass
class Calls:
    """The running calls of one variant, with the calls that wait for a container."""

    under_way: int = 0


def containers_to_start(spec: ServerlessSpec, instances: Sequence[Instance], *, began: bool) -> int:
    """How many containers a variant needs without any call: the provisioned ones, and one when it begins, which proves
    that image and model work."""
    least = max(spec.provisioned_concurrency, 0 if began else 1)
    return max(0, least - len(instances))


def idle_containers(spec: ServerlessSpec, instances: Sequence[Instance], idle_seconds: float) -> list[Instance]:
    """The containers to stop: without a call for so long, and beyond the provisioned ones. One that failed is none of
    these."""
    now = time.monotonic()
    idle = [each for each in instances if not each.in_flight and now - each.idle_since >= idle_seconds]
    failed = [each for each in idle if each.status == "Failed"]
    ready = [each for each in idle if each.was_healthy and each.status != "Failed"]
    running = sum(each.status != "Failed" for each in instances)
    return [*failed, *ready[: max(0, running - spec.provisioned_concurrency)]]


async def stop_idle_forever(stop_idle: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        stop_idle()


@asynccontextmanager
async def container(
    spec: ServerlessSpec,
    instances: Sequence[Instance],
    calls: Calls,
    *,
    start: Callable[[], Instance],
    observe: Callable[[str, float], None],
) -> AsyncIterator[Instance]:
    """A container for one call: an idle one, or a new one after a cold start. Raises ServiceError above MaxConcurrency,
    and where the container does not start."""
    if calls.under_way >= spec.max_concurrency:
        observe(_UTILIZATION, 1.0)
        raise invocation_errors.throttled()
    calls.under_way += 1
    observe(_UTILIZATION, calls.under_way / spec.max_concurrency)
    try:
        free = [instance for instance in instances if not instance.in_flight]
        taken = next((instance for instance in free if instance.in_service), None)
        if taken is None:
            taken = next((instance for instance in free if instance.status == "Starting"), None) or start()
        # Before the first wait, so that two calls never share a container.
        taken.enter("")
        try:
            if not taken.in_service:
                began = time.perf_counter()
                await _until_in_service(taken)
                observe("ModelSetupTime", (time.perf_counter() - began) * 1e6)
            yield taken
        finally:
            taken.leave("")
    finally:
        calls.under_way -= 1


async def _until_in_service(instance: Instance) -> None:
    # Not `in_service`: a container that is to be stopped still answers the calls that it has.
    while instance.status != "InService":
        if instance.status in ("Failed", "Stopped"):
            raise invocation_errors.no_instance(instance.reason)
        await asyncio.sleep(_POLL_SECONDS)

"""ministack's CloudWatch in the test's own process, with our metrics in it, behind unmodified boto3."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch

from local_cloud import emulator, patches
from local_cloud.core.clock import clock
from local_cloud.services.sagemaker import endpoint_states, metrics, observations

ACCOUNT, REGION = "555566667777", "eu-west-1"
# A round minute, far ahead of the wall clock.
NOON = 1_830_000_000 // 86_400 * 86_400 + 43_200.0


class _Raw(io.BytesIO):
    def stream(self, **_options: Any) -> Iterator[bytes]:
        yield self.read()


@contextmanager
def metrics_at_noon() -> Iterator[Any]:
    """A CloudWatch client on an empty store, on a clock that stays at NOON."""
    before, clock_before = dict(vars(cloudwatch)), dict(vars(clock))
    for patch in patches.CLOUDWATCH:
        patch.apply()
    metrics.gauges = emulator.gauges
    clock.set_mode("manual")
    clock.move_to(NOON)
    cloudwatch.reset()
    for module in (endpoint_states, observations, metrics):
        module.clear()
    enter()
    metrics.publish()
    try:
        yield _client()
    finally:
        metrics.gauges = list
        vars(cloudwatch).update(before)
        vars(clock).update(clock_before)


def enter() -> None:
    """Make the test's account and region the current ones, as a request does."""
    set_request_account_id(ACCOUNT)
    set_request_region(REGION)


def _client() -> Any:
    client = boto3.client(
        "cloudwatch",
        region_name=REGION,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",  # noqa: S106
    )
    client.meta.events.register("before-send.cloudwatch.*", _send)
    return client


def _send(request: Any, **_rest: Any) -> AWSResponse:
    enter()
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    path = urlsplit(request.url).path
    status, fields, body = asyncio.run(cloudwatch.handle_request(request.method, path, headers, request.body, {}))
    return AWSResponse(request.url, status, fields, _Raw(body))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

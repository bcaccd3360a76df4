"""However a call goes wrong, it ends by its deadline, or by the timeout of the one attempt that was under way."""

import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Clock, fleet_client, route_document

from tierfleet.runtime.client.errors import CallError

TIMEOUT_SECONDS = 70.0


def reply_error(code: str, message: str = "", **fields: Any) -> Exception:
    return ClientError({"Error": {"Code": code, "Message": message}, **fields}, "InvokeEndpoint")


FAILURES = [
    reply_error("ModelNotReadyException"),
    reply_error("ThrottlingException"),
    reply_error("ServiceUnavailable"),
    reply_error("InternalDependencyException"),
    reply_error("ModelError", OriginalStatusCode=503, OriginalMessage="No worker is available"),
    reply_error("ValidationError", "Endpoint x of account y not found."),
    reply_error("ValidationError", "Failed to download model data"),
    EndpointConnectionError(endpoint_url="http://x"),
    ReadTimeoutError(endpoint_url="http://x"),
]


class Runtime:
    """A sagemaker-runtime that takes the given time and then fails as given, for ever."""

    def __init__(self, clock: Clock, attempts: list[tuple[float, Exception]]) -> None:
        self.clock = clock
        self.attempts = itertools.cycle(attempts)
        self.started_at: list[float] = []

    def invoke_endpoint(self, **_: object) -> None:
        self.started_at.append(self.clock.now)
        seconds, error = next(self.attempts)
        self.clock.now += seconds
        raise error


@settings(max_examples=60, deadline=None)
@given(
    attempts=st.lists(st.tuples(st.floats(0, TIMEOUT_SECONDS), st.sampled_from(FAILURES)), min_size=1, max_size=12),
    deadline_seconds=st.floats(0.001, 200),
    jitter=st.floats(0, 1),
)
def test_no_attempt_starts_after_the_deadline(
    attempts: list[tuple[float, Exception]], deadline_seconds: float, jitter: float
) -> None:
    clock = Clock()
    runtime = Runtime(clock, attempts)
    client = fleet_client(runtime, route_document(), clock=clock, jitter=lambda: jitter)
    started = clock.now
    with pytest.raises(CallError):
        client.invoke("m37", b"1", deadline_seconds=deadline_seconds)
    assert all(moment < started + deadline_seconds for moment in runtime.started_at)
    assert clock.now - started <= deadline_seconds + TIMEOUT_SECONDS

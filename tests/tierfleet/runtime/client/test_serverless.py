"""Calls to a serverless endpoint: minutes for a cold one, 4 MB for each, and the caller's own deadline first."""

import io
import json
from typing import Any

import pytest
from loopback import Clock, fleet_client, route_document

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError, DeadlineExceededError, RequestInvalidError
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS, SHAPES
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes
from tierfleet.runtime.time_limit import seconds_allowed

RARE = "fraud--prod--rare--m07--serverless"
MEGABYTE = 2**20


class Runtime:
    """Not ready for so many seconds of the clock; notes how long each attempt may take."""

    def __init__(self, clock: Clock, ready_after: float = 0.0) -> None:
        self.clock, self.ready_at = clock, clock.now + ready_after
        self.allowed: list[float] = []
        self.requests: list[dict[str, Any]] = []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        self.requests.append(request)
        self.allowed.append(float(seconds_allowed(None) or 0))
        if self.clock.now < self.ready_at:
            raise ClientError({"Error": {"Code": "ModelNotReadyException", "Message": ""}}, "InvokeEndpoint")
        return {"Body": io.BytesIO(b"[0.5]"), "ContentType": "application/json"}


def document() -> dict[str, Any]:
    document = route_document()
    document["tiers"]["rare"] = {"hosting": "serverless"}
    document["tenants"]["m07"] = {"tier": "rare", "endpoint": RARE, "model_version": "3"}
    return document


def client(runtime: Runtime, **settings: Any) -> FleetClient:
    options = {"settings": ClientSettings(**settings), "jitter": lambda: 1.0}
    return fleet_client(runtime, document(), clock=runtime.clock, **options)


def test_a_cold_call_may_take_minutes_and_carries_no_target_model() -> None:
    runtime = Runtime(Clock(), ready_after=200)
    reply = client(runtime).invoke("m07", b"1")
    assert (reply.endpoint, reply.tier, reply.model_version, reply.pointer) == (RARE, "rare", "3", None)
    assert "TargetModel" not in runtime.requests[0]
    assert runtime.allowed[0] == pytest.approx(250, abs=5)


def test_a_call_of_another_shape_still_ends_after_seventy_seconds() -> None:
    runtime = Runtime(Clock(), ready_after=100)
    started = runtime.clock.now
    with pytest.raises(CallError):
        client(runtime).invoke("m37", b"1")
    assert runtime.clock.now - started <= 70
    assert runtime.allowed[0] == pytest.approx(70, abs=5)


@pytest.mark.parametrize("options", [{"deadline_seconds": 5}, {}])
def test_the_callers_own_deadline_wins(options: dict[str, Any]) -> None:
    runtime = Runtime(Clock(), ready_after=200)
    started = runtime.clock.now
    fleet = client(runtime) if options else client(runtime, deadline_seconds=5)
    with pytest.raises(CallError) as raised:
        fleet.invoke("m07", b"1", **options)
    assert not isinstance(raised.value, RequestInvalidError)
    assert runtime.clock.now - started <= 5
    assert max(runtime.allowed) <= 5


def test_a_call_that_outlasts_the_shape_ends_too() -> None:
    runtime = Runtime(Clock(), ready_after=1000)
    started = runtime.clock.now
    with pytest.raises(CallError) as raised:
        client(runtime).invoke("m07", b"1")
    assert isinstance(raised.value, DeadlineExceededError) or raised.value.kind is not None
    assert 240 < runtime.clock.now - started <= 250


@pytest.mark.parametrize("body", [b"1" * (4 * MEGABYTE + 1), "é" * (2 * MEGABYTE + 1)])
def test_a_body_above_four_megabytes_is_an_error_before_the_call(body: Any) -> None:
    runtime = Runtime(Clock())
    with pytest.raises(RequestInvalidError, match=r"a serverless endpoint takes 4,194,304 \(4 MB\); send fewer rows"):
        client(runtime).invoke("m07", body)
    assert runtime.requests == []


def test_a_body_of_four_megabytes_and_a_larger_one_to_another_shape_are_sent() -> None:
    runtime = Runtime(Clock())
    client(runtime).invoke("m07", b"1" * (4 * MEGABYTE))
    client(runtime).invoke("m37", b"1" * (5 * MEGABYTE))
    assert [len(request["Body"]) // MEGABYTE for request in runtime.requests] == [4, 5]


def test_the_read_timeout_is_the_longest_of_all_shapes() -> None:
    assert max(shape.longest_answer_seconds for shape in SHAPES.values()) == LONGEST_ANSWER_SECONDS == 250


def test_a_hosting_that_this_version_does_not_know_says_so() -> None:
    newer = document()
    newer["tiers"]["rare"]["hosting"] = "teleported"
    with pytest.raises(RoutesError, match=f"allowed: {', '.join(SHAPES)}; update this tierfleet"):
        parse_routes(json.dumps(newer))

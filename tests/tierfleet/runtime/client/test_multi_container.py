"""Calls to a multi-container endpoint: each names its container, and a wrong name is an error before the call."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from loopback import Clock, fleet_client, route_document

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError, EndpointGoneError, RequestInvalidError
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes

TRIO = "fraud--prod--trio--m09--mce-m5-large"
CONTAINERS = {
    "card-present": {"content_type": "text/csv", "model_version": "card-present-3"},
    "document-check": {"content_type": "application/json", "model_version": "document-check-1"},
    "velocity": {"content_type": "application/x-npy", "model_version": "velocity-2"},
}


class Runtime:
    """Answers a score and notes the request; endpoints in `gone` do not exist."""

    def __init__(self, *gone: str) -> None:
        self.requests: list[dict[str, Any]] = []
        self.gone = gone

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if request["EndpointName"] in self.gone:
            message = f"Endpoint {request['EndpointName']} of account 111122223333 not found."
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "InvokeEndpoint")
        return {"Body": io.BytesIO(b"[0.5]"), "ContentType": "application/json"}


def document(**tenant: Any) -> dict[str, Any]:
    document = route_document()
    document["tiers"]["trio"] = {"hosting": "multi-container"}
    route = {"tier": "trio", "endpoint": TRIO, "model_version": "card-present-3", "primary": "card-present"}
    document["tenants"]["m09"] = {**route, "containers": CONTAINERS, **tenant}
    return document


def client(runtime: Runtime) -> FleetClient:
    return fleet_client(runtime, document(), clock=Clock(), jitter=lambda: 1.0)


@pytest.mark.parametrize(("named", "hostname"), [*((name, name) for name in CONTAINERS), ("primary", "card-present")])
def test_a_call_names_its_container_and_sends_the_containers_content_type(named: str, hostname: str) -> None:
    runtime = Runtime()
    reply = client(runtime).invoke("m09", b"1", container=named)
    (request,) = runtime.requests
    assert (request["EndpointName"], request["TargetContainerHostname"]) == (TRIO, hostname)
    assert request["ContentType"] == CONTAINERS[hostname]["content_type"]
    assert "TargetModel" not in request
    assert (reply.container, reply.model_version) == (hostname, CONTAINERS[hostname]["model_version"])


def test_the_callers_content_type_wins_and_rows_are_csv() -> None:
    runtime = Runtime()
    fleet = client(runtime)
    fleet.invoke("m09", b"1", container="velocity", content_type="text/plain")
    assert fleet.predict("m09", [[1.0]], container="document-check") == [0.5]
    assert [request["ContentType"] for request in runtime.requests] == ["text/plain", "text/csv"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (
            None,
            r"has 3 containers, and the call names none, allowed: card-present, document-check, velocity, or primary",
        ),
        ("velocty", r"no container 'velocty'.*; did you mean velocity\?"),
        ("Velocity", r"no container 'Velocity'"),
        ("other", r"no container 'other'.*; correct container="),
        ("-velocity", r"container is '-velocity', allowed: the hostname of a container, or primary"),
        ("", r"container is '', allowed"),
        ("v" * 64, r"allowed: the hostname"),
        (7, r"container is 7, allowed"),
    ],
)
def test_no_container_or_a_wrong_one_is_an_error_before_the_call(named: Any, words: str) -> None:
    runtime = Runtime()
    with pytest.raises(RequestInvalidError, match=words):
        client(runtime).invoke("m09", b"1", container=named)
    assert runtime.requests == []


@pytest.mark.parametrize("tenant", ["m37", "m01"])
def test_other_endpoints_have_no_container_but_primary_is_their_model(tenant: str) -> None:
    runtime = Runtime()
    fleet = client(runtime)
    with pytest.raises(RequestInvalidError, match=r"has no containers, and the call names 'velocity'; leave container"):
        fleet.invoke(tenant, b"1", container="velocity")
    assert runtime.requests == []
    reply = fleet.invoke(tenant, b"1", container="primary")
    assert (reply.container, "TargetContainerHostname" in runtime.requests[0]) == (None, False)


@pytest.mark.parametrize("named", ["primary", "card-present"])
def test_the_primary_falls_back_to_the_default_tier_where_the_endpoint_is_gone(named: str) -> None:
    runtime = Runtime(TRIO)
    reply = client(runtime).invoke("m09", b"1", container=named)
    assert (reply.tier, reply.fell_back, reply.container) == ("tail", True, None)
    assert [request.get("TargetContainerHostname") for request in runtime.requests] == ["card-present", None]


def test_another_container_never_falls_back_to_a_model_that_is_not_its_own() -> None:
    runtime = Runtime(TRIO)
    with pytest.raises(EndpointGoneError):
        client(runtime).invoke("m09", b"1", container="velocity")
    assert {request["EndpointName"] for request in runtime.requests} == {TRIO}


def test_what_sagemaker_says_of_an_unknown_container_is_not_a_missing_endpoint() -> None:
    class Removed(Runtime):
        def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
            self.requests.append(request)
            message = "Target container hostname velocity not found in the endpoint, which has card-present."
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "InvokeEndpoint")

    runtime = Removed()
    with pytest.raises(CallError) as raised:
        client(runtime).invoke("m09", b"1", container="velocity")
    assert (type(raised.value), len(runtime.requests)) == (RequestInvalidError, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"containers": {}}, {"primary": "other"}, {"primary": None}, {"tier": "whale"}],
    ids=lambda item: next(iter(item)),
)
def test_routes_without_containers_or_with_an_unknown_primary_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RoutesError, match="tenant 'm09' has containers"):
        parse_routes(json.dumps(document(**wrong)))

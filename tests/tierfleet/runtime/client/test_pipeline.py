"""Calls to pipelines: a shared one is told which model, and no other endpoint ever answers instead."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from loopback import Clock, fleet_client, route_document

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError, PayloadRejectedError

OWN, POOL = "fraud--prod--decided--m09--pipeline-m5-large", "fraud--prod--pool--all--pipeline-m5-large-abcdef"


class Runtime:
    """Answers with a decision, or with an error of the endpoint."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.requests: list[dict[str, Any]] = []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if self.error is not None and request["EndpointName"] in (OWN, POOL):
            raise self.error
        return {"Body": io.BytesIO(b'[{"decision": "approve"}]'), "ContentType": "application/json"}


def client(runtime: Runtime) -> FleetClient:
    document = route_document()
    document["tiers"] |= {"decided": {"hosting": "pipeline"}, "pool": {"hosting": "pipeline", "endpoint": POOL}}
    document["tenants"] |= {
        "m09": {"tier": "decided", "endpoint": OWN, "model_version": "3", "stages": "abcdef"},
        "m08": {"tier": "pool", "endpoint": POOL, "stages": "abcdef"},
    }
    return fleet_client(runtime, document, clock=Clock(), version="2")


def test_a_tenants_own_pipeline_is_called_as_a_dedicated_endpoint_is() -> None:
    runtime = Runtime()
    reply = client(runtime).invoke("m09", b'[{"note": "urgent"}]', content_type="application/json")
    assert json.loads(reply.body) == [{"decision": "approve"}]
    assert (reply.endpoint, reply.tier, reply.model_version) == (OWN, "decided", "3")
    assert "TargetModel" not in runtime.requests[0]


def test_a_pipeline_that_tenants_share_is_told_which_model() -> None:
    runtime = Runtime()
    reply = client(runtime).invoke("m08", b"[]", content_type="application/json")
    assert (runtime.requests[0]["EndpointName"], runtime.requests[0]["TargetModel"]) == (POOL, "m08/2.tar.gz")
    assert reply.model_version == "2"


@pytest.mark.parametrize(("tenant", "endpoint"), [("m09", OWN), ("m08", POOL)])
def test_a_pipeline_that_is_gone_is_an_error_and_never_another_endpoints_answer(tenant: str, endpoint: str) -> None:
    gone = {"Error": {"Code": "ValidationError", "Message": f"Endpoint {endpoint} of account 1 not found."}}
    runtime = Runtime(ClientError(gone, "InvokeEndpoint"))
    with pytest.raises(CallError):
        client(runtime).invoke(tenant, b"[]", content_type="application/json")
    assert {request["EndpointName"] for request in runtime.requests} == {endpoint}


def test_a_stages_refusal_names_the_stage() -> None:
    text = 'Received client error (400) from features with message "ValueError: amount is -1.0".'
    said = {
        "Error": {"Code": "ModelError", "Message": text},
        "OriginalStatusCode": 400,
        "OriginalMessage": "ValueError: amount is -1.0",
    }
    with pytest.raises(PayloadRejectedError, match="ModelError: features: ValueError: amount"):
        client(Runtime(ClientError(said, "InvokeEndpoint"))).invoke("m09", b"[]", content_type="application/json")  # type: ignore[arg-type]


def test_too_large_a_reply_between_two_stages_is_no_retry() -> None:
    text = "The response of 5242881 bytes from features exceeds 5242880 bytes and cannot be sent to score."
    said = {"Error": {"Code": "ModelError", "Message": text}, "OriginalStatusCode": 413, "OriginalMessage": text}
    runtime = Runtime(ClientError(said, "InvokeEndpoint"))  # type: ignore[arg-type]
    with pytest.raises(CallError, match="cannot be sent to score"):
        client(runtime).invoke("m09", b"[]", content_type="application/json")
    assert len(runtime.requests) == 1

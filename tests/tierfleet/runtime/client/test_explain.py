"""One call explained: the requests it made, why it went there, and what was cached."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loopback import ACCOUNT, ENVIRONMENT, FLEET, SHARED, Clock, FakeAws, route_document, serving, whale

from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.api_trace import ApiTrace
from tierfleet.runtime.client.explain import CacheState, Explanation, explain
from tierfleet.runtime.client.reply import Reply
from tierfleet.runtime.route_parsing import parse_routes

Explained = Callable[..., Explanation]


@pytest.fixture
def explained(aws: FakeAws, boto_session: Any) -> Iterator[Explained]:
    clock, trace = Clock(), ApiTrace()
    with serving(aws) as url:
        calling = clients.calling_clients(
            session=boto_session, region=None, read_timeout_seconds=20, connections=2, endpoint_url=url
        )
        trace.watch(calling)
        client = FleetClient(FLEET, ENVIRONMENT, account=ACCOUNT, aws=calling, clock=clock, sleep=clock.sleep)

        def explained(tenant: str, *, times: tuple[float, ...] = (), **options: Any) -> Explanation:
            routes = parse_routes(json.dumps(aws.routes))
            extra = list(times)

            def invoke() -> Reply:
                # The call's InvokeEndpoint takes this long by the client's clock.
                handler = lambda **_: clock.sleep(extra.pop(0) if extra else 0.0)  # noqa: E731
                calling.runtime.meta.events.register_first("after-call", handler)
                try:
                    return client.invoke(tenant, b"1,2")
                finally:
                    calling.runtime.meta.events.unregister("after-call", handler)

            return explain(invoke, tenant=tenant, routes=routes, trace=trace, **options)

        yield explained
        client.close()
        calling.close()


def test_a_cold_call_is_shown_request_by_request(explained: Explained) -> None:
    explanation = explained("m37")
    assert [(r.operation, r.status, r.failure) for r in explanation.requests] == [
        ("StartConfigurationSession", 201, None),
        ("GetLatestConfiguration", 200, None),
        ("GetObject", 200, None),
        ("InvokeEndpoint", 200, None),
    ]
    assert explanation.target_model == "m37/v1.tar.gz"
    assert (
        explanation.why
        == "m37 is not listed in the routes, so it is on the default tier tail, with a multi-model endpoint"
    )
    sent = explanation.requests[-1].sent
    assert sent["X-Amzn-SageMaker-Target-Model"] == "m37/v1.tar.gz"
    assert explanation.requests[-1].received["x-Amzn-Invoked-Production-Variant"] == "AllTraffic"
    assert explanation.repeat is not None
    json.dumps(explanation.to_json())


def test_no_credential_is_shown(explained: Explained) -> None:
    text = json.dumps(explained("m37").to_json()).lower()
    assert "authorization" not in text
    assert "signature" not in text


def test_a_whale_needs_no_pointer_and_is_in_memory(explained: Explained) -> None:
    explanation = explained("m01")
    assert explanation.why == "m01 is listed in the routes on tier whale, with a dedicated endpoint"
    assert (explanation.target_model, explanation.cache) == (None, CacheState.IN_MEMORY)
    assert "GetObject" not in [request.operation for request in explanation.requests]


def test_retries_show_with_their_reasons(aws: FakeAws, explained: Explained) -> None:
    aws.fail(SHARED, "ThrottlingException", "Rate exceeded")
    aws.fail(SHARED, "ModelNotReadyException", "loading", status=429)
    explanation = explained("m37")
    failures = [r.failure for r in explanation.requests if r.operation == "InvokeEndpoint"]
    assert failures == [
        "AWS throttles the calls (ThrottlingException: Rate exceeded)",
        "the model is still loading (ModelNotReadyException: loading)",
        None,
    ]
    assert explanation.cache is CacheState.LOADED
    assert explanation.first is not None
    assert explanation.first.attempts == 3


def test_a_call_that_fails_is_explained_too(aws: FakeAws, explained: Explained) -> None:
    aws.unpublished.add("m37")
    explanation = explained("m37")
    assert explanation.first is explanation.repeat is None
    assert "no published model" in str(explanation.error)
    assert explanation.requests[-1].status == 404
    assert explanation.cache is CacheState.UNKNOWN
    json.dumps(explanation.to_json())


def test_a_request_without_a_reply_has_no_status(explained: Explained, aws: FakeAws) -> None:
    aws.down.add("s3")
    aws.s3_error = (500, "InternalError")
    explanation = explained("m37")
    assert {(r.status, r.failure) for r in explanation.requests if r.operation == "GetObject"} == {
        (500, "the service is unavailable (InternalError: down)")
    }


def test_a_fallback_says_so(aws: FakeAws, explained: Explained) -> None:
    aws.endpoints.remove(whale("m01"))
    assert explained("m01").why.endswith("that endpoint does not exist, so the default tier answered")


@pytest.mark.parametrize(
    ("times", "state"),
    [
        ((2.0, 0.01), CacheState.LOADED),
        ((0.02, 0.01), CacheState.IN_MEMORY),
        ((0.3, 0.01), CacheState.UNKNOWN),
    ],
)
def test_the_cache_is_guessed_from_the_times_of_two_calls(
    explained: Explained, times: tuple[float, float], state: CacheState
) -> None:
    explanation = explained("m37", times=times)
    assert explanation.cache is state
    assert f"{times[0] * 1000:.0f} ms" in explanation.cache_why


@pytest.mark.parametrize(("said", "state"), [(True, CacheState.IN_MEMORY), (False, CacheState.LOADED)])
def test_what_the_platform_says_counts_more_than_the_times(explained: Explained, said: bool, state: CacheState) -> None:
    asked = []

    def in_memory(endpoint: str, target_model: str) -> bool:
        asked.append((endpoint, target_model))
        return said

    assert explained("m37", times=(2.0, 0.01), in_memory=in_memory).cache is state
    assert asked == [(SHARED, "m37/v1.tar.gz")]


def test_routes_that_change_meanwhile_are_said(aws: FakeAws, explained: Explained) -> None:
    explained("m07")
    aws.routes = route_document(whales=("m01", "m07"))
    assert explained("m07").why.endswith("; the routes changed in the meantime")

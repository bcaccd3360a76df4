"""Requests to asynchronous endpoints: submitted in the call or through S3, and their results waited for."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from loopback import ASYNC_BUCKET, FakeAws, async_route_document, queued, score

from tierfleet.runtime.client import (
    AccessDeniedError,
    ClientSettings,
    DeadlineExceededError,
    EndpointGoneError,
    FleetClient,
    InferenceFailedError,
    ModelFailedError,
    PayloadRejectedError,
    Reply,
    RequestExpiredError,
    RequestInvalidError,
    Submission,
)
from tierfleet.runtime.client import submission as submission_module
from tierfleet.runtime.client.results import LONGEST_LIFE_SECONDS, LONGEST_PAUSE_SECONDS, OLDEST_LOOKED_AT
from tierfleet.runtime.hosting.asynchronous import MAX_INLINE_BYTES
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes

ROW = b"1,2,3"


@pytest.fixture
def fleet(aws: FakeAws, url: str, boto_session: Any) -> Any:
    aws.routes = async_route_document("m08", "m09")
    aws.endpoints |= {queued("m08"), queued("m09")}
    with FleetClient("fraud", "prod", session=boto_session, settings=ClientSettings(deadline_seconds=10)) as client:
        yield client


class Time:
    """A clock that sleeping moves; `on_sleep` may change the world meanwhile."""

    def __init__(self, on_sleep: Callable[[int], object] = lambda _: None) -> None:
        self.now, self.pauses, self._on_sleep = 0.0, list[float](), on_sleep

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self._on_sleep(len(self.pauses))


@pytest.fixture
def timed(aws: FakeAws, url: str, boto_session: Any, fleet: FleetClient) -> Callable[[Time], FleetClient]:
    def client(time: Time) -> FleetClient:
        return FleetClient(
            "fraud", "prod", session=boto_session, clock=time.clock, sleep=time.sleep, jitter=lambda: 1.0
        )

    return client


def test_a_small_body_goes_with_the_call_and_a_large_one_through_s3(aws: FakeAws, fleet: FleetClient) -> None:
    small = fleet.submit("m08", ROW)
    assert small.input_location is None
    assert aws.count("PutObject") == 0
    rows = b"\n".join([b"1,2,3"] * (MAX_INLINE_BYTES // 6 + 1))
    assert len(rows) > MAX_INLINE_BYTES
    large = fleet.submit("m08", rows)
    assert str(large.input_location).startswith(f"s3://{ASYNC_BUCKET}/backfill/input/m08/")
    assert aws.count("PutObject") == 1
    assert fleet.result(small).predictions == [score("m08", "1,2,3")]
    assert len(fleet.result(large).predictions) == rows.count(b"\n") + 1
    exactly = fleet.submit("m08", rows[:MAX_INLINE_BYTES].rpartition(b"\n")[0].ljust(MAX_INLINE_BYTES))
    assert exactly.input_location is None


def test_an_sdk_without_inline_bodies_uses_s3(
    aws: FakeAws, fleet: FleetClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_module, "takes_inline_bodies", lambda _: False)
    submission = fleet.submit("m08", ROW)
    assert submission.input_location is not None
    assert fleet.result(submission).predictions == [score("m08", "1,2,3")]


def test_a_submission_survives_as_json_and_another_client_reads_its_result(
    aws: FakeAws, fleet: FleetClient, boto_session: Any
) -> None:
    submission = fleet.submit("m08", ROW, request_ttl_seconds=60, invocation_timeout_seconds=3600)
    assert aws.submissions[-1]["RequestTTLSeconds"] == "60"
    assert aws.submissions[-1]["InvocationTimeoutSeconds"] == "3600"
    stored = Submission.from_json(json.loads(json.dumps(submission.to_json())))
    assert stored == submission
    with FleetClient("fraud", "prod", session=boto_session) as other:
        reply = other.result(stored)
    assert (reply.tenant, reply.tier, reply.endpoint) == ("m08", "backfill", queued("m08"))
    with pytest.raises(ValueError, match="not a submission"):
        Submission.from_json({**submission.to_json(), "more": 1})


@pytest.mark.parametrize("value", [[], 3.5, "", "s3://bucket", True, float("nan")])
def test_a_stored_submission_with_a_wrong_value_is_refused(fleet: FleetClient, value: Any) -> None:
    document = fleet.submit("m08", ROW).to_json()
    texts = {"tenant", "tier", "endpoint", "model_version", "inference_id"}
    for name in document:
        sound = (name in texts and value == "s3://bucket") or (name == "submitted_at" and value == 3.5)
        if not sound:
            with pytest.raises(ValueError, match=f"not a submission: {name} is "):
                Submission.from_json({**document, name: value})


def test_an_object_of_the_tenants_own_prefix_is_submitted_as_it_is(aws: FakeAws, fleet: FleetClient) -> None:
    aws.objects["backfill/input/m08/rows"] = ROW
    location = f"s3://{ASYNC_BUCKET}/backfill/input/m08/rows"
    assert fleet.result(fleet.submit("m08", s3=location)).predictions == [score("m08", "1,2,3")]
    for elsewhere in (location.replace("m08", "m09"), "s3://other/backfill/input/m08/rows"):
        with pytest.raises(RequestInvalidError, match="reads only s3://"):
            fleet.submit("m08", s3=elsewhere)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["neither of body and s3"]),
        ({"body": b""}, ["the body has 0 bytes, allowed: 1 to"]),
        ({"body": ROW, "s3": "s3://b/k"}, ["both of body and s3"]),
        ({"s3": "https://b/k"}, ["s3 is 'https://b/k', allowed: s3://bucket/key"]),
        (
            {"body": ROW, "request_ttl_seconds": 59, "invocation_timeout_seconds": 3601},
            ["request_ttl_seconds is 59, allowed: 60 to 21,600", "invocation_timeout_seconds is 3601"],
        ),
        ({"body": ROW, "request_ttl_seconds": 60.0}, ["request_ttl_seconds is 60.0"]),
        ({"body": 1}, ["the body is a int"]),
        ({"body": "\ud800"}, ["half of a surrogate pair"]),
        ({"body": ROW, "content_type": "\n"}, ["content_type"]),
    ],
)
def test_wrong_arguments_are_all_named_before_any_call(
    aws: FakeAws, fleet: FleetClient, arguments: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(RequestInvalidError) as error:
        fleet.submit("m08", **arguments)
    assert all(word in str(error.value) for word in words), error.value
    assert aws.operations == []


@pytest.mark.parametrize(
    ("submissions", "seconds"), [("no", 1), ([1], 1), ([], 0), ([], -1), ([], float("nan")), ([], 10**400)]
)
def test_wrong_arguments_of_a_wait(fleet: FleetClient, submissions: Any, seconds: Any) -> None:
    with pytest.raises(RequestInvalidError, match="allowed:"):
        fleet.wait_many(submissions, seconds)


def test_each_way_of_calling_names_the_other_where_it_does_not_fit(aws: FakeAws, fleet: FleetClient) -> None:
    for call in (fleet.invoke, fleet.explain_body):
        with pytest.raises(RequestInvalidError, match="answers no calls; use submit and result"):
            call("m08", ROW)
    with pytest.raises(RequestInvalidError, match="answers no calls; use submit and result"):
        fleet.predict("m08", [[1.0]])
    for tenant, hosting in (("m37", "multi-model"), ("m01", "dedicated")):
        with pytest.raises(RequestInvalidError, match=f"a {hosting} endpoint has no queue; use invoke"):
            fleet.submit(tenant, ROW)
    assert aws.invocations == aws.submissions == []


def test_routes_whose_asynchronous_tier_names_no_bucket_are_malformed() -> None:
    document = async_route_document("m08")
    assert parse_routes(json.dumps(document)).route_of("m08").bucket == ASYNC_BUCKET
    del document["tiers"]["backfill"]["bucket"]
    with pytest.raises(RoutesError, match="bucket"):
        parse_routes(json.dumps(document))


def test_a_missing_endpoint_is_not_replaced_by_the_default_tier(aws: FakeAws, fleet: FleetClient) -> None:
    aws.endpoints.remove(queued("m08"))
    with pytest.raises(EndpointGoneError):
        fleet.submit("m08", ROW, deadline_seconds=2)
    assert aws.invocations == []


def test_a_submission_is_repeated_after_a_throttle_and_uploads_once(aws: FakeAws, fleet: FleetClient) -> None:
    aws.fail(queued("m08"), "ThrottlingException", times=2)
    fleet.submit("m08", b"1" * (MAX_INLINE_BYTES + 1))
    assert aws.count("InvokeEndpointAsync") == 3
    assert aws.count("PutObject") == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (b'Received client error (400) from primary with message "x"', PayloadRejectedError),
        (b"Received server error (0) from primary with message timed out", ModelFailedError),
        (b"The request expired: it was in the queue for more than 60 seconds.", RequestExpiredError),
        (b"Inference request has expired.", RequestExpiredError),
        (b'{"error": "the card expired in 2026-03"}', InferenceFailedError),
        (b'{"message": "Unknown task"}', InferenceFailedError),
        (b"\xff" * 1000, InferenceFailedError),
        (b"", InferenceFailedError),
        # A model server's own words.
        (b'{"error": "the card of this request has expired"}', InferenceFailedError),
        (b"ValueError: the session has expired", InferenceFailedError),
    ],
)
def test_a_failure_is_a_typed_error_with_its_text(
    aws: FakeAws, fleet: FleetClient, failure: bytes, error: type[Exception]
) -> None:
    aws.bad_rows["0,0,0"] = failure
    good, bad = fleet.submit("m08", ROW), fleet.submit("m08", b"0,0,0")
    with pytest.raises(error) as raised:
        fleet.result(bad)
    assert failure.decode("utf-8", "replace")[:20] in str(raised.value)
    assert len(str(raised.value)) < 700
    outcomes = fleet.wait_many([bad, good])
    assert isinstance(outcomes[0], error)
    assert isinstance(outcomes[1], Reply)


def test_a_wait_ends_at_its_deadline_and_polls_seldom(aws: FakeAws, timed: Callable[[Time], FleetClient]) -> None:
    aws.asleep = True
    time = Time()
    client = timed(time)
    submission = client.submit("m08", ROW)
    before = aws.count("GetObject")
    with pytest.raises(DeadlineExceededError, match="request r1 has no result after 600 s"):
        client.result(submission, timeout_seconds=600)
    assert time.now == pytest.approx(600)
    assert max(time.pauses) <= LONGEST_PAUSE_SECONDS
    assert aws.count("GetObject") - before < 2 * (600 / LONGEST_PAUSE_SECONDS + 15)
    aws.wake_up()
    assert client.result(submission, timeout_seconds=1).predictions == [score("m08", "1,2,3")]


def test_a_request_too_old_to_get_a_result_is_not_waited_for(
    aws: FakeAws, timed: Callable[[Time], FleetClient]
) -> None:
    """The bucket's life cycle has deleted its result, or its endpoint took its queue with it."""
    aws.asleep = True
    time = Time(lambda _: aws.down.clear())
    client = timed(time)
    submission = client.submit("m08", ROW)
    old = replace(submission, submitted_at=submission.submitted_at - LONGEST_LIFE_SECONDS - 60)
    with pytest.raises(RequestExpiredError, match=r"neither a result nor a failure.*submit it again"):
        client.result(old, timeout_seconds=600)
    assert time.pauses == []
    aws.down.add("s3")
    with pytest.raises(RequestExpiredError):
        client.result(old, timeout_seconds=600)
    assert len(time.pauses) == 1  # while S3 does not say what it has, the result may be there
    aws.wake_up()
    assert client.result(old, timeout_seconds=1).predictions == [score("m08", "1,2,3")]


def test_many_waits_are_bounded_together_and_told_in_order(aws: FakeAws, timed: Callable[[Time], FleetClient]) -> None:
    aws.asleep = True
    time = Time(lambda pauses: aws.wake_up() if pauses == 40 else None)
    client = timed(time)
    submissions = [client.submit(tenant, b"%d" % row) for row in range(30) for tenant in ("m08", "m09")]
    told: list[tuple[int, int]] = []
    before = aws.count("GetObject")
    outcomes = client.wait_many(submissions, 3600, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 60) for done in range(1, 61)]
    expected = [score(tenant, str(row)) for row in range(30) for tenant in ("m08", "m09")]
    assert [outcome.predictions[0] for outcome in outcomes if isinstance(outcome, Reply)] == expected
    # Two requests for each of the oldest ones, and one in turn, before each pause; then one for each result.
    assert aws.count("GetObject") - before <= 40 * 2 * (OLDEST_LOOKED_AT + 1) + 60


def test_requests_that_never_finish_do_not_hide_the_others(aws: FakeAws, timed: Callable[[Time], FleetClient]) -> None:
    aws.asleep = True
    client = timed(Time())
    lost = [client.submit("m08", b"0") for _ in range(OLDEST_LOOKED_AT + 2)]
    aws.queue.clear()
    aws.asleep = False
    there = [client.submit("m08", b"5") for _ in range(3)]
    outcomes = client.wait_many([*lost, *there], 120)
    assert [isinstance(outcome, DeadlineExceededError) for outcome in outcomes] == [True] * len(lost) + [False] * 3


def test_a_wait_goes_on_while_s3_fails_for_a_moment_and_ends_where_it_denies(
    aws: FakeAws, timed: Callable[[Time], FleetClient]
) -> None:
    client = timed(Time(lambda pauses: aws.down.clear() if pauses == 3 else None))
    submission = client.submit("m08", ROW)
    aws.down.add("s3")
    assert client.result(submission, timeout_seconds=60).predictions == [score("m08", "1,2,3")]
    aws.down.add("s3")
    aws.s3_error = (403, "AccessDenied")
    with pytest.raises(AccessDeniedError, match="result could not be read from S3"):
        timed(Time()).result(submission, timeout_seconds=60)

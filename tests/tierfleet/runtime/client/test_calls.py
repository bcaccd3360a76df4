"""FleetClient over real boto3 clients: where a call goes, what it carries, what each failure becomes."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loopback import (
    ACCOUNT,
    BUCKET,
    ENVIRONMENT,
    FLEET,
    REGION,
    SHARED,
    SHARED_AFTER_RETYPE,
    WHALES_VERSION,
    Clock,
    FakeAws,
    older_route_document,
    route_document,
    score,
    session,
    whale,
)

from tierfleet.runtime import clients
from tierfleet.runtime.appconfig import Fetched
from tierfleet.runtime.aws_errors import Kind
from tierfleet.runtime.client import FleetClient, errors
from tierfleet.runtime.client.pointer_cache import PointerSource
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.route_parsing import parse_routes

ROW = b"0.5,2,1"


Connect = Callable[..., FleetClient]


@pytest.fixture
def connect(url: str, boto_session: Any) -> Iterator[Connect]:
    opened = []

    def connect(**options: Any) -> FleetClient:
        options = {"account": ACCOUNT, "session": boto_session, **options}
        opened.append(FleetClient(FLEET, ENVIRONMENT, **options))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(connect: Connect, clock: Clock) -> FleetClient:
    """A client whose clock only its own pauses and the test move."""
    return connect(clock=clock, sleep=clock.sleep, jitter=lambda: 1.0)


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_a_shared_call_names_the_current_model(aws: FakeAws, fleet: FleetClient) -> None:
    reply = fleet.invoke("m37", ROW)
    assert aws.invocations == [
        {
            "endpoint": SHARED,
            "target_model": "m37/v1.tar.gz",
            "accept": "application/json",
            "content_type": "text/csv",
        }
    ]
    assert (reply.tenant, reply.tier, reply.endpoint, reply.model_version) == ("m37", "tail", SHARED, "v1")
    assert (reply.pointer, reply.attempts, reply.fell_back) == (PointerSource.READ, 1, False)
    assert reply.content_type == "application/json"
    assert reply.predictions == [score("m37", ROW.decode())]


def test_a_whales_call_names_no_model_and_reads_no_pointer(aws: FakeAws, fleet: FleetClient) -> None:
    reply = fleet.invoke("m01", ROW, accept="text/csv")
    assert aws.invocations[0]["target_model"] is None
    assert aws.invocations[0]["accept"] == "text/csv"
    assert (reply.tier, reply.endpoint, reply.pointer) == ("whale", whale("m01"), None)
    assert reply.predictions == [score("m01", ROW.decode())]
    assert aws.count("GetObject") == 0


def test_a_whales_version_is_the_one_that_the_routes_pin(aws: FakeAws, fleet: FleetClient, connect: Connect) -> None:
    assert fleet.invoke("m01", ROW).model_version == WHALES_VERSION
    aws.routes = older_route_document()
    assert connect().invoke("m01", ROW).model_version is None


def test_a_whale_that_falls_back_has_its_pointers_version(aws: FakeAws, fleet: FleetClient) -> None:
    aws.endpoints.remove(whale("m01"))
    reply = fleet.invoke("m01", ROW)
    assert (reply.fell_back, reply.model_version) == (True, "v1")


def test_both_tiers_give_the_same_predictions(fleet: FleetClient) -> None:
    rows = [[0.5, 2.0], [1e-9, 3]]
    assert fleet.predict("m01", rows) == [3.5, 1e-9 + 3 + 1]
    assert fleet.predict("m37", rows) == [39.5, 1e-9 + 3 + 37]


def test_the_first_call_costs_three_others_and_the_next_none(aws: FakeAws, fleet: FleetClient) -> None:
    fleet.invoke("m37", ROW)
    assert aws.operations == ["StartConfigurationSession", "GetLatestConfiguration", "GetObject", "InvokeEndpoint"]
    fleet.invoke("m37", ROW)
    assert aws.operations[4:] == ["InvokeEndpoint"]
    assert aws.starts == [
        {
            "ApplicationIdentifier": "fraud--prod",
            "EnvironmentIdentifier": "prod",
            "ConfigurationProfileIdentifier": "routes",
            "RequiredMinimumPollIntervalInSeconds": 15,
        }
    ]


def test_the_routes_name_the_models_bucket(aws: FakeAws, connect: Connect) -> None:
    assert aws.routes is not None
    aws.routes["models_bucket"] = "another--bucket"
    connect(account=None).invoke("m37", ROW)
    assert (aws.buckets, aws.count("GetCallerIdentity")) == ({"another--bucket"}, 0)


def test_an_account_that_is_given_names_it_instead(aws: FakeAws, connect: Connect) -> None:
    assert aws.routes is not None
    aws.routes["models_bucket"] = "another--bucket"
    connect(account=ACCOUNT).invoke("m37", ROW)
    assert aws.buckets == {BUCKET}


def test_routes_without_a_bucket_and_no_account_ask_sts_once(aws: FakeAws, connect: Connect) -> None:
    aws.routes = older_route_document()
    fleet = connect(account=None, region=REGION)
    fleet.invoke("m37", ROW)
    fleet.invoke("m38", ROW)
    assert (aws.count("GetCallerIdentity"), aws.buckets) == (1, {BUCKET})


def test_credentials_that_say_their_account_save_that_call(
    aws: FakeAws, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ACCOUNT_ID", ACCOUNT)
    aws.routes = older_route_document()
    fleet = connect(account=None, region=REGION, session=None)
    fleet.invoke("m37", ROW)
    assert aws.count("GetCallerIdentity") == 0


def test_routes_come_from_a_file_that_is_read_again(
    aws: FakeAws, connect: Connect, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(route_document(whales=())))
    fleet = connect(routes_file=file, clock=clock, sleep=clock.sleep)
    assert fleet.invoke("m01", ROW).endpoint == SHARED
    file.write_text(json.dumps(route_document()))
    clock.now += 121
    assert fleet.invoke("m01", ROW).endpoint == whale("m01")
    assert aws.count("StartConfigurationSession") == 0


def test_routes_may_be_handed_over(aws: FakeAws, connect: Connect) -> None:
    routes = parse_routes(json.dumps(route_document()))
    assert connect(routes=routes).invoke("m01", ROW).endpoint == whale("m01")
    assert aws.operations == ["InvokeEndpoint"]


def test_a_file_that_cannot_be_read_is_one_clear_error(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(errors.RoutesUnavailableError, match=r"m37: routes file .*none.json cannot be read"):
        connect(routes_file=tmp_path / "none.json").invoke("m37", ROW)


def test_another_fleets_routes_are_refused(connect: Connect) -> None:
    routes = parse_routes(json.dumps({**route_document(), "fleet": "churn"}))
    with pytest.raises(errors.RoutesUnavailableError, match="belong to churn prod, not to fraud prod"):
        connect(routes=routes).invoke("m37", ROW)


@pytest.mark.parametrize(
    ("of_the_routes", "of_the_caller", "seconds"),
    [(15, None, 15), (300, None, 300), (None, None, 60), (300, 30, 30), (15, 120, 120), (None, 20, 20)],
)
def test_the_routes_say_how_long_they_may_be_used(
    aws: FakeAws, connect: Connect, clock: Clock, of_the_routes: int | None, of_the_caller: int | None, seconds: int
) -> None:
    aws.routes = {**older_route_document(), **({"ttl_seconds": of_the_routes} if of_the_routes else {})}
    settings = ClientSettings(route_ttl_seconds=of_the_caller)
    fleet = connect(clock=clock, sleep=clock.sleep, settings=settings)
    fleet.invoke("m01", ROW)
    clock.now += seconds - 1
    fleet.invoke("m01", ROW)
    assert aws.count("GetLatestConfiguration") == 1
    clock.now += seconds + 2
    fleet.invoke("m01", ROW)
    assert aws.count("GetLatestConfiguration") == 2, "past two intervals it asks first"


def test_a_poll_uses_the_next_token_and_waits_for_the_interval(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    aws.poll_seconds = 90
    fleet.invoke("m01", ROW)
    clock.now += 89
    fleet.invoke("m01", ROW)
    assert aws.count("GetLatestConfiguration") == 1
    clock.now += 2
    aws.routes = route_document(whales=())
    assert fleet.invoke("m01", ROW).endpoint == whale("m01"), "it does not wait for the poll"
    until(lambda: aws.count("GetLatestConfiguration") == 2)
    until(lambda: fleet.invoke("m01", ROW).endpoint == SHARED)
    assert aws.count("StartConfigurationSession") == 1


def test_after_an_idle_time_the_routes_are_asked_for_first(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    fleet.invoke("m01", ROW)
    aws.routes = route_document(whales=())
    clock.now += 121
    assert fleet.invoke("m01", ROW).endpoint == SHARED


def test_a_token_that_expired_opens_a_new_session(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    fleet.invoke("m01", ROW)
    aws.tokens.clear()
    aws.routes = route_document(whales=())
    clock.now += 25 * 3600
    assert fleet.invoke("m01", ROW).endpoint == SHARED
    assert aws.count("StartConfigurationSession") == 2


def test_while_appconfig_is_down_the_last_routes_serve(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    fleet.invoke("m37", ROW)
    aws.down.add("appconfig")
    clock.now += 3600
    assert fleet.invoke("m37", ROW).endpoint == SHARED
    asked = aws.count("GetLatestConfiguration") + aws.count("StartConfigurationSession")
    fleet.invoke("m37", ROW)
    assert aws.count("GetLatestConfiguration") + aws.count("StartConfigurationSession") == asked, "it is left alone"
    aws.down.clear()
    aws.routes = route_document(whales=("m37",))
    aws.endpoints.add(whale("m37"))
    clock.now += 6
    until(lambda: fleet.invoke("m37", ROW).endpoint == whale("m37"))


def test_without_any_routes_the_call_is_retried_then_fails(aws: FakeAws, fleet: FleetClient) -> None:
    aws.down.add("appconfig")
    could_not = (
        "tenant m37: its routes could not be read from AppConfig: the service is unavailable .*; try again later"
    )
    with pytest.raises(errors.RoutesUnavailableError, match=could_not) as raised:
        fleet.invoke("m37", ROW)
    assert raised.value.kind is Kind.UNAVAILABLE
    assert aws.count("StartConfigurationSession") == 5
    aws.down.clear()
    aws.routes = None
    with pytest.raises(errors.RoutesUnavailableError, match="no deployed routes"):
        fleet.invoke("m37", ROW)


def test_a_published_version_is_used_within_the_ttl(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    fleet.invoke("m37", ROW)
    aws.versions["m37"] = "v2"
    clock.now += 59
    assert fleet.invoke("m37", ROW).model_version == "v1"
    clock.now += 1
    assert fleet.invoke("m37", ROW).model_version == "v2"


def test_while_s3_is_down_the_last_pointer_serves_up_to_its_age(aws: FakeAws, connect: Connect, clock: Clock) -> None:
    settings = ClientSettings(pointer_stale_seconds=600)
    fleet = connect(settings=settings, clock=clock, sleep=clock.sleep)
    fleet.invoke("m37", ROW)
    aws.down.add("s3")
    clock.now += 300
    assert fleet.invoke("m37", ROW).pointer is PointerSource.STALE
    reads = aws.count("GetObject")
    assert fleet.invoke("m37", ROW).pointer is PointerSource.STALE
    assert aws.count("GetObject") == reads, "S3 is left alone for some seconds"
    clock.now += 301
    with pytest.raises(errors.CatalogUnavailableError, match=r"its pointer could not be read from S3: .*SlowDown"):
        fleet.invoke("m37", ROW)
    aws.down.clear()
    assert fleet.invoke("m37", ROW).pointer is PointerSource.READ


def test_a_read_that_is_denied_is_not_s3_being_down(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    fleet.invoke("m37", ROW)
    aws.down.add("s3")
    aws.s3_error = (403, "AccessDenied")
    clock.now += 61
    with pytest.raises(errors.AccessDeniedError, match=r"docs/calling\.md"):
        fleet.invoke("m37", ROW)


def test_an_unpublished_tenant_is_not_asked_for_again_at_once(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    aws.unpublished.add("m37")
    for _ in range(2):
        with pytest.raises(errors.ModelMissingError, match=r"m37 .*no published model; publish"):
            fleet.invoke("m37", ROW)
    assert aws.count("GetObject") == 1
    aws.unpublished.clear()
    clock.now += 6
    assert fleet.invoke("m37", ROW).model_version == "v1"


def test_a_pointer_to_another_tenant_is_refused(aws: FakeAws, fleet: FleetClient) -> None:
    aws.pointers["m37"] = json.dumps({"tenant": "m37", "version": "v", "target_model": "m38/v.tar.gz"})
    with pytest.raises(errors.CatalogUnavailableError, match=r"points to 'm38/v\.tar\.gz'"):
        fleet.invoke("m37", ROW)
    assert aws.invocations == []


def test_a_missing_archive_is_healed_by_a_newer_pointer(aws: FakeAws, fleet: FleetClient) -> None:
    fleet.invoke("m37", ROW)
    aws.missing_archives.add("m37/v1.tar.gz")
    aws.versions["m37"] = "v2"
    reply = fleet.invoke("m37", ROW)
    assert (reply.model_version, reply.attempts) == ("v2", 2)
    aws.missing_archives.add("m37/v2.tar.gz")
    with pytest.raises(errors.ModelMissingError, match="the artefact does not exist"):
        fleet.invoke("m37", ROW)


BUSY = {"OriginalStatusCode": 503, "OriginalMessage": "No worker is available to serve request"}
PREDICTION_FAILED = {"OriginalStatusCode": 503, "OriginalMessage": "Prediction failed"}


@pytest.mark.parametrize(
    ("code", "status", "fields", "attempts"),
    [
        ("ModelNotReadyException", 429, {}, 12),
        ("ThrottlingException", 400, {}, 4),
        ("ServiceUnavailable", 503, {}, 4),
        ("InternalFailure", 500, {}, 4),
        ("InternalDependencyException", 530, {}, 2),
        ("ModelError", 424, BUSY, 2),
        ("ModelError", 424, {"OriginalStatusCode": 507, "OriginalMessage": "no memory"}, 2),
    ],
)
def test_what_may_pass_is_tried_again(
    code: str, status: int, fields: dict[str, Any], attempts: int, aws: FakeAws, fleet: FleetClient
) -> None:
    aws.fail(SHARED, code, "for now", status=status, times=attempts, **fields)
    assert fleet.invoke("m37", ROW).attempts == attempts + 1


@pytest.mark.parametrize(
    ("code", "status", "fields", "error", "attempts"),
    [
        ("ThrottlingException", 400, {}, errors.ServiceFailedError, 5),
        ("ServiceUnavailable", 503, {}, errors.ServiceFailedError, 5),
        ("InternalDependencyException", 530, {}, errors.ServiceFailedError, 3),
        ("ModelError", 424, BUSY, errors.ServiceFailedError, 3),
        ("ModelError", 424, PREDICTION_FAILED, errors.PayloadRejectedError, 1),
        ("ModelError", 424, {"OriginalStatusCode": 415, "OriginalMessage": "x"}, errors.PayloadRejectedError, 1),
        ("ModelError", 424, {"OriginalStatusCode": 500, "OriginalMessage": "x"}, errors.ModelFailedError, 1),
        ("ValidationError", 400, {}, errors.RequestInvalidError, 1),
        ("AccessDeniedException", 403, {}, errors.AccessDeniedError, 1),
        ("SomethingNewException", 400, {}, errors.ServiceFailedError, 1),
    ],
)
def test_every_failure_is_a_typed_error_with_one_sentence(
    code: str,
    status: int,
    fields: dict[str, Any],
    error: type[errors.CallError],
    attempts: int,
    aws: FakeAws,
    fleet: FleetClient,
) -> None:
    aws.fail(SHARED, code, "why", status=status, times=9, **fields)
    with pytest.raises(error, match=f"tenant m37 on endpoint {SHARED}: .*; [a-z]") as raised:
        fleet.invoke("m37", ROW)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert (raised.value.tenant, raised.value.endpoint) == ("m37", SHARED)
    assert len(aws.invocations) == attempts


def test_a_model_that_loads_longer_than_the_deadline_is_too_late(
    aws: FakeAws, fleet: FleetClient, clock: Clock
) -> None:
    aws.fail(SHARED, "ModelNotReadyException", "loading", status=429, times=99)
    started = clock.now
    with pytest.raises(errors.DeadlineExceededError, match=r"still loading .*warm the tenant up") as raised:
        fleet.invoke("m37", ROW, deadline_seconds=10)
    assert raised.value.kind is Kind.MODEL_NOT_READY
    assert clock.now - started < 10
    assert clock.sleeps[:4] == [0.5, 1.0, 2.0, 2.0]


def test_a_deadline_that_passed_sends_nothing(aws: FakeAws, fleet: FleetClient) -> None:
    with pytest.raises(errors.DeadlineExceededError, match="m37: the deadline passed"):
        fleet.invoke("m37", ROW, deadline_seconds=0)
    assert aws.operations == []


def test_waiting_for_a_pointer_ends_at_the_deadline(aws: FakeAws, connect: Connect, clock: Clock) -> None:
    """The deadline does not come nearer before the wait, however slow the machine."""
    fleet = connect(clock=clock)
    fleet.invoke("m38", ROW)  # the routes are known
    aws.hold_s3.clear()
    with pytest.raises(errors.DeadlineExceededError, match=r"S3 did not return its pointer after .*the network"):
        fleet.invoke("m37", ROW, deadline_seconds=0.2)
    aws.hold_s3.set()
    assert fleet.invoke("m37", ROW).model_version == "v1"


def test_while_s3_does_not_answer_the_last_pointer_serves(aws: FakeAws, connect: Connect, clock: Clock) -> None:
    fleet = connect(clock=clock)
    fleet.invoke("m37", ROW)
    aws.versions["m37"] = "v2"
    aws.hold_s3.clear()
    clock.now += 61
    held = [fleet.invoke("m37", ROW, deadline_seconds=2) for _ in range(2)]
    reads = aws.count("GetObject")
    aws.hold_s3.set()
    until(lambda: fleet.invoke("m37", ROW).model_version == "v2")

    assert [(reply.pointer, reply.model_version) for reply in held] == [(PointerSource.STALE, "v1")] * 2
    assert reads == 2, "the calls share one read, and it goes on"


def test_a_connection_that_fails_is_tried_again_then_an_error(connect: Connect, clock: Clock) -> None:
    aws = clients.calling_clients(session=session(), region=REGION, read_timeout_seconds=60, connections=1)
    # Nothing listens on the discard port.
    unreachable = session().client(
        "sagemaker-runtime", endpoint_url="http://127.0.0.1:9", config=aws.runtime.meta.config
    )
    broken = clients.CallingClients(runtime=unreachable, s3=aws.s3, appconfigdata=aws.appconfigdata)
    with pytest.raises(errors.ServiceFailedError, match=r"the connection failed .*; check the network") as raised:
        connect(aws=broken, clock=clock, sleep=clock.sleep).invoke("m37", ROW)
    assert raised.value.kind is Kind.CONNECTION
    assert len(clock.sleeps) == 2
    broken.close()
    aws.close()


@pytest.mark.parametrize("tenant", ["", "../m38", "M37", "m--37", "m37\n", "m37/"])
def test_a_text_that_is_no_tenant_id_is_refused(tenant: str, aws: FakeAws, fleet: FleetClient) -> None:
    with pytest.raises(errors.RequestInvalidError, match="not a tenant id"):
        fleet.invoke(tenant, ROW)
    assert aws.operations == []


def test_the_constructor_refuses_what_cannot_work(boto_session: Any) -> None:
    with pytest.raises(ValueError, match="fleet is 'Fraud'"):
        FleetClient("Fraud", "prod")
    routes = parse_routes(json.dumps(route_document()))
    with pytest.raises(ValueError, match="both routes and routes_file"):
        FleetClient("fraud", "prod", routes=routes, routes_file="routes.json")
    with pytest.raises(ValueError, match=r"deadline_seconds is 0, allowed: above 0, or None; route_ttl_seconds is 14"):
        ClientSettings(deadline_seconds=0, route_ttl_seconds=14)


def test_a_reply_that_is_not_one_score_per_row_is_said_so(fleet: FleetClient, aws: FakeAws) -> None:
    with pytest.raises(ValueError, match="no rows"):
        fleet.predict("m37", [])
    reply = fleet.invoke("m37", b"1\n2\n3")
    assert len(reply.predictions) == 3
    with pytest.raises(ValueError, match="row 1 has 1 features"):
        fleet.predict("m37", [[1, 2], [3]])


def test_the_callers_are_fair_to_each_other(aws: FakeAws, connect: Connect) -> None:
    fleet = connect(settings=ClientSettings(calls_per_tenant=2, deadline_seconds=60))
    fleet.invoke("m37", ROW)
    fleet.invoke("m38", ROW)
    aws.hold_invocations.clear()
    with ThreadPoolExecutor(8) as pool:
        backfill = [pool.submit(fleet.invoke, "m37", ROW) for _ in range(6)]
        until(lambda: aws.count("InvokeEndpoint") == 4)
        other = pool.submit(fleet.invoke, "m38", ROW)
        until(lambda: aws.count("InvokeEndpoint") == 5)
        assert sum(call["target_model"] == "m37/v1.tar.gz" for call in aws.invocations[2:]) == 2
        with pytest.raises(errors.TenantBusyError, match=r"m37: its 2 calls were still running after 0\.05 s"):
            fleet.invoke("m37", ROW, deadline_seconds=0.05)
        aws.hold_invocations.set()
        assert other.result().tenant == "m38"
        assert {call.result().tenant for call in backfill} == {"m37"}
    assert max(call.result().timings.waiting_seconds for call in backfill) > 0


def test_one_read_serves_every_thread_that_waits_for_it(aws: FakeAws, connect: Connect) -> None:
    fleet = connect(settings=ClientSettings(calls_per_tenant=8))
    aws.hold_s3.clear()
    barrier = threading.Barrier(8)

    def call() -> str | None:
        barrier.wait()
        return fleet.invoke("m37", ROW).model_version

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call) for _ in range(8)]
        until(lambda: aws.count("GetObject") == 1)
        aws.hold_s3.set()
        assert {call.result() for call in calls} == {"v1"}
    assert (aws.count("StartConfigurationSession"), aws.count("GetObject")) == (1, 1)


def test_a_gone_endpoint_is_healed_by_newer_routes(aws: FakeAws, fleet: FleetClient) -> None:
    fleet.invoke("m37", ROW)
    aws.routes = route_document(shared=SHARED_AFTER_RETYPE)
    aws.endpoints = {SHARED_AFTER_RETYPE}
    reply = fleet.invoke("m37", ROW)
    assert (reply.endpoint, reply.attempts, reply.fell_back) == (SHARED_AFTER_RETYPE, 2, False)
    assert aws.count("StartConfigurationSession") == 2


def test_a_gone_whale_is_served_by_the_default_tier(aws: FakeAws, fleet: FleetClient) -> None:
    aws.endpoints.remove(whale("m01"))
    reply = fleet.invoke("m01", ROW)
    assert (reply.endpoint, reply.tier, reply.fell_back, reply.model_version) == (SHARED, "tail", True, "v1")
    assert reply.predictions == [score("m01", ROW.decode())]


def test_a_tenant_promoted_while_its_routes_are_old(aws: FakeAws, fleet: FleetClient) -> None:
    fleet.invoke("m07", ROW)
    aws.routes = route_document(shared=SHARED_AFTER_RETYPE, whales=("m07",))
    aws.endpoints = {whale("m07")}
    assert fleet.invoke("m07", ROW).endpoint == whale("m07")
    assert aws.invocations[-1]["target_model"] is None


def test_when_no_endpoint_is_left_the_error_says_so(aws: FakeAws, fleet: FleetClient) -> None:
    aws.endpoints.clear()
    with pytest.raises(errors.EndpointGoneError, match=f"m01 on endpoint {SHARED}: the endpoint does not exist"):
        fleet.invoke("m01", ROW)


def test_a_refresh_that_another_call_had_is_waited_for_if_nothing_else_is_left(
    aws: FakeAws, fleet: FleetClient, clock: Clock
) -> None:
    aws.endpoints.remove(whale("m01"))
    fleet.invoke("m01", ROW)
    aws.routes = route_document(shared=SHARED_AFTER_RETYPE)
    aws.endpoints = {SHARED_AFTER_RETYPE}
    assert fleet.invoke("m37", ROW).endpoint == SHARED_AFTER_RETYPE
    assert clock.sleeps == [5.0]


def test_routes_are_forced_at_most_once_in_five_seconds(aws: FakeAws, fleet: FleetClient, clock: Clock) -> None:
    aws.endpoints.remove(whale("m01"))
    for _ in range(10):
        fleet.invoke("m01", ROW)
    assert aws.count("StartConfigurationSession") == 2
    clock.now += 5
    fleet.invoke("m01", ROW)
    assert aws.count("StartConfigurationSession") == 3


def test_a_gone_endpoint_while_appconfig_is_down_falls_back(aws: FakeAws, fleet: FleetClient) -> None:
    fleet.invoke("m37", ROW)
    aws.endpoints.remove(whale("m01"))
    aws.down.add("appconfig")
    assert fleet.invoke("m01", ROW).fell_back


def test_closing_leaves_no_connection_and_no_thread(url: str, boto_session: Any) -> None:
    lines: list[str] = []
    before = set(threading.enumerate())
    with FleetClient(FLEET, ENVIRONMENT, account=ACCOUNT, session=boto_session, emit=lines.append) as fleet:
        fleet.invoke("m37", ROW)
        assert "tierfleet-metrics" in [thread.name for thread in set(threading.enumerate()) - before]
    assert "tierfleet-metrics" not in [thread.name for thread in set(threading.enumerate()) - before]
    assert lines


@pytest.mark.parametrize(
    ("service", "could_not", "error"),
    [
        ("appconfigdata", "its routes could not be read from AppConfig", errors.RoutesUnavailableError),
        ("s3", "its pointer could not be read from S3", errors.CatalogUnavailableError),
    ],
)
@pytest.mark.parametrize("deadline_seconds", [70, 28])
def test_what_could_not_be_reached_is_named(
    service: str, could_not: str, error: type, deadline_seconds: float, connect: Connect, clock: Clock
) -> None:
    aws = clients.calling_clients(session=session(), region=REGION, read_timeout_seconds=5, connections=1)
    config = getattr(aws, service).meta.config
    broken = replace(aws, **{service: session().client(service, endpoint_url="http://127.0.0.1:9", config=config)})
    # Pauses of 10 and 20 s: an attempt's own limit is by the machine's clock, and must not end it on a busy one.
    caller = connect(aws=broken, clock=clock, sleep=clock.sleep, jitter=lambda: 399.0)
    says = f"{could_not}: the connection failed .*http://127.0.0.1:9.*; check the network, the region and AWS_ENDPOINT"
    with pytest.raises(error if deadline_seconds == 70 else errors.DeadlineExceededError, match=says) as raised:
        caller.invoke("m37", ROW, deadline_seconds=deadline_seconds)
    assert raised.value.kind is Kind.CONNECTION
    assert "alarms" not in str(raised.value)
    broken.close()
    aws.close()


def test_while_appconfig_does_not_answer_an_idle_callers_routes_serve(
    aws: FakeAws, connect: Connect, clock: Clock
) -> None:
    fleet = connect(clock=clock)
    fleet.invoke("m01", ROW)
    aws.routes = route_document(whales=())
    aws.hold_appconfig.clear()
    clock.now += 3600
    held = [fleet.invoke("m01", ROW, deadline_seconds=10) for _ in range(2)]
    asked = aws.count("GetLatestConfiguration")
    aws.hold_appconfig.set()
    until(lambda: fleet.invoke("m01", ROW).endpoint == SHARED)

    assert [reply.endpoint for reply in held] == [whale("m01")] * 2
    assert held[1].timings.resolving_seconds == 0, "the second call does not wait"
    assert asked == 2, "the calls share one poll, and it goes on"


def test_routes_that_come_after_the_deadline_send_nothing(aws: FakeAws, connect: Connect, clock: Clock) -> None:
    def slow(*, new_session: bool) -> Fetched:
        clock.now += 3
        return Fetched(parse_routes(json.dumps(route_document())), 60)

    fleet = connect(clock=clock)
    fleet._services.routes._fetch = slow
    with pytest.raises(errors.DeadlineExceededError, match=r"m01 on endpoint .*: the deadline passed after 3.0 s"):
        fleet.invoke("m01", ROW, deadline_seconds=2)
    assert aws.invocations == []


def test_a_reply_of_the_routed_endpoint_is_not_said_to_be_the_default_tiers(aws: FakeAws, fleet: FleetClient) -> None:
    """The dedicated endpoint and the old multi-model endpoint do not exist; newer routes name a new one."""
    fleet.invoke("m01", ROW)
    aws.endpoints -= {whale("m01"), SHARED}
    aws.endpoints.add(SHARED_AFTER_RETYPE)
    forced = fleet._services.routes.newer_than

    def later(seen: Any, *, seconds_left: float) -> Any:
        if SHARED in {call["endpoint"] for call in aws.invocations}:
            aws.routes = route_document(shared=SHARED_AFTER_RETYPE, whales=())
        return forced(seen, seconds_left=seconds_left)

    fleet._services.routes.newer_than = later  # type: ignore[method-assign]
    reply = fleet.invoke("m01", ROW)
    assert (reply.endpoint, reply.fell_back) == (SHARED_AFTER_RETYPE, False)


def test_without_a_region_the_constructor_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ValueError, match="no region is known; give region"):
        FleetClient(FLEET, ENVIRONMENT)

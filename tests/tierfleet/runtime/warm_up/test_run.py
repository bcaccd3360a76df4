"""The warm-up engine: order, retries, deadline, and that every tenant ends in exactly one place."""

import io
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from loopback import ACCOUNT, BUCKET, SHARED, Clock

from tierfleet.runtime.route_document import Probe
from tierfleet.runtime.warm_up import run as warm_module
from tierfleet.runtime.warm_up.plan import WarmUpPlan
from tierfleet.runtime.warm_up.run import warm


def error(code: str, message: str = "", **fields: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **fields}, "InvokeEndpoint")


def model_error(status: int, message: str) -> ClientError:
    return error("ModelError", OriginalStatusCode=status, OriginalMessage=message)


NOT_READY = error("ModelNotReadyException", "loading")
THROTTLED = error("ThrottlingException", "Rate exceeded")
NO_WORKER = model_error(503, "No worker is available to serve request")
NO_MEMORY = model_error(507, "Insufficient memory")
BAD_PROBE = model_error(503, "Prediction failed")
NO_ARCHIVE = error("ValidationError", "Failed to download model data (bucket: b, key: k)")
NO_ENDPOINT = error("ValidationError", f"Endpoint {SHARED} of account {ACCOUNT} not found.")
DENIED = error("AccessDeniedException", "not authorized to perform sagemaker:InvokeEndpoint")
TIMEOUT = ReadTimeoutError(endpoint_url="https://runtime.sagemaker")


class WaitersClock(Clock):
    """For the thread that made it each look is an hour earlier: it waits for the others whatever they take."""

    def __init__(self) -> None:
        super().__init__()
        self._waiter, self._next_look = threading.get_ident(), self.now

    def __call__(self) -> float:
        if threading.get_ident() != self._waiter:
            return self.now
        look, self._next_look = self._next_look, self._next_look - 3600
        return look


class Fleet:
    """Both clients of a fake fleet. replies: tenant to the errors its first probes get; then it answers."""

    def __init__(
        self,
        replies: dict[str, list[Exception]] | None = None,
        *,
        unpublished: tuple[str, ...] = (),
        probe_seconds: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.replies = {tenant: list(errors) for tenant, errors in (replies or {}).items()}
        self.unpublished = unpublished
        self.probe_seconds = probe_seconds
        self.probes: list[str] = []
        self.pointer_reads: list[str] = []
        self.during_probe: Callable[[], object] = lambda: None

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert Bucket == BUCKET
        tenant = Key.removeprefix("catalog/").removesuffix(".json")
        self.pointer_reads.append(tenant)
        if tenant in self.unpublished:
            raise error("NoSuchKey", "The specified key does not exist.")
        pointer = {"tenant": tenant, "version": "1", "target_model": f"{tenant}/1.tar.gz"}
        return {"Body": io.BytesIO(json.dumps(pointer).encode())}

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        tenant = request["TargetModel"].split("/")[0]
        self.probes.append(tenant)
        self.clock.sleep(self.probe_seconds)
        self.during_probe()
        if self.replies.get(tenant):
            raise self.replies[tenant].pop(0)
        return {"Body": io.BytesIO(b"0.5")}


def plan(*tenants: str, concurrency: int = 1, deadline_seconds: float = 780, **elsewhere: str) -> WarmUpPlan:
    return WarmUpPlan(
        endpoint_name=SHARED,
        tier="tail",
        tenants=tenants,
        elsewhere=elsewhere,
        probe=Probe("text/csv", "0,0,0"),
        concurrency=concurrency,
        deadline_seconds=deadline_seconds,
    )


def run(fleet: Any, the_plan: WarmUpPlan, **options: Any) -> Any:
    return warm(
        the_plan,
        runtime=fleet,
        s3=fleet,
        models_bucket=BUCKET,
        clock=fleet.clock,
        sleep=fleet.clock.sleep,
        jitter=lambda: 1.0,
        **options,
    )


def test_a_probe_is_a_tagged_valid_row_for_the_tenants_current_model() -> None:
    session = boto3.Session("test", "test", region_name="eu-west-1")
    runtime, s3 = session.client("sagemaker-runtime"), session.client("s3")
    pointer = b'{"tenant": "m02", "version": "2027-09-14", "target_model": "m02/2027-09-14.tar.gz"}'
    with Stubber(runtime) as runtime_stub, Stubber(s3) as s3_stub:
        s3_stub.add_response(
            "get_object",
            {"Body": StreamingBody(io.BytesIO(pointer), len(pointer))},
            {"Bucket": BUCKET, "Key": "catalog/m02.json"},
        )
        reply = io.BytesIO(b"0.5")
        runtime_stub.add_response(
            "invoke_endpoint",
            {"Body": StreamingBody(reply, 3)},
            {
                "EndpointName": SHARED,
                "TargetModel": "m02/2027-09-14.tar.gz",
                "ContentType": "text/csv",
                "Body": b"0,0,0",
                "CustomAttributes": "tierfleet-warm-up",
                "InferenceId": "tierfleet-warm-up",
            },
        )
        report = warm(plan("m02"), runtime=runtime, s3=s3, models_bucket=BUCKET)
        assert report.warmed == ("m02",)
        assert reply.read() == b"", "the reply was not read, so its connection is not reusable"


def test_the_hottest_tenant_is_probed_last() -> None:
    fleet = Fleet()
    report = run(fleet, plan("hot", "mild", "cold"))
    assert fleet.probes == ["cold", "mild", "hot"]
    assert report.warmed == ("hot", "mild", "cold")


def test_a_tenant_on_another_tier_is_skipped_and_never_called() -> None:
    fleet = Fleet()
    report = run(fleet, plan("m01", "m02", m01="it is on tier whale"))
    assert (report.warmed, report.skipped) == (("m02",), {"m01": "it is on tier whale"})
    assert fleet.pointer_reads == fleet.probes == ["m02"]


def test_one_failure_does_not_keep_the_others_cold() -> None:
    fleet = Fleet({"m02": [BAD_PROBE]})
    report = run(fleet, plan("m01", "m02", "m03"))
    assert report.warmed == ("m01", "m03")
    assert "Prediction failed" in report.failed["m02"]
    assert report.stopped is None
    assert fleet.probes.count("m02") == 1


def test_a_missing_model_is_counted_not_fatal() -> None:
    fleet = Fleet({"m03": [NO_ARCHIVE]}, unpublished=("m02",))
    report = run(fleet, plan("m01", "m02", "m03", "m04"))
    assert (report.warmed, report.missing, report.failed) == (("m01", "m04"), ("m02", "m03"), {})
    assert Counter(fleet.probes) == {"m01": 1, "m03": 1, "m04": 1}


def test_a_text_that_is_no_tenant_id_fails_alone() -> None:
    fleet = Fleet()
    report = run(fleet, plan("../m01", "m02"))
    assert report.warmed == ("m02",)
    assert "not a tenant id" in report.failed["../m01"]


@pytest.mark.parametrize("hiccup", [NOT_READY, THROTTLED, NO_WORKER, NO_MEMORY, TIMEOUT])
def test_what_is_worth_retrying_recovers(hiccup: Exception) -> None:
    fleet = Fleet({"m01": [hiccup] * 4})
    report = run(fleet, plan("m01"))
    assert report.warmed == ("m01",)
    assert fleet.probes == ["m01"] * 5


def test_retries_wait_longer_each_time_up_to_a_ceiling_and_are_spread_by_jitter() -> None:
    for jitter, waits in ((1.0, [0.5, 1, 2, 4]), (0.0, [0.25, 0.5, 1, 2])):
        fleet, slept = Fleet({"m01": [THROTTLED] * 4}), []
        warm(
            plan("m01"),
            runtime=fleet,
            s3=fleet,
            models_bucket=BUCKET,
            clock=fleet.clock,
            sleep=slept.append,
            jitter=lambda jitter=jitter: jitter,
        )
        assert slept == waits


def test_a_lasting_error_is_given_up_after_a_few_attempts() -> None:
    fleet = Fleet({"m01": [NO_WORKER] * 99})
    report = run(fleet, plan("m01", "m02"))
    assert "No worker is available" in report.failed["m01"]
    assert fleet.probes.count("m01") == warm_module.MOST_ATTEMPTS
    assert report.warmed == ("m02",)


def test_a_model_may_load_for_six_minutes_and_no_longer() -> None:
    fleet = Fleet({"m01": [NOT_READY] * 999})
    report = run(fleet, plan("m01"))
    assert "still loading" in report.failed["m01"]
    assert 360 <= report.seconds < 375
    assert run(Fleet({"m01": [NOT_READY] * 30}), plan("m01")).warmed == ("m01",)


@pytest.mark.parametrize("fatal", [DENIED, NO_ENDPOINT])
def test_an_error_that_every_tenant_would_get_stops_the_run(fatal: Exception) -> None:
    tenants = [f"m{number}" for number in range(500)]
    fleet = Fleet({tenant: [fatal] for tenant in tenants})
    report = run(fleet, plan(*tenants))
    assert fleet.probes == ["m499"]
    assert list(report.failed) == ["m499"]
    assert report.left == tuple(tenants[:499])
    assert report.stopped == report.failed["m499"]


def test_a_denied_catalog_stops_the_run_too() -> None:
    fleet = Fleet()

    def deny(**_: str) -> None:
        fleet.pointer_reads.append("denied")
        raise error("AccessDenied", "Access Denied")

    fleet.get_object = deny
    report = run(fleet, plan("m01", "m02"))
    assert fleet.pointer_reads == ["denied"]
    assert (list(report.failed), report.left) == (["m02"], ("m01",))


@pytest.mark.parametrize("published", [False, True])
def test_a_denied_pointer_is_a_missing_one_where_the_list_says_so(published: bool) -> None:
    """S3 answers 403 for a missing key to a role that may list `catalog/` only."""
    fleet = Fleet()
    read = fleet.get_object
    listed = []

    def get(*, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        if Key == "catalog/t1.json":
            raise error("AccessDenied", "Access Denied")
        return read(Bucket=Bucket, Key=Key)

    def list_objects(**request: Any) -> dict[str, Any]:
        listed.append(request)
        # S3 lists what begins so: another tenant's pointer is not this one's.
        others = [{"Key": "catalog/t1.json.old"}]
        return {"Contents": [{"Key": "catalog/t1.json"}] if published else others}

    fleet.get_object = get  # type: ignore[method-assign]
    fleet.list_objects_v2 = list_objects  # type: ignore[attr-defined]
    report = run(fleet, plan("t2", "t1"))
    assert listed == [{"Bucket": BUCKET, "Prefix": "catalog/t1.json", "MaxKeys": 1}]
    if published:
        assert ([*report.failed], report.missing, report.left) == (["t1"], (), ("t2",))
    else:
        assert (report.missing, report.warmed, report.failed) == (("t1",), ("t2",), {})


def test_no_probe_starts_that_could_outlast_the_deadline() -> None:
    tenants = [f"m{number}" for number in range(20)]
    fleet = Fleet(probe_seconds=10)
    report = run(fleet, plan(*tenants, deadline_seconds=173))
    # 173 seconds less the longest probe's 73 leave 100: ten probes of ten seconds.
    assert report.warmed == tuple(tenants[10:])
    assert report.left == tuple(tenants[:10])
    assert report.stopped == "the deadline of 173 seconds was near"
    assert report.seconds == 100


def test_a_short_deadline_still_gets_half_its_time() -> None:
    fleet = Fleet(probe_seconds=10)
    report = run(fleet, plan("m01", "m02", "m03", deadline_seconds=40))
    assert (report.warmed, report.left) == (("m02", "m03"), ("m01",))


def test_no_time_at_all_leaves_everyone() -> None:
    fleet = Fleet()
    report = run(fleet, plan("m01", "m02", deadline_seconds=0))
    assert report.left == ("m01", "m02")
    assert fleet.probes == []


def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    fleet = Fleet({"m01": [NOT_READY] * 999})
    report = run(fleet, plan("m01", deadline_seconds=20))
    assert (report.left, report.failed) == (("m01",), {})
    assert report.seconds <= 10


def test_a_call_that_hangs_is_not_waited_for() -> None:
    fleet, release = Fleet(), threading.Event()
    fleet.during_probe = lambda: release.wait(30)
    try:
        report = run(fleet, plan("m01", "m02", deadline_seconds=0.01))
    finally:
        release.set()
    assert report.left == ("m01", "m02")


def test_as_many_probes_run_at_once_as_allowed_and_no_more() -> None:
    fleet, together = Fleet(), threading.Barrier(4)
    running, most, lock = 0, 0, threading.Lock()

    def meet() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(30)
        with lock:
            running -= 1

    fleet.during_probe = meet
    report = run(fleet, plan(*(f"m{number}" for number in range(12)), concurrency=4))
    assert len(report.warmed) == 12
    assert most == 4


def test_a_run_without_tenants_ends_at_once() -> None:
    report = run(Fleet(), plan("m01", m01="it is on tier whale"))
    assert report.counts == {"warmed": 0, "failed": 0, "missing": 0, "skipped": 1, "left": 0}


def test_a_repeat_is_one_call_per_tenant() -> None:
    fleet = Fleet()
    for _ in range(5):
        report = run(fleet, plan("m01", "m02", concurrency=2))
    assert report.warmed == ("m01", "m02")
    assert Counter(fleet.probes) == Counter(fleet.pointer_reads) == {"m01": 5, "m02": 5}


def test_the_report_is_json() -> None:
    report = run(Fleet({"m01": [BAD_PROBE]}), plan("m01", "m02", "m03", m03="it is on tier whale"))
    assert json.loads(json.dumps(report.to_json())) == {
        "warmed": ["m02"],
        "failed": report.failed,
        "missing": [],
        "skipped": {"m03": "it is on tier whale"},
        "left": [],
        "seconds": 0.0,
        "stopped": None,
    }


tenant_ids = st.integers(0, 30).map(lambda number: f"m{number}")
hiccups = st.lists(
    st.sampled_from(
        [
            NOT_READY,
            THROTTLED,
            NO_WORKER,
            NO_MEMORY,
            TIMEOUT,
            BAD_PROBE,
            NO_ARCHIVE,
            NO_ENDPOINT,
            DENIED,
            RuntimeError("a bug"),
        ]
    ),
    max_size=8,
)


@given(
    tenants=st.lists(tenant_ids, unique=True, max_size=12),
    replies=st.dictionaries(tenant_ids, hiccups),
    unpublished=st.frozensets(tenant_ids, max_size=5),
    whales=st.frozensets(tenant_ids, max_size=5),
    concurrency=st.integers(1, 5),
    deadline_seconds=st.integers(0, 780),
    probe_seconds=st.floats(0, 70),
)
def test_every_listed_tenant_ends_in_exactly_one_place(
    tenants: list[str],
    replies: dict[str, list[Exception]],
    unpublished: frozenset[str],
    whales: frozenset[str],
    concurrency: int,
    deadline_seconds: int,
    probe_seconds: float,
) -> None:
    fleet = Fleet(replies, unpublished=tuple(unpublished), probe_seconds=probe_seconds)
    fleet.clock = WaitersClock()  # a probe that is not waited for would end after the report
    elsewhere = {tenant: "it is on tier whale" for tenant in tenants if tenant in whales}
    the_plan = plan(*tenants, concurrency=concurrency, deadline_seconds=deadline_seconds, **elsewhere)
    ended: list[str] = []
    report = run(fleet, the_plan, ended=ended.append)
    assert sorted(ended) == sorted([*report.warmed, *report.failed, *report.missing])
    places = [*report.warmed, *report.failed, *report.missing, *report.skipped, *report.left]
    assert sorted(places) == sorted(tenants)
    assert sum(report.counts.values()) == len(tenants)
    assert bool(report.left) <= bool(report.stopped)
    assert set(report.skipped) == set(elsewhere)
    assert not set(fleet.probes) & (set(elsewhere) | unpublished)
    assert set(report.warmed) <= set(fleet.probes)
    if concurrency == 1:
        order = list(dict.fromkeys(fleet.probes))
        assert order == [tenant for tenant in reversed(tenants) if tenant in order]

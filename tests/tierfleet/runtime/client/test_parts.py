"""The client's parts by themselves: scores, rows, slots, single flight, pointer cache, pauses."""

import json
import math
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from loopback import ENVIRONMENT, FLEET, Clock, session

from tierfleet.runtime.aws_errors import Kind, Verdict
from tierfleet.runtime.catalog import NoSuchModelError, Pointer
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import TenantBusyError
from tierfleet.runtime.client.pointer_cache import PointerCache, PointerSource
from tierfleet.runtime.client.reply import csv_rows, parse_scores
from tierfleet.runtime.client.retries import LONGEST_PAUSE_SECONDS, MOST_ATTEMPTS, Retries
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.client.tenant_slots import Claim, TenantSlots
from tierfleet.runtime.single_flight import SingleFlight

SCORES = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20)


@given(SCORES)
def test_every_form_of_the_same_scores_parses_equal(scores: list[float]) -> None:
    shared_json = json.dumps(scores)
    dedicated_json = json.dumps({"predictions": [{"score": value} for value in scores]})
    shared_csv = ",".join(map(repr, scores))
    dedicated_csv = "\n".join(map(repr, scores)) + "\n"
    for form in (shared_json, dedicated_json, shared_csv, dedicated_csv, json.dumps([[value] for value in scores])):
        assert parse_scores(form.encode()) == scores


@pytest.mark.parametrize(
    "body",
    [
        b"[[0.1, 0.9], 0.1]",
        b'{"predictions": [{"label": 1}]}',
        b'{"error": "x"}',
        b"{}",
        b"[true]",
        b"0.1,x",
        b"[0.1",
        b"\xff",
    ],
)
def test_anything_else_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_scores(body)


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=width, max_size=width), min_size=1
        )
    )
)
def test_rows_keep_every_bit_and_say_missing(rows: list[list[float | None]]) -> None:
    read = [[float(value) for value in line.split(",")] for line in csv_rows(rows).decode().split("\n")]
    assert len(read) == len(rows)
    for sent, got in zip(rows, read, strict=True):
        for value, back in zip(sent, got, strict=True):
            assert back == value or (math.isnan(back) and (value is None or math.isnan(value)))


@pytest.mark.parametrize("rows", [[], [[]], [[1, 2], [1]], [[math.inf]]])
def test_rows_that_are_no_table_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"rows|feature"):
        csv_rows(rows)


def test_a_failed_read_fails_all_that_waited_and_the_next_reads_again() -> None:
    flights: SingleFlight[str, int] = SingleFlight("test")
    started, go = threading.Event(), threading.Event()

    def fail() -> int:
        started.set()
        go.wait(10)
        raise KeyError("x")

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(flights.run, "a", fail, timeout_seconds=10) for _ in range(4)]
        assert started.wait(10)
        assert flights.run("b", lambda: 7, timeout_seconds=10) == 7
        with pytest.raises(TimeoutError):
            flights.run("a", fail, timeout_seconds=0)
        go.set()
        assert {type(call.exception()) for call in waiting} == {KeyError}
    assert flights.run("a", lambda: 8, timeout_seconds=10) == 8


def test_a_starter_that_was_stopped_leaves_no_error_in_the_reads_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    flights: SingleFlight[str, int] = SingleFlight("test")
    read = threading.Event()
    start = threading.Thread.start

    def stopped(thread: threading.Thread) -> None:
        start(thread)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", stopped)
        with pytest.raises(Stopped):
            flights.start("a", lambda: read.wait(10) or 7)
    unseen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", unseen.append)
    late = next(thread for thread in threading.enumerate() if thread.name == "test")
    read.set()
    late.join(10)
    assert (unseen, flights.run("a", lambda: 8, timeout_seconds=10)) == ([], 8)


def test_a_call_that_is_stopped_while_it_takes_or_returns_a_connection_holds_up_no_other(url: str) -> None:
    """The lock of urllib3's own queue would stay taken, and every later call would wait for it without end."""
    queues: list[Any] = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        # In Condition.__enter__, after it has the lock.
        if event == "c_return" and frame.f_code.co_name == "__enter__" and frame.f_back is not None:
            queues.append(frame.f_back.f_code.co_filename)
            if queues[-1].endswith("queue.py"):
                raise Stopped

    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        client.invoke("m37", b"1")
        sys.setprofile(profile)
        try:
            with suppress(Stopped):
                client.invoke("m37", b"1")
        finally:
            sys.setprofile(None)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(client.predict, "m37", [[1]]).result(60)
    assert not any(file.endswith("queue.py") for file in queues)


def test_slots_are_bounded_per_tenant_and_forgotten_when_free() -> None:
    slots = TenantSlots(3)
    lock, running, most = threading.Lock(), Counter[str](), Counter[str]()

    def call(tenant: str) -> None:
        claim = Claim(tenant)
        assert slots.take(claim, timeout_seconds=30)
        with lock:
            running[tenant] += 1
            most[tenant] = max(most[tenant], running[tenant])
        with lock:
            running[tenant] -= 1
        slots.give_back(claim)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, ["m01", "m02"] * 300))
    assert max(most.values()) <= 3
    assert slots._tenants == {}


def test_a_slot_that_does_not_come_free_leaves_nothing_behind() -> None:
    slots = TenantSlots(1)
    held, refused, other, later = (Claim(tenant) for tenant in ("m01", "m01", "m02", "m01"))
    assert slots.take(held, timeout_seconds=0)
    assert not slots.take(refused, timeout_seconds=0)
    assert slots.take(other, timeout_seconds=0)
    slots.give_back(refused)
    slots.give_back(held)
    assert slots.take(later, timeout_seconds=0)
    for claim in (later, other, held):
        # Once more does nothing.
        slots.give_back(claim)
    assert slots._tenants == {}


class Stopped(BaseException):
    """What a task queue raises in a task that it stops."""


@contextmanager
def stopped_at(number: int) -> Iterator[list[int]]:
    """Raise Stopped once, at one of the points in the module where a signal's handler runs: a function's beginning and
    a call's end."""
    seen = [0]

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if frame.f_code.co_filename.endswith("tenant_slots.py") and event in {"call", "c_return"}:
            seen[0] += 1
            if seen[0] == number:
                raise Stopped

    sys.setprofile(profile)
    try:
        yield seen
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("busy", [False, True])
def test_a_call_that_is_stopped_anywhere_leaves_no_slot_taken(busy: bool, url: str) -> None:
    """At each step of taking a slot and of giving it back; busy: another call has the only slot and gives none."""
    with FleetClient(FLEET, ENVIRONMENT, session=session(), settings=ClientSettings(calls_per_tenant=1)) as client:
        client.invoke("m01", b"1")
        slots = client._state.slots  # type: ignore[union-attr]
        stopped = 0
        for number in range(1, 100):
            other = Claim("m01")
            if busy:
                assert slots.take(other, timeout_seconds=0)
            with stopped_at(number) as seen, suppress(Stopped, TenantBusyError):
                client.invoke("m01", b"1", deadline_seconds=0.01 if busy else 30)
            slots.give_back(other)
            assert slots._tenants == {}, number
            if seen[0] < number:
                break
            stopped += 1
        assert 5 < stopped < 99


class Catalog:
    """An S3 of pointers that can be down."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.version = 1
        self.error: Exception | None = None

    def read(self, tenant: str) -> Pointer:
        self.reads.append(tenant)
        if self.error:
            raise self.error
        return Pointer(tenant, str(self.version), f"{tenant}/{self.version}.tar.gz")


DOWN = ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "GetObject")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.sampled_from("abcde")),
        st.tuples(st.just("pass"), st.floats(0, 400)),
        st.tuples(st.sampled_from(["publish", "down", "up"]), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS, jitter=st.floats(0, 1))
def test_a_pointer_is_never_older_than_promised_and_the_cache_never_larger(
    steps: list[tuple[str, object]], jitter: float
) -> None:
    clock, catalog = Clock(), Catalog()
    cache = PointerCache(catalog.read, ttl_seconds=60, stale_seconds=300, size=3, clock=clock, jitter=lambda: jitter)
    published = {1: clock.now}
    for kind, value in steps:
        if kind == "pass":
            clock.now += value  # type: ignore[operator]
        elif kind == "publish":
            catalog.version += 1
            published[catalog.version] = clock.now
        elif kind in {"down", "up"}:
            catalog.error = DOWN if kind == "down" else None
        else:
            try:
                pointer, source = cache.get(str(value), seconds_left=10)
            except ClientError:
                assert catalog.error is DOWN
                continue
            version = int(pointer.version)
            if version < catalog.version:
                behind_seconds = clock.now - published[version + 1]
                assert behind_seconds <= (305 if source is PointerSource.STALE else 60)
            assert len(cache) <= 3


def test_the_least_recently_used_pointer_goes_first() -> None:
    catalog = Catalog()
    cache = PointerCache(catalog.read, ttl_seconds=60, stale_seconds=60, size=2, clock=Clock())
    for tenant in "abacab":
        cache.get(tenant, seconds_left=10)
    assert catalog.reads == ["a", "b", "c", "b"]


def test_a_pointer_that_was_removed_is_not_served_stale() -> None:
    clock, catalog = Clock(), Catalog()
    cache = PointerCache(catalog.read, ttl_seconds=60, stale_seconds=600, size=2, clock=clock)
    cache.get("a", seconds_left=10)
    catalog.error = NoSuchModelError("gone")
    clock.now += 61
    with pytest.raises(NoSuchModelError):
        cache.get("a", seconds_left=10)


@given(kind=st.sampled_from(list(Kind)), jitter=st.floats(0, 1))
def test_pauses_grow_within_bounds_and_attempts_end(kind: Kind, jitter: float) -> None:
    retries = Retries(jitter=lambda: jitter)
    pauses = [retries.pause_seconds(Verdict(kind, "")) for _ in range(40)]
    allowed = MOST_ATTEMPTS.get(kind, 1)
    assert sum(pause is not None for pause in pauses) == min(40, allowed - 1)
    assert all(0 < pause <= LONGEST_PAUSE_SECONDS for pause in pauses if pause is not None)
    assert Verdict(kind, "").retryable == (allowed > 1)


class DataFrame:
    """As pandas has it: iterating gives the columns' names."""

    def __iter__(self) -> Iterator[str]:
        return iter(["1", "2"])

    def to_numpy(self) -> list[list[float]]:
        return [[0.5, 0.25]]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{0: 1.5, 1: 2.5}], "row 0 is a dict, allowed: a list of features in the model's order"),
        ([{1.5, 2.5}], "row 0 is a set"),
        (["12", "34"], "row 0 is a str"),
        ([b"12"], "row 0 is a bytes"),
        ("12", "the rows are a str"),
        ({"a": [1, 2]}, "the rows are a dict"),
        (None, "the rows are a NoneType"),
        (DataFrame(), r"the rows are a DataFrame, .* give \.to_numpy\(\)"),
        ([[1, "1_0"]], "row 0 has a feature that is not a number: could not convert string to float: '1_0'"),
        ([[1, "a"]], "row 0 has a feature that is not a number"),
        ([1, 2], "row 0 has a feature that is not a number"),
    ],
)
def test_rows_that_would_be_read_as_something_else_are_refused(rows: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        csv_rows(rows)
    assert csv_rows(iter([(0.5, None), [1, np.float32(0.25)]])) == b"0.5,nan\n1.0,0.25"

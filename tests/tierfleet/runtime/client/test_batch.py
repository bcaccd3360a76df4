"""Many calls: every one is counted, and the figures are those of the calls."""

import itertools
import json
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.runtime.client.batch import call_many, histogram, percentile
from tierfleet.runtime.client.errors import ModelFailedError, ServiceFailedError
from tierfleet.runtime.client.reply import Reply, Timings

LATENCIES = st.lists(st.floats(1e-5, 100), min_size=1, max_size=50).map(sorted)


def reply(**fields: object) -> Reply:
    base: dict[str, object] = {
        "body": b"[0.5]",
        "content_type": "application/json",
        "tenant": "m37",
        "tier": "tail",
        "endpoint": "shared",
        "fell_back": False,
        "model_version": "v1",
        "pointer": None,
        "attempts": 1,
        "timings": Timings(0, 0, 0, 0),
    }
    return Reply(**{**base, **fields})  # type: ignore[arg-type]


@given(LATENCIES, st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_no_smaller_share_is_above_it(
    latencies: list[float], share: float
) -> None:
    value = percentile(latencies, share)
    assert value in latencies
    assert sum(latency <= value for latency in latencies) >= share * len(latencies)


@given(LATENCIES)
def test_a_histogram_counts_every_value_between_its_ends(latencies: list[float]) -> None:
    bars = histogram(latencies)
    assert sum(count for _, _, count in bars) == len(latencies)
    assert bars[0][0] <= latencies[0] * 1.001
    assert bars[-1][1] >= latencies[-1] * 0.999


def test_nothing_has_no_percentile_and_no_histogram() -> None:
    assert (percentile([], 0.5), histogram([])) == (None, [])


@pytest.mark.parametrize(("count", "concurrency"), [(1, 1), (7, 3), (3, 7)])
def test_every_call_is_made_once_and_no_more_at_once_than_asked(count: int, concurrency: int) -> None:
    lock, running, most, ended = threading.Lock(), 0, 0, []

    def invoke() -> Reply:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return reply()

    report = call_many(invoke, count=count, concurrency=concurrency, ended=lambda: ended.append(1))
    assert (report.calls, len(report.latencies_seconds), len(ended)) == (count, count, count)
    assert most <= concurrency
    assert report.answered_by == {("tail", "shared"): count}


def outcomes(*values: Reply | Exception) -> Callable[[], Reply]:
    turns = itertools.count()

    def invoke() -> Reply:
        value = values[next(turns)]
        if isinstance(value, Exception):
            raise value
        return value

    return invoke


def test_errors_are_counted_by_name_and_replies_by_endpoint() -> None:
    failed = ServiceFailedError("tenant m37: later", tenant="m37")
    invoke = outcomes(
        failed, reply(), reply(endpoint="own", tier="whale", attempts=3), failed, reply(fell_back=True),
        ModelFailedError("no", tenant="m37"),
    )  # fmt: skip
    report = call_many(invoke, count=6, concurrency=1)
    assert report.errors == {"ServiceFailedError": 2, "ModelFailedError": 1}
    assert report.error_examples["ServiceFailedError"] == "tenant m37: later"
    assert report.answered_by == {("tail", "shared"): 2, ("whale", "own"): 1}
    assert (report.failed, report.retries, report.fell_back) == (3, 2, 1)
    assert json.loads(json.dumps(report.to_json()))["answered"] == 3


def test_anything_but_a_call_error_is_raised() -> None:
    with pytest.raises(KeyError):
        call_many(outcomes(reply(), KeyError("x"), reply()), count=3, concurrency=1)


def test_a_count_that_cannot_be_shown_ends_the_run() -> None:
    def ended() -> None:
        raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError):
        call_many(reply, count=5, concurrency=2, ended=ended)

"""What is odd about a trace that can be read is said."""

import numpy as np
from brute_force import requests_of
from hypothesis import given
from hypothesis import strategies as st

from tierfleet.planning.traffic.trace_notices import trace_notices

_CALLS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 5)), min_size=100, max_size=130, unique=True)


def _said(calls: list[tuple[int, int]]) -> bool:
    calls = sorted(calls)
    requests = requests_of([who for _, who in calls], [1.8e9 + at / 10 for at, _ in calls], count=6)
    return any("exported twice" in notice for notice in trace_notices(requests))


@given(_CALLS, st.sampled_from([2, 4]))
def test_a_trace_that_was_exported_twice_is_asked_about(calls: list[tuple[int, int]], times: int) -> None:
    assert _said(calls * times)
    assert not _said(calls)
    # One call that comes once is enough to tell.
    assert not _said(calls * times + [(10**7 + 1, 0)])


def test_only_the_first_requests_of_a_long_trace_are_compared() -> None:
    seconds = np.repeat(np.arange(120_000), 2)
    requests = requests_of((seconds % 7).tolist(), seconds.astype(float).tolist(), count=7)
    assert any("each of the first 99,998 requests" in notice for notice in trace_notices(requests))

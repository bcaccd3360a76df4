"""Seconds of tests/fuzz/client.py."""

import itertools

from tests.fuzz import client as fuzz


def test_hostile_documents_and_replies_are_refused_or_read() -> None:
    for label, case in itertools.islice(fuzz.cases(seed=1), 1000):
        try:
            fuzz.check(case)
        except BaseException as error:
            raise AssertionError(f"{label}: {case.content[:300]!r}") from error


def test_a_seed_repeats_its_cases() -> None:
    assert list(itertools.islice(fuzz.cases(seed=2), 50)) == list(itertools.islice(fuzz.cases(seed=2), 50))

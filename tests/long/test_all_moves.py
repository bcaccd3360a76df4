"""A tenant moves between every two hosting shapes that answer calls, in both directions: no call is lost or wrong."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import moving_fleet
import pytest
from moving_fleet import ANSWERING, on, tier_of
from real_fleet import Fleet
from served_fleet import Callers, ManualClock, score_of, served_fleet

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from tierfleet.runtime.hosting.multi_container import PRIMARY

_accounts = itertools.count(730000000001)
FIRST = {"t1": "t1/1", "t2": "t2/1", "w1": "w1/2027-01-01"}


def circuit(words: Sequence[str]) -> list[str]:
    """A walk that begins with the first word and takes each ordered pair once, each move from where the last ended."""
    left = {word: [other for other in reversed(words) if other != word] for word in words}
    walk, stack = [], [words[0]]
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return walk[::-1]


PATH = circuit(ANSWERING)


@pytest.fixture(scope="module", params=["off", "always"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """With CloudFormation's early start, and without."""
    directory = tmp_path_factory.mktemp("moves")
    options: dict[str, Any] = {"serverless_idle_seconds": 1.0, "early_start": request.param}
    commands = moving_fleet.image_commands(directory)
    with start(directory / "cloud", serving="models", image_commands=commands, **options) as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path]) -> Fleet:
    shop = served_fleet(Account(serving, str(next(_accounts))), synth)
    shop.create(**on(PATH[0]))
    moving_fleet.publish_other(shop)
    return shop


class Hurry:
    """Moves the clocks of the local emulator and of the callers on together, 400 times as fast as real time.

    Skipped waits would delete an old endpoint before callers could have read the new routes. Here a bake lasts as many
    polls of the routes as on AWS.
    """

    def __init__(self, shop: Fleet, clock: ManualClock) -> None:
        self._shop, self._clock, self._ended = shop, clock, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Hurry":
        self._shop.account.cloud.admin("clock", {"mode": "real"})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._shop.account.cloud.admin("clock", {"mode": "skip"})

    def _run(self) -> None:
        while not self._ended.wait(0.025):
            self._clock.skip(10)
            self._shop.account.cloud.admin("clock", {"advance_seconds": 10})


def test_the_path_has_every_ordered_pair_once() -> None:
    pairs = Counter(itertools.pairwise(PATH))
    assert set(pairs) == set(itertools.permutations(ANSWERING, 2))
    assert set(pairs.values()) == {1}


def test_no_move_loses_a_call_or_answers_with_another_model(shop: Fleet) -> None:
    clock = ManualClock()
    # Of the hurried clock: nine seconds.
    patience: dict[str, Any] = {"deadline_seconds": 3600}
    with (
        Callers(shop.account, tuple(FIRST), container=PRIMARY, clock=clock, **patience) as callers,
        Hurry(shop, clock),
    ):
        for old, new in itertools.pairwise(PATH):
            callers.more(20)
            began, calls = time.monotonic(), len(callers.seen)
            assert shop.update(**on(new)) == "UPDATE_COMPLETE", shop.reasons()
            placed = shop.served_routes()["tenants"].get("t2", {"tier": None})["tier"]
            assert placed == tier_of(new)
            seconds = time.monotonic() - began
            failed = callers.failed()
            print(f"{old} -> {new}: {seconds:.1f} s, {len(callers.seen) - calls} calls, {len(failed)} failed")
            assert failed == []
        callers.more(40)
    assert callers.failed() == []
    assert callers.scores() == {tenant: {score_of(item)} for tenant, item in FIRST.items()}
    print(f"{len(PATH) - 1} moves, {len(callers.seen)} calls, 0 failed, 0 wrong")

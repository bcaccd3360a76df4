"""What a bar has counted at the end is what happened, whichever threads told it."""

import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from tierfleet.cli import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the bars draw, with threads that are interrupted all the time."""
    drawn = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=drawn, force_terminal=True, width=120))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield drawn
    sys.setswitchinterval(before)


def test_a_counter_misses_no_call(terminal: io.StringIO) -> None:
    with progress.counter("calling", 4000) as one, ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(4000)))
    assert "4000/4000" in terminal.getvalue()


def test_steps_have_a_bar_each_and_may_be_told_what_is_more_or_what_is_done(terminal: io.StringIO) -> None:
    with progress.steps() as step:
        for _ in range(3):
            step("reading", 2, 0)
        for done in (1, 5):
            step("searching", done, 5)
    last = terminal.getvalue()
    assert "6/?" in last
    assert "5/5" in last


def test_a_pipe_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=drawn))
    with progress.advancing("reading", None) as advance:
        advance(10)
    assert drawn.getvalue() == ""

"""The report of a replay and of a backtest: one page without network or scripts that says what the text says."""

import html
import re

import numpy as np
import pytest
from brute_force import requests_of
from workloads import PRICES, PROFILES

from local_cloud.testing.fleets import fleet
from tierfleet.config import FleetConfig
from tierfleet.planning.replay.backtest import Backtest, Plans, backtest
from tierfleet.planning.replay.endpoints import Settings
from tierfleet.planning.replay.html import backtest_html, replay_html
from tierfleet.planning.replay.outcome import Replay
from tierfleet.planning.replay.replay import replay
from tierfleet.planning.search.requirements import Requirements, requirements_of
from tierfleet.planning.traffic.requests import Requests
from tierfleet.text import points

_MONDAY = 1_793_577_600.0
_WHALE = "<b>&whale"
_REQUIRED = Requirements(cold_p95_seconds=4.0, dedicated_p99_seconds=0.05)


def _calls(days: float = 3.0) -> Requests:
    random = np.random.default_rng(5)
    who = random.integers(0, 90, 4_000)
    calls = requests_of(who.tolist(), (_MONDAY + np.sort(days * 86_400 * random.random(4_000))).tolist(), count=90)
    names = [f"t{number:02}" for number in range(90)]
    names[7], names[8] = _WHALE, "<i>one&"
    return Requests(tuple(names), calls.tenant, calls.seconds, calls.model_bytes)


def _fleet() -> FleetConfig:
    config = fleet(region="us-east-1")
    tail = config.tiers["tail"].model_copy(update={"instance_type": "ml.m5.large", "warm_up": None})
    whale = config.tiers["whale"].model_copy(
        update={"tenants": {_WHALE: next(iter(config.tiers["whale"].tenants.values()))}}
    )
    return config.model_copy(update={"tiers": config.tiers | {"tail": tail, "whale": whale}})


@pytest.fixture(scope="module")
def outcome() -> Replay:
    settings = Settings(source="a test", profile=PROFILES["stock"], requirements=_REQUIRED, counted_from_seconds=0.0)
    return replay(_fleet(), _calls(), np.full(90, 40.0), settings)


@pytest.fixture(scope="module")
def tested() -> Backtest:
    config = fleet(region="us-east-1")
    plans = Plans(
        config=config,
        source="a test",
        requirements=requirements_of(config, min_hit_ratio=0.2),
        prices=PRICES,
        profiles=PROFILES,
        profile="stock",
    )
    return backtest(plans, _calls(), np.full(90, 40.0), "0.5")


@pytest.fixture(scope="module")
def pages(outcome: Replay, tested: Backtest) -> dict[str, str]:
    return {
        "replay": replay_html(outcome, _REQUIRED, "1.2.3"),
        "backtest": backtest_html(tested, _REQUIRED, "1.2.3"),
    }


@pytest.mark.parametrize("which", ["replay", "backtest"])
def test_a_page_needs_nothing_but_itself_and_can_be_read_aloud(pages: dict[str, str], which: str) -> None:
    page = pages[which]
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)|url\((?!#)|@import', page)
    assert len(page) < 200_000
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', page)) <= set(ids)
    assert set(re.findall(r"<th (\w+)=", page)) == {"scope"}
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(labels) == page.count("<svg") == 4
    assert all(len(label) > 60 and re.search(r"\d", label) for label in labels)
    for tables in re.findall(r"<table(.*?)>", page):
        assert 'aria-label="' in tables


def test_the_page_has_the_figures_of_the_replay_and_escapes_names(pages: dict[str, str], outcome: Replay) -> None:
    page = pages["replay"]
    [tail, whale] = outcome.endpoints
    assert "<title>Replay on " in page
    assert f"{points(outcome.outside_share)} of the calls were slower than required." in page
    for figure in (f"{tail.served.calls:,}", points(tail.served.hit_ratio), f"{tail.unloads:,}"):
        assert f"<dd>{figure}</dd>" in page
    assert whale.tenant == _WHALE
    assert page.count("&lt;b&gt;&amp;whale") == 1
    assert "<b>" not in page
    assert "<i>" not in page
    rows = re.findall(r'<tr role="row"><th scope="row" role="rowheader">([^<]+)</th>', page)
    days = [row for row in rows if row.startswith("2026-11-0")]
    assert days == ["2026-11-02", "2026-11-03", "2026-11-04"]
    tenants = [html.unescape(row) for row in rows if row not in days and row != html.escape(_WHALE)]
    assert tenants == [one.tenant for one in tail.tenants[:40]]


def test_what_was_not_kept_is_in_the_box(outcome: Replay, pages: dict[str, str]) -> None:
    strict = Requirements(cold_p95_seconds=0.001)
    settings = Settings(source="a test", profile=PROFILES["stock"], requirements=strict, counted_from_seconds=0.0)
    failing = replay(_fleet(), _calls(), np.full(90, 40.0), settings)
    assert [miss[:8] for miss in failing.misses] == ["cold p95"]
    page = replay_html(failing, strict, "1.2.3")
    assert '<div class="answer none">' in page
    assert html.escape(f"Requirements not kept: {failing.misses[0]}.") in page
    kept = not outcome.misses
    assert ('<div class="answer">' in pages["replay"]) == kept
    assert ("All requirements were kept." in pages["replay"]) == kept


def test_a_backtest_shows_planned_next_to_happened(pages: dict[str, str], tested: Backtest) -> None:
    page = pages["backtest"]
    assert "<title>Backtest of a plan of " in page
    assert tested.planned_fleet in page
    for one in tested.comparisons:
        assert f">{one.what}</th>" in page

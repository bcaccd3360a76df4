"""The report: one page without network or scripts, looked at in a real browser."""

import html
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from workloads import CHURN, plan_request, steady, zipf

from tierfleet.config import load
from tierfleet.planning.plan import Plan
from tierfleet.planning.planner import make_plan
from tierfleet.planning.report.charts import _colour
from tierfleet.planning.report.html import report_html
from tierfleet.planning.report.text import option_text, traffic_text
from tierfleet.planning.search.requirements import requirements_of
from tierfleet.text import a_second, duration, milliseconds, percent

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    traffic = steady(zipf(400, 40_000) | {"<b>&whale": 300_000.0})
    required = requirements_of(load(CHURN), usd=3000.0, warm_p95_seconds=0.3)
    claims = {100: 0.9, 400: None}
    return make_plan(plan_request(traffic, CHURN, requirements=required, published=claims, published_usd=620.0))[0]


@pytest.fixture(scope="module")
def page(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "plan.html"
    file.write_text(report_html(plan), encoding="utf-8")
    return file


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    text = page.read_text()
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r'(src|href)="(?!#)', text)
    assert not re.search(r"url\((?!#)", text)
    assert len(text) < 200_000
    assert "@media print" in text


def test_every_part_is_there_and_names_are_escaped(plan: Plan, page: Path) -> None:
    text = page.read_text()
    for words in (
        "Miss-ratio curve",
        "Cost against hit ratio",
        "Traffic by hour and tier",
        f"Latency percentiles; calls outside the SLA: tail {percent(plan.service_levels.latencies[0].outside_share)}",
        "Proposed moves and edits",
        "If things change",
        "Published hit ratios",
        "Prices, with their dates",
        "booster",
        "best fixed set",
        f"${plan.answer.shown.usd:,.0f}",
    ):
        assert words in text
    assert text.count("<svg") == 4
    assert "&lt;b&gt;&amp;whale" in text
    assert "<b>&whale" not in text


def test_ids_are_used_once_and_the_same_plan_is_the_same_page(plan: Plan, page: Path) -> None:
    text = page.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text)) <= set(ids)
    assert report_html(plan) == text


def test_the_answer_box_defends_the_bill(plan: Plan, page: Path) -> None:
    box = re.search(r'<div class="answer">(.*?)</div>', page.read_text(), re.DOTALL)
    assert box is not None
    text = html.unescape(re.sub(r"<[^>]+>", " ", box[1]))
    assert "Meets all requirements (warm p95 300 ms" in text
    assert "Change of container needed first: profile stock is not that of the file's container, tierfleet." in text
    assert re.search(r"\$[\d,]+ a month (less|more) than today \(\d+ %\)\. Today: ", text)
    bill = re.search(r"Bill of \$([\d,]+) a month: instances \$[\d,]+ \((.*?), 730 hours", text)
    assert bill is not None
    assert float(bill[1].replace(",", "")) == pytest.approx(plan.answer.shown.usd, abs=0.5)
    assert re.search(r"x ml\.\w+\.\w+ at \$[\d.]+ an hour", bill[2])
    assert all(f"{line.group} $" in text for line in plan.money.bill)
    assert {"instances", "S3", "CloudWatch"} <= {line.group for line in plan.money.bill}
    assert "extrapolated" not in text
    assert f"with tierfleet {plan.tool_version}; rates without a period." in text


def test_the_bill_of_a_trace_of_seconds_says_so(plan: Plan) -> None:
    first = datetime(2026, 11, 2, 8, tzinfo=UTC)
    short = replace(plan.traffic, days=40 / 86_400, period=(first, first + timedelta(seconds=40)))
    changed = replace(plan, traffic=short, planned_on=first.date())
    text = report_html(changed)
    assert "a month, extrapolated from 40 s of traffic: instances $" in text
    origin = f"with tierfleet {plan.tool_version}; traffic from 2026-11-02 08:00 to 2026-11-02 08:00 UTC."
    assert origin in text


def test_without_a_fleet_the_box_says_what_the_nearest_misses(plan: Plan) -> None:
    failing = replace(plan.answer.shown, failures=("cold p95 3.29 s, required 3 s",))
    none = replace(plan.answer, chosen=None, nearest=failing, runner_up=None, cheaper=None)
    text = report_html(replace(plan, answer=none))
    assert '<div class="answer none">' in text
    assert f"No fleet meets the requirements. Nearest: {failing.name}" in text
    assert text.count("cold p95 3.29 s, required 3 s") >= 1
    assert "Meets all requirements" not in text


def test_a_failing_figure_is_named_once(plan: Plan) -> None:
    option = replace(
        plan.answer.shown,
        usd=1500.0,
        hit_ratio=0.789,
        failures=("hit ratio 78.9 %, required 80.0 %", "$1,500 a month, budget $1,000"),
    )
    text = option_text(option)
    assert text.count("78.9 %") == text.count("$1,500") == 1
    assert text.count("; misses: ") == 1
    assert option_text(replace(option, failures=())).endswith("$1,500 a month, hit ratio 78.9 %")


def test_every_table_has_scopes_and_every_chart_says_what_it_shows(plan: Plan, page: Path) -> None:
    text = page.read_text()
    assert len(re.findall(r"<th(?! )", text)) == text.count("<thead")
    assert set(re.findall(r"<th (\w+)=", text)) == {"scope"}
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(labels) == 4
    assert all(len(label) > 80 and re.search(r"\d", label) for label in labels)
    assert f"{percent(1 - plan.answer.shown.hit_ratio)} with {plan.traffic.models_in_memory:,} models" in labels[0]


def test_a_container_has_one_colour_whichever_is_planned() -> None:
    orders = (
        ["tierfleet", "booster", "stock"],
        ["stock", "booster", "tierfleet", "own"],
        ["own", "stock", "tierfleet"],
    )
    colours = [{name: _colour(name, order) for name in order} for order in orders]
    for name in ("stock", "tierfleet", "booster", "own"):
        assert len({colour[name] for colour in colours if name in colour}) == 1
    assert len(set(colours[1].values())) == 4


def test_models_in_memory_are_all_only_if_every_model_has_room(plan: Plan) -> None:
    traffic, shown = plan.traffic, plan.answer.shown
    assert (traffic.models_in_memory == traffic.tail_tenants) == (shown.hit_ratio > 1 - 1e-9)
    assert traffic.models_in_memory <= shown.models_per_instance * shown.instances


@pytest.mark.parametrize("megabytes", [0.04, 0.5, 45.0, 999.0, 2000.0, 123_456.0])
@pytest.mark.parametrize("days", [0.01, 30.0, 1_500.0])
def test_no_number_is_written_with_an_exponent(plan: Plan, megabytes: float, days: float) -> None:
    changed = replace(
        plan.traffic,
        model_megabytes=(megabytes, megabytes),
        days=days,
        calls_per_session=days + 1,
        mean_gap_seconds=1e6,
    )
    text = traffic_text(replace(plan, traffic=changed))
    assert "e+" not in text
    assert "e-" not in text


@given(st.floats(1e-4, 1e9))
def test_times_have_no_exponent(seconds: float) -> None:
    for text in (milliseconds(seconds), duration(seconds), a_second(seconds)):
        assert "e+" not in text, text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to open the report in")
@pytest.mark.parametrize(("width", "height"), [(1180, 1600), (500, 2400)])
def test_a_browser_shows_it(page: Path, tmp_path: Path, width: int, height: int) -> None:
    picture = tmp_path / "page.png"
    assert CHROMIUM is not None
    shown = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},{height}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    # What a page complains about, blocked requests included, is logged with CONSOLE.
    assert "CONSOLE" not in shown.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[:2] == (height, width)
    ink = (pixels < 128).any(axis=2)
    assert 0.01 < ink.mean() < 0.4
    # Text and charts down the page, and nothing that sticks out to the right.
    assert all(band.any() for band in np.array_split(ink, 8))
    assert not ink[:, -4:].any()
    colours = {tuple(colour) for colour in pixels[::3, ::3].reshape(-1, 3).tolist()}
    assert {(0, 114, 178), (0, 158, 115)} <= colours

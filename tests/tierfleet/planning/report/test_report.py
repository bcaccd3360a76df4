"""The report: one page without network or scripts, looked at in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workloads import CHURN, plan_request, steady, zipf

from tierfleet.config import load
from tierfleet.planning.plan import Plan
from tierfleet.planning.planner import make_plan
from tierfleet.planning.report.html import report_html
from tierfleet.planning.search.requirements import requirements_of
from tierfleet.text import percent

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
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
        "Published claims",
        "Prices, with their dates",
        "mapped (PROTOTYPE)",
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

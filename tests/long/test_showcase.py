"""config/showcase-dev.toml, with a tier of each hosting, deployed by the CDK CLI and called on real processes."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app_run import tierfleet_in

from local_cloud.testing.fleets import CONFIG
from tierfleet.config import load

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILE = "showcase-dev.toml"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    shutil.copy(CONFIG / FILE, tmp_path)
    with tierfleet_in(tmp_path) as tierfleet:
        yield tierfleet


def test_every_hosting_of_the_showcase_answers(run: Run) -> None:
    config = load(CONFIG / FILE)
    up = run("local", "up", FILE, "--deploy", "--sample-models", "--scale", "0.05")
    assert up.returncode == 0, up.stdout + up.stderr
    for tier, tenant in (("tail", "m02"), ("whale", "m01"), ("rare", "m07")):
        called = run("invoke", tenant, "--local", "--json")
        assert called.returncode == 0, called.stderr
        assert json.loads(called.stdout)["tier"] == tier
    driven = json.loads(run("local", "drive", "--seconds", "20", "--json").stdout)
    assert driven["failed"] == 0, driven
    assert {tier["tier"] for tier in driven["tiers"]} == set(config.tiers)
    explained = run("invoke", "m07", "--local", "--explain").stdout
    assert "a serverless endpoint holds" not in explained

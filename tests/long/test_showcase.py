"""config/showcase-dev.toml, with a tier of each hosting, deployed by the CDK CLI and called on real processes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_cloud import NotRunningError, running
from local_cloud.testing.fleets import CONFIG
from tierfleet.config import load

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILE = "showcase-dev.toml"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    shutil.copy(CONFIG / FILE, tmp_path)
    command = str(Path(sys.executable).parent / "tierfleet")

    def tierfleet(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    yield tierfleet
    try:
        running(tmp_path / ".local-cloud").stop()
    except NotRunningError:
        return


def test_every_hosting_of_the_showcase_answers(run: Run) -> None:
    config = load(CONFIG / FILE)
    up = run("local", "up", FILE, "--deploy", "--sample-models", "--scale", "0.05")
    assert up.returncode == 0, up.stdout + up.stderr
    called_by = (("tail", "m02"), ("whale", "m01"), ("rare", "m07"), ("decided", "m09"))
    trio = (("trio", "m12", "--container", name) for name in ("primary", "card-present"))
    for tier, tenant, *options in (*called_by, *trio):
        called = run("invoke", tenant, "--local", "--json", *options)
        assert called.returncode == 0, called.stderr
        assert json.loads(called.stdout)["tier"] == tier
    driven = json.loads(run("local", "drive", "--seconds", "20", "--json").stdout)
    assert driven["failed"] == 0, driven
    assert {tier["tier"] for tier in driven["tiers"]} == set(config.tiers)
    explained = run("invoke", "m07", "--local", "--explain").stdout
    assert "a serverless endpoint holds" not in explained

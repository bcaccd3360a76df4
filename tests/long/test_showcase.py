"""config/showcase-dev.toml, with a tier of each hosting, deployed by the CDK CLI and called on real processes."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app_run import tierfleet_in

from local_cloud.testing.fleets import CONFIG
from tierfleet.config import HostedTier, load

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILE = "showcase-dev.toml"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    shutil.copy(CONFIG / FILE, tmp_path)
    with tierfleet_in(tmp_path) as tierfleet:
        yield tierfleet


def hostnames(tier: HostedTier, tenant: str) -> list[str]:
    """The containers that calls of the tenant name."""
    return [each.hostname for each in tier.tenants[tenant].containers] if tier.shape.names_container else []


def test_every_hosting_of_the_showcase_answers(run: Run, tmp_path: Path) -> None:
    config = load(CONFIG / FILE)
    up = run("local", "up", FILE, "--deploy", "--sample-models", "--scale", "0.05")
    assert up.returncode == 0, up.stdout + up.stderr
    for name, tier in config.tiers.items():
        tenant = min(tier.tenants, default="m02")
        row = ("--body", config.probe.body)
        named = [["--container", container, *row] for container in hostnames(tier, tenant)]
        for options in (["--container", "primary"], *named):
            called = run("invoke", tenant, "--local", "--json", *options)
            assert called.returncode == 0, called.stderr
            assert json.loads(called.stdout)["tier"] == name
    driven = json.loads(run("local", "drive", "--seconds", "20", "--json").stdout)
    assert driven["failed"] == 0, driven
    assert {tier["tier"] for tier in driven["tiers"]} == set(config.tiers)
    features = config.probe.body.count(",") + 1
    (tmp_path / "rows.csv").write_text("\n".join(",".join([str(row)] * features) for row in range(700)))
    for tenant in ("m02", "m08"):
        scored = run(
            "batch", tenant, "rows.csv", "-o", f"{tenant}.csv", "--rows-per-request", "300", "--local", "--json"
        )
        assert scored.returncode == 0, scored.stderr
        assert json.loads(scored.stdout)["requests"] == 3
        assert len((tmp_path / f"{tenant}.csv").read_text().splitlines()) == 701
    refused = run("batch", "m08", "rows.csv", "-o", "m02.csv", "--local")
    assert (refused.returncode, "tenant is 'm08', and was 'm02'" in " ".join(refused.stderr.split())) == (2, True)
    explained = run("invoke", "m07", "--local", "--explain").stdout
    assert "a serverless endpoint holds" not in explained

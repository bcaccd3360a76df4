"""app.py, the way the CDK CLI runs it."""

from pathlib import Path

import tomlkit
from app_run import run_app

from local_cloud.testing.fleets import ROOT, document


def test_the_app_is_glue() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= 25


def test_one_stage_per_fleet_file_and_the_quotas_on_stderr(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "shop-test.toml").write_text(tomlkit.dumps(document()))
    result = run_app(tmp_path / "out", config)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "shop-test: SageMaker quotas in 123456789012, eu-west-1" in result.stderr
    stacks = {file.name.split(".")[0][:-8] for file in (tmp_path / "out").rglob("*[0-9A-F].template.json")}
    assert stacks == {"shoptestModels", "shoptestFleet"}


def test_a_broken_fleet_file_ends_the_synth_with_its_errors_and_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "shop-test.toml").write_text(tomlkit.dumps(document(region="xx-nowhere-1", account="1")))
    result = run_app(tmp_path / "out", config)
    assert result.returncode == 2
    assert result.stderr.count("error: ") == 2
    assert "Traceback" not in result.stderr

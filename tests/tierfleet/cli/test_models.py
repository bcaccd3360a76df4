"""`tierfleet models`, with what can go wrong before AWS is reached and when it refuses."""

import json
from pathlib import Path

import pytest
from small_models import small_model
from tierfleet_server.publishing.packaging import package_model
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app

runner = CliRunner()
FLEET = str(CONFIG / "fraud-dev.toml")


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A real model of ten features, packaged."""
    return package_model(small_model(10))[0]


@pytest.fixture
def models(tmp_path: Path, archive: bytes) -> Path:
    """A directory with one packaged model."""
    file = tmp_path / "models" / "m01" / "1.tar.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(archive)
    return tmp_path / "models"


def test_an_empty_directory_says_what_is_expected(tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "package", str(tmp_path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "expected <tenant>/<version>" in result.output


def test_validation_prints_every_finding_and_ends_with_2(models: Path) -> None:
    assert runner.invoke(app, ["models", "validate", str(models), "--config", FLEET]).exit_code == 0
    for name in ("m02/1.tar.gz", "m03/2.ubj"):
        file = models / name
        file.parent.mkdir()
        file.write_bytes(b"nothing")
    result = runner.invoke(app, ["models", "validate", str(models), "--config", FLEET])
    assert result.exit_code == 2
    assert "m02/1.tar.gz: the artefact is truncated or not a tar.gz" in result.output
    assert "m03/2.ubj: the model file begins with b'nothing'" in result.output
    assert "1 of 3 models can be published" in result.output
    answer = json.loads(runner.invoke(app, ["models", "validate", str(models), "--json"]).stdout)
    assert (answer["ok"], [file["ok"] for file in answer["files"]]) == (False, [True, False, False])
    assert answer["files"][0]["facts"]["features"] == 10


@pytest.mark.usefixtures("no_credentials")
def test_publishing_without_credentials_is_one_sentence(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for command in (["publish", FLEET, str(models)], ["list", FLEET], ["gc", FLEET], ["remove", FLEET, "m09"]):
        result = runner.invoke(app, ["models", *command])
        assert result.exit_code == 2
        assert "there are no AWS credentials; AWS_PROFILE or AWS_ACCESS_KEY_ID says who you are" in result.output
        assert "Traceback" not in result.output


def test_what_cannot_be_read_or_written_is_one_sentence_for_each_model(models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = runner.invoke(app, ["models", "package", str(models), "-o", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.output

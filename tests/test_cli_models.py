"""`tierfleet models`, with what can go wrong before AWS is reached and when it refuses."""

import io
import tarfile
from pathlib import Path

import pytest
from fleets import CONFIG
from typer.testing import CliRunner

from tierfleet.cli import app

runner = CliRunner()
FLEET = str(CONFIG / "fraud-dev.toml")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A directory with one packaged model."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("model.ubj"))
    file = tmp_path / "models" / "m01" / "1.tar.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(packed.getvalue())
    return tmp_path / "models"


def test_an_empty_directory_says_what_is_expected(tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "package", str(tmp_path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "expected <tenant>/<version>" in result.output


def test_publishing_without_credentials_is_one_sentence(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = runner.invoke(app, ["models", "publish", FLEET, str(models)])
    assert result.exit_code == 2
    assert "Unable to locate credentials" in result.output
    assert "cdk deploy fraud-dev/Models" in result.output
    assert "Traceback" not in result.output

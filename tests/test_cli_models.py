"""`tierfleet models`, with what can go wrong before AWS is reached and when it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore import exceptions
from botocore.exceptions import ClientError
from fleets import CONFIG
from tierfleet_server.packaging import package_model
from typer.testing import CliRunner

from tierfleet.cli import app
from tierfleet.models.aws_problem import aws_problem, every_call_meets

runner = CliRunner()
FLEET = str(CONFIG / "fraud-dev.toml")
BUCKET = "fraud--dev--models--444455556666--eu-west-1"


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A real model of ten features, packaged."""
    rows = np.arange(200, dtype=np.float32).reshape(20, 10)
    data = xgboost.DMatrix(rows, label=rows[:, 0] > 100)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 2}, data, 2)
    return package_model(bytes(booster.save_raw("ubj")))[0]


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
    assert "m02/1.tar.gz: the artefact is truncated or no tar.gz" in result.output
    assert "m03/2.ubj: the model file begins with b'nothing'" in result.output
    assert "1 of 3 models can be published" in result.output
    found = json.loads(runner.invoke(app, ["models", "validate", str(models), "--json"]).stdout)
    assert (found["ok"], [file["ok"] for file in found["files"]]) == (False, [True, False, False])
    assert found["files"][0]["facts"]["features"] == 10


def test_publishing_without_credentials_is_one_sentence(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for command in (["publish", FLEET, str(models)], ["list", FLEET], ["gc", FLEET], ["remove", FLEET, "m09"]):
        result = runner.invoke(app, ["models", *command])
        assert result.exit_code == 2
        assert "there are no AWS credentials; AWS_PROFILE or AWS_ACCESS_KEY_ID says who you are" in result.output
        assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("code", "sentence", "for_all"),
    [
        ("NoSuchBucket", f"there is no bucket {BUCKET}; it comes with cdk deploy fraud-dev/Models", True),
        ("AccessDenied", "docs/models.md lists the permissions", True),
        ("RequestTimeTooSkewed", "AWS refuses this machine's clock, it is more than 15 minutes off", True),
        ("ExpiredToken", "the credentials have expired (ExpiredToken)", True),
        ("InvalidAccessKeyId", "AWS does not accept the credentials (InvalidAccessKeyId)", True),
        ("PermanentRedirect", "is in another region than the fleet file says", True),
        ("SlowDown", "AWS throttles the calls", False),
        ("InternalError", "the service is unavailable for now", False),
    ],
)
def test_what_aws_refuses_is_one_sentence_that_says_what_to_do(code: str, sentence: str, for_all: bool) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "its\nown words"}}, "PutObject")
    assert sentence in aws_problem(error, BUCKET)
    assert "\n" not in aws_problem(error, BUCKET)
    assert every_call_meets(error) == for_all


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (exceptions.ProfileNotFound(profile="x"), "The config profile (x) could not be found; AWS_PROFILE or"),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://x"),
            "check the network, AWS_ENDPOINT_URL and the region",
        ),
    ],
)
def test_what_never_reaches_aws_is_one_sentence_too(error: Any, sentence: str) -> None:
    assert sentence in aws_problem(error, BUCKET)
    assert every_call_meets(error)


def test_what_cannot_be_read_or_written_is_one_sentence_for_each_model(models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = runner.invoke(app, ["models", "package", str(models), "-o", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.output

"""From nothing to a fleet that serves: one command, after which no other has to name the fleet."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomlkit
from app_run import tierfleet_in

from local_cloud.testing.fleets import document

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """`tierfleet` in a directory that holds a small fleet's file and nothing else."""
    (tmp_path / "shop-test.toml").write_text(tomlkit.dumps(document(region="eu-west-1")))
    with tierfleet_in(tmp_path) as tierfleet:
        yield tierfleet


def test_one_command_and_then_no_command_names_the_fleet(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = run("local", "up", "shop-test.toml", "--deploy", "--sample-models", "--scale", "0.01")
    assert up.returncode == 0, up.stderr
    assert "4 small XGBoost models trained" in up.stdout
    assert "shop-test/Fleet deployed" in up.stdout

    status = json.loads(run("local", "status", "--json").stdout)
    assert set(status["stacks"].values()) == {"CREATE_COMPLETE"}

    reply = json.loads(run("invoke", "w1", "--local", "--json").stdout)
    assert (reply["tier"], reply["model_version"]) == ("whale", "2027-01-01")
    assert 0 < reply["predictions"][0] < 1

    warm = json.loads(run("warm", "--local", "--json").stdout)
    assert len(warm["warmed"]) == 3

    driven = json.loads(run("local", "drive", "--seconds", "2", "--json").stdout)
    assert (driven["failed"], driven["requests"] > 0) == (0, True)

    monkeypatch.setenv("COLUMNS", "80")
    for command in (
        "local status",
        "local events",
        "models list --local",
        "models gc --local --grace-hours 0",
        "models remove absent --local",
        "invoke w1 --local --explain",
        "invoke absent --local --explain",
        "invoke t1 --local --body a,b --count 9",
        "local drive --seconds 1",
        "warm --local",
        "preflight --local",
    ):
        shown = run(*command.split())
        assert "Traceback" not in shown.stderr
        lines = [line.rstrip() for line in (shown.stdout + shown.stderr).splitlines()]
        # What is copied has no space to break at: the address of an image.
        too_long = [line for line in lines if len(line) > 80 and " " in line.strip()]
        assert (command, too_long) == (command, [])
    assert "9 ModelError 400" in run("local", "status").stdout
    monkeypatch.delenv("COLUMNS")

    file = tmp_path / "shop-test.toml"
    file.write_text(tomlkit.dumps(document(tiers={"whale": {"tenants": {"t2": {"model": "t2/2027-02-02.tar.gz"}}}})))
    again = run("local", "deploy", "--sample-models")
    assert again.returncode == 0, again.stderr
    assert json.loads(run("local", "status", "--json").stdout)["routes"].keys() == {"everyone else", "w1", "t2"}

    listed = run("models", "list", "--local", "--json")
    assert {row["tenant"] for row in json.loads(listed.stdout)["models"]} == {"t1", "t2", "t3", "w1"}
    for arguments in (["shop-test.toml", "--local"], ["--config", "shop-test.toml", "--local"]):
        assert run("models", "list", *arguments, "--json").stdout == listed.stdout
    assert "1 is current" not in run("models", "rollback", "t2", "--local").stdout
    assert json.loads(run("models", "list", "--local", "--tenant", "t2", "--json").stdout)["models"][0]["version"] == (
        "0-sample"
    )

    assert run("local", "down").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["shop-test.toml"]


def test_what_cannot_be_deployed_is_said_before_anything_starts(run: Run, tmp_path: Path) -> None:
    for arguments, words in (
        (("--deploy",), "no model file for w1/2027-01-01.tar.gz, which the fleet file pins: give --models DIRECTORY"),
        (("--deploy", "--models", "nowhere"), "nowhere does not exist"),
        (("--deploy", "--models", "models", "--sample-models"), "give one of them"),
        (("--sample-models",), "add --deploy"),
        (("--config", "other.toml"), "two fleet files are given, shop-test.toml and --config other.toml"),
    ):
        refused = run("local", "up", "shop-test.toml", *arguments)

        assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
        assert words in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shop-test.toml"]


def test_a_first_deployment_without_the_pinned_models_deploys_nothing(run: Run) -> None:
    assert run("local", "up", "--config", "shop-test.toml", "--constant").returncode == 0

    refused = run("local", "deploy")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no model file for w1/2027-01-01.tar.gz" in refused.stderr
    assert json.loads(run("local", "status", "--json").stdout)["stacks"] == {}

"""docs/multi-container.md: one merchant's three models of three frameworks, served by three real server processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.model_server.processes import python_with
from local_cloud import NotRunningError, running
from local_cloud.testing.fleets import ROOT
from tierfleet.config import load
from tierfleet.config.hosting.multi_container import MultiContainerTier

EXAMPLE = ROOT / "examples" / "contract_server"
FLEET = EXAMPLE / "trio-dev.toml"
CALLS = 40


def tierfleet(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "tierfleet"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Where the fleet runs, and what each container must answer to which body."""
    folder = tmp_path_factory.mktemp("trio")
    python = python_with("contract-server", ["-r", str(EXAMPLE / "requirements-train.txt")])
    trained = subprocess.run(
        [python, EXAMPLE / "train.py", folder / "models"], capture_output=True, text=True, check=True
    )
    server = f"tierfleet-examples/contract-server={python} {EXAMPLE / 'server.py'}"
    up = tierfleet(folder, "local", "up", FLEET, "--image-command", server, "--deploy", "--models", folder / "models")
    assert up.returncode == 0, up.stdout + up.stderr
    yield folder, json.loads(trained.stdout)
    try:
        running(folder / ".local-cloud").stop()
    except NotRunningError:
        return


def test_three_servers_of_three_frameworks_answer_with_their_own_scores(trio: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = trio
    (tier,) = (tier for tier in load(FLEET).tiers.values() if isinstance(tier, MultiContainerTier))
    assert {container.hostname for container in tier.tenants["m12"].containers} == expected.keys()
    for name, one in expected.items():
        called = tierfleet(folder, "invoke", "m12", "--local", "--container", name, "--body", one["body"], "--json")
        assert called.returncode == 0, called.stderr
        reply = json.loads(called.stdout)
        assert reply["predictions"] == pytest.approx([one["score"]], abs=1e-5)
        assert (reply["container"], reply["tier"], reply["model_version"]) == (name, "trio", f"{name}-1")
    servers = {
        row["container"]: row["pid"] for row in running(folder / ".local-cloud").admin("instances") if row["container"]
    }
    assert servers.keys() == expected.keys()
    commands = {name: Path(f"/proc/{pid}/cmdline").read_bytes() for name, pid in sorted(servers.items())}
    assert b"tierfleet_server" in commands["card-present"]
    assert [name for name, command in commands.items() if b"contract_server/server.py" in command] == [
        "document-check",
        "velocity",
    ]


def test_no_call_of_many_fails(trio: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = trio
    for name, one in expected.items():
        many = ("--count", CALLS, "--concurrency", 4, "--body", one["body"], "--json")
        called = tierfleet(folder, "invoke", "m12", "--local", "--container", name, *many)
        report = json.loads(called.stdout)
        assert (called.returncode, report["calls"], report["failed"]) == (0, CALLS, 0), report


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "the call names none, allowed: card-present, document-check, velocity"),
        (("--container", "velocty"), "did you mean velocity?"),
        (("--container", "-"), "allowed: the hostname of a container"),
    ],
)
def test_a_call_without_a_container_is_an_error_and_none_is_sent(
    trio: tuple[Path, dict[str, Any]], options: tuple[str, ...], words: str
) -> None:
    folder, _ = trio
    before = running(folder / ".local-cloud").admin("errors")
    called = tierfleet(folder, "invoke", "m12", "--local", "--body", "1", *options)
    assert called.returncode == 2
    assert words in " ".join(called.stderr.split())
    assert running(folder / ".local-cloud").admin("errors") == before


def test_the_probe_goes_to_the_primary_container_and_drive_has_no_failure(trio: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = trio
    called = tierfleet(folder, "invoke", "m12", "--local", "--container", "primary", "--json")
    assert json.loads(called.stdout)["predictions"] == pytest.approx([expected["card-present"]["score"]], abs=1e-5)
    driven = json.loads(tierfleet(folder, "local", "drive", "--seconds", "3", "--json").stdout)
    assert (driven["failed"], [tier["tier"] for tier in driven["tiers"]]) == (0, ["trio"]), driven

"""`tierfleet local` with the real CDK CLI: what a user without an account types, start to end."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from process_state import wait_until_group_gone
from small_models import small_model
from tierfleet_server.publishing.packaging import package_model

from local_cloud import NotRunningError, running
from local_cloud.testing.fleets import CONFIG
from tierfleet.config import FleetConfig, load

VERSION = "2026-11-14"
WHALE = "fraud--dev--whale--{}--dedicated-m5-large"


@dataclass
class Shell:
    """An empty working directory with a copy of fraud-dev, in which `tierfleet` runs."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "fraud-dev.toml"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "tierfleet"), *arguments]
        return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)

    def interrupt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ctrl-C, as soon as the CDK CLI is at work."""
        command = [str(Path(sys.executable).parent / "tierfleet"), *arguments]
        with subprocess.Popen(command, cwd=self.directory, stdout=-1, stderr=-1, text=True) as process:
            give_up = time.monotonic() + 60
            while not self.cdk_processes():
                assert time.monotonic() < give_up
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            printed, said = process.communicate(timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, printed, said)

    def cdk_processes(self) -> list[str]:
        listing = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        return [line for line in listing.splitlines() if str(self.directory / ".local-cloud/scratch/cdk.out") in line]

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("local", "status", "fraud-dev.toml", "--json").stdout)
        return status

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert text.count(old) == 1
        self.file.write_text(text.replace(old, new))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("AWS_PROFILE", "never-looked-at")
    shutil.copy(CONFIG / "fraud-dev.toml", tmp_path)
    yield Shell(tmp_path)
    try:
        running(tmp_path / ".local-cloud").stop()
    except NotRunningError:
        return


def write_models(directory: Path, fleet: FleetConfig) -> None:
    """A small real artefact for every tenant that the fleet file names."""
    warm = [tenant for tier in fleet.multi_model_tiers.values() if tier.warm_up for tenant in tier.warm_up.tenants]
    archive = package_model(small_model(len(fleet.probe.body.split(","))))[0]
    for tenant in {*warm, *fleet.tiers["whale"].tenants}:
        (directory / tenant).mkdir(parents=True)
        (directory / tenant / f"{VERSION}.tar.gz").write_bytes(archive)


def test_up_deploy_promote_break_repair_down(shell: Shell) -> None:
    fleet = load(shell.file)
    write_models(shell.directory / "models", fleet)
    before = {path.name for path in shell.directory.iterdir()}

    contradiction = shell.run("local", "up", "fraud-dev.toml", "--constant", "--scale", "0.5")
    assert contradiction.returncode == 2
    assert "runs no model has no settings; leave scale out" in contradiction.stderr

    up = shell.run("local", "up", "fraud-dev.toml", "--constant")
    assert up.returncode == 0, up.stderr
    cloud = running(shell.directory / ".local-cloud")
    assert f"export AWS_ENDPOINT_URL={cloud.endpoint_url}" in up.stdout
    assert shell.status()["stacks"] == {}

    nowhere = shell.run("local", "deploy", "fraud-dev.toml", "--models", "nowhere")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
    assert "nowhere does not exist" in nowhere.stderr
    interrupted = shell.interrupt("local", "deploy", "fraud-dev.toml", "--models", "models")
    assert interrupted.returncode == 130
    assert interrupted.stderr.startswith("interrupted; a stack update that has begun continues in the local emulator")
    assert interrupted.stderr.count("\n") == 1
    assert shell.cdk_processes() == []

    first = shell.run("local", "deploy", "fraud-dev.toml", "--models", "models")
    assert first.returncode == 0, first.stderr
    assert "fraud-dev/Fleet deployed" in first.stdout
    status = shell.status()
    assert set(status["stacks"].values()) == {"CREATE_COMPLETE"}
    assert status["routes"].keys() == {"everyone else", "m01", "m04"}

    # A merchant is promoted to a version that was not published: refused, rolled back, told in one sentence.
    shell.edit("m04 = {", 'm07 = { model = "m07/2099-01-01.tar.gz" }\nm04 = {')
    broken = shell.run("local", "deploy", "fraud-dev.toml")
    assert broken.returncode == 2
    (message,) = broken.stderr.strip().splitlines()
    assert message.startswith("error: EndpointModel")
    assert "Could not find model data" in message
    assert "models/m07/2099-01-01.tar.gz" in message
    assert message.endswith("; fraud-dev-Fleet is UPDATE_ROLLBACK_COMPLETE")
    rolled_back = shell.status()
    assert rolled_back["stacks"]["fraud-dev-Fleet"] == "UPDATE_ROLLBACK_COMPLETE"
    assert rolled_back["routes"] == status["routes"]
    assert {endpoint["name"] for endpoint in rolled_back["endpoints"]} == set(status["routes"].values())

    shell.edit("m07/2099-01-01.tar.gz", f"m07/{VERSION}.tar.gz")
    repaired = shell.run("local", "deploy", "fraud-dev.toml")
    assert repaired.returncode == 0, repaired.stderr
    promoted = shell.status()
    assert promoted["stacks"]["fraud-dev-Fleet"] == "UPDATE_COMPLETE"
    assert promoted["routes"]["m07"] == WHALE.format("m07")
    assert {endpoint["name"] for endpoint in promoted["endpoints"]} == set(promoted["routes"].values())

    down = shell.run("local", "down")
    assert down.returncode == 0, down.stderr
    wait_until_group_gone(cloud.pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(urlparse(cloud.endpoint_url).port or 0))) != 0
    assert {path.name for path in shell.directory.iterdir()} == before


def test_without_a_local_emulator_every_command_says_how_to_start_one(shell: Shell) -> None:
    for command in (["deploy", "fraud-dev.toml"], ["status", "fraud-dev.toml"], ["events"], ["drive"]):
        result = shell.run("local", *command)

        assert result.returncode == 2
        assert "tierfleet local up" in result.stderr, command

    down = shell.run("local", "down")
    assert (down.returncode, down.stdout.count("\n")) == (0, 1), "nothing is left to stop, which is what was asked"

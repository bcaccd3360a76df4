"""`tierfleet local drive`: who is called, and what Ctrl-C leaves."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from typer.testing import CliRunner
from versioned_s3 import VersionedS3

from local_cloud import LocalCloud
from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app
from tierfleet.config import load
from tierfleet.config.container import Probe
from tierfleet.local.drive import _CALLERS as CALLERS
from tierfleet.local.drive import Drive, one_of_each_tier, published_tenants
from tierfleet.local.drive import drive as real_drive
from tierfleet.local.status import FleetStatus
from tierfleet.models.publish import publish
from tierfleet.models.remove import remove
from tierfleet.runtime.client.errors import ServiceFailedError
from tierfleet.runtime.client.reply import Reply, Timings
from tierfleet.runtime.names import models_bucket

PROBE = Probe(content_type="text/csv", body="1")
FILE = str(CONFIG / "fraud-dev.toml")
BUCKET = "fraud--dev--models--1--eu-west-1"
REPLY = Reply(
    body=b"[1]",
    content_type="application/json",
    tenant="m01",
    tier="tail",
    endpoint="e",
    fell_back=False,
    model_version="1",
    pointer=None,
    attempts=1,
    timings=Timings(0, 0, 0, 0),
)


class Callee:
    """Answers every call; the third one brings Ctrl-C, or another signal, to the command that makes them."""

    def __init__(self, *, failing: bool = False) -> None:
        self.failing = failing
        self.signal = signal.SIGINT
        self.calls = 0
        self.lock = threading.Lock()

    def invoke(self, *_: Any, **__: Any) -> Reply:
        with self.lock:
            self.calls += 1
            if self.calls == 3:
                signal.pthread_kill(threading.main_thread().ident or 0, self.signal)
        if self.failing:
            raise ServiceFailedError("down", tenant="m01")
        return REPLY


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Callee:
    callee = Callee()

    @contextmanager
    def driving(*_: Any) -> Iterator[Drive]:
        yield Drive(callee, lambda _: PROBE, {"m01": 1.0})  # type: ignore[arg-type]

    class Watch:
        def __init__(self, *_: Any) -> None:
            pass

        def look(self) -> tuple[()]:
            return ()

    monkeypatch.setattr("tierfleet.cli.local.drive_command.running_emulator", lambda: None)
    monkeypatch.setattr("tierfleet.local.drive.drive", driving)
    monkeypatch.setattr("tierfleet.local.status.InstanceWatch", Watch)
    monkeypatch.setattr("tierfleet.local.status.fleet_status", lambda *_: FleetStatus({}, (), (), {}))
    return callee


def drive(*options: str) -> Any:
    return CliRunner().invoke(app, ["local", "drive", FILE, "--requests-per-second", "100", *options])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_what_was_answered(emulator: Callee, number: signal.Signals, code: int) -> None:
    emulator.signal = number
    result = drive("--seconds", "600")
    assert result.exit_code == code, result.output
    assert "callers" in result.stdout
    assert re.fullmatch(r"interrupted after \d+ of 600 s\n", result.stderr)
    emulator.calls = 0
    result = drive("--seconds", "600", "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    assert json.loads(result.stdout)["requests"] == emulator.calls, "calls under way are waited for"


def test_a_failed_call_is_1_also_after_ctrl_c(emulator: Callee) -> None:
    emulator.failing = True
    assert drive("--seconds", "600").exit_code == 1


def test_calls_that_wait_when_it_is_stopped_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    class Slow:
        def invoke(self, *_: Any, **__: Any) -> Reply:
            begun.release()
            go.wait(10)
            return REPLY

    class Pool(ThreadPoolExecutor):
        """Calls end only after the waiting ones have been cancelled. It affects no other test's pool."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            go.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr("tierfleet.local.drive.ThreadPoolExecutor", Pool)
    driving = Drive(Slow(), lambda _: PROBE, {"m01": 1.0})  # type: ignore[arg-type]
    runner = threading.Thread(target=driving.run, kwargs={"requests_per_second": 5000, "seconds": 60})
    runner.start()
    for _ in range(CALLERS):
        assert begun.acquire(timeout=10)
    driving.stop()
    runner.join(10)
    assert not runner.is_alive()
    assert driving.summary().requests == CALLERS


def test_the_users_own_profile_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, s3 = load(Path(FILE)), VersionedS3()
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    publish(s3.client(), bucket=bucket, tenant="m02", version="1", archive=b"1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(LocalCloud, "client", lambda *_, **__: s3.client())
    with real_drive(LocalCloud("http://127.0.0.1:9", fleet.region, fleet.account, Path("none"), 0), fleet) as driving:
        driving.run(requests_per_second=1000, seconds=0.002)
    assert set(driving.summary().errors) <= {"RoutesUnavailable"}


def test_a_removed_tenant_is_not_called() -> None:
    s3 = VersionedS3()
    for tenant in ("m02", "m01", "m03"):
        publish(s3.client(), bucket=BUCKET, tenant=tenant, version="1", archive=b"1")
    remove(s3.client(), bucket=BUCKET, tenant="m03")
    assert published_tenants(s3.client(), BUCKET) == ["m01", "m02"]


@pytest.mark.parametrize("command", [["status", FILE], ["status", FILE, "--watch"]])
def test_a_local_emulator_that_goes_away_meanwhile_is_one_sentence(
    command: list[str], emulator: Callee, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr("tierfleet.cli.local.commands.running_emulator", lambda: None)
    monkeypatch.setattr("tierfleet.local.status.fleet_status", gone)
    result = CliRunner().invoke(app, ["local", *command])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the local emulator does not answer (Could not connect")
    assert emulator.calls == 0


def test_a_short_run_calls_every_tier() -> None:
    """A serverless or an asynchronous tenant gets few of the calls, and the showcase has one of each."""
    fleet = load(CONFIG / "showcase-dev.toml")
    first = one_of_each_tier(fleet, ["m01", "m02", "m03", "m07", "m08", "m11", "m12"])
    assert first == ["m01", "m02", "m07", "m08", "m11", "m12"]
    called: list[str] = []

    class Noting:
        def invoke(self, tenant: str, *_: Any, **__: Any) -> Reply:
            called.append(tenant)
            return REPLY

    weights = {"m01": 1.0, "m07": 0.0}
    Drive(Noting(), lambda _: PROBE, weights, first=["m01", "m07"]).run(requests_per_second=1, seconds=0.1)  # type: ignore[arg-type]
    assert sorted(called)[-1] == "m07"

"""Commands end in bounded time, with one sentence, whatever the local emulator's state and the signal."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from process_state import processes_naming, stop, wait_until_gone, wait_until_none_names

from local_cloud import LocalCloud, NotRunningError, find, running, start
from local_cloud.host import processes
from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import emulator
from tierfleet.cli.interruption import Interrupted, if_interrupted, signals_raised

FLEET = str(CONFIG / "fraud-dev.toml")
TIERFLEET = str(Path(sys.executable).parent / "tierfleet")
COMMANDS = [
    ["local", "status", FLEET],
    ["local", "status", FLEET, "--watch"],
    ["local", "events"],
    ["local", "deploy", FLEET],
    ["local", "drive", FLEET, "--seconds", "600"],
    ["invoke", "m01", "--local", "--config", FLEET],
    ["warm", "--local", "--config", FLEET],
]
# Listens as a local emulator's process would, and answers as told.
IMPOSTOR = """
import socket, sys, time
how, port_file = sys.argv[3:]
listener = socket.create_server(("127.0.0.1", 0))
open(port_file, "w").write(str(listener.getsockname()[1]))
kept = []
while True:
    connection, _ = listener.accept()
    kept.append(connection)
    if how == "garbage":
        connection.sendall(b"\\x00\\xffSSH-2.0\\r\\n\\r\\n")
        connection.close()
    elif how == "other":
        connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n[]")
    elif how == "closes":
        connection.close()
    elif how.startswith("drips"):
        try:
            if how == "drips its body":
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\n")
            while True:
                connection.sendall(b"H")
                time.sleep(0.05)
        except OSError:
            pass
"""


def command(words: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TIERFLEET, *words], cwd=directory, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    with start(tmp_path / ".local-cloud") as begun:
        yield begun


def test_a_stopped_local_emulator_ends_every_command_with_what_to_do(cloud: LocalCloud, tmp_path: Path) -> None:
    stop(cloud.pid)
    for words in COMMANDS:
        ended = command(words, tmp_path)
        assert ended.returncode == 2, (words, ended)
        assert f"process {cloud.pid}, is stopped; continue it with kill -CONT {cloud.pid}" in ended.stderr, words
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
    with pytest.raises(RuntimeError, match="already running"):
        start(tmp_path / ".local-cloud")
    ended = command(["local", "down"], tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "stopped; nothing is left\n")
    wait_until_none_names(tmp_path)


def test_a_dead_local_emulator_ends_every_command_with_what_to_do(cloud: LocalCloud, tmp_path: Path) -> None:
    state = (tmp_path / ".local-cloud" / "local-cloud.json").read_text()
    os.kill(cloud.pid, signal.SIGKILL)
    for words in COMMANDS:
        (tmp_path / ".local-cloud").mkdir(exist_ok=True)
        (tmp_path / ".local-cloud" / "local-cloud.json").write_text(state)
        ended = command(words, tmp_path)
        assert ended.returncode == 2, (words, ended)
        assert "is gone; start it with tierfleet local up" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
    (tmp_path / ".local-cloud").mkdir(exist_ok=True)
    (tmp_path / ".local-cloud" / "local-cloud.json").write_text(state)
    assert command(["local", "down"], tmp_path).returncode == 0
    assert not (tmp_path / ".local-cloud").exists()


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        '"x"',
        "{}",
        '{"endpoint_url": 3, "region": 1, "account": [], "pid": "x"}',
        '{"endpoint_url": "http://127.0.0.1:1", "region": "r", "account": "a", "pid": 0}',
        '{"endpoint_url": "http://127.0.0.1:1", "region": "r", "account": "a", "pid": -1}',
        '{"endpoint_url": "http://127.0.0.1:1", "region": "r", "account": "a", "pid": 1}',
        '{"endpoint_url": "http://example.com:1", "region": "r", "account": "a", "pid": OURS}',
        '{"endpoint_url": "http://127.0.0.1:1", "region": "r", "account": "a", "pid": OURS}',
    ],
)
def test_a_state_file_of_another_kind_ends_no_process(tmp_path: Path, state: str) -> None:
    (tmp_path / "local-cloud.json").write_text(state.replace("OURS", str(os.getpid())))
    for looked_for in (running, find):
        with pytest.raises(NotRunningError):
            looked_for(tmp_path)


@pytest.mark.parametrize("how", ["silent", "garbage", "other", "closes", "drips", "drips its body"])
def test_a_port_that_something_else_answers_is_no_local_emulator(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_HEALTH_SECONDS", 0.5)
    port_file = tmp_path / "port"
    words = [sys.executable, "-c", IMPOSTOR, "local_cloud.server", str(tmp_path), how, str(port_file)]
    with subprocess.Popen(words) as impostor:
        while not port_file.exists() or not port_file.read_text():
            time.sleep(0.01)
        url = f"http://127.0.0.1:{port_file.read_text()}"
        state = {"endpoint_url": url, "region": "eu-west-1", "account": "1", "pid": impostor.pid}
        (tmp_path / "local-cloud.json").write_text(json.dumps(state))
        began = time.monotonic()
        with pytest.raises(NotRunningError, match=f"process {impostor.pid}, does not answer at {url}"):
            running(tmp_path)
        assert time.monotonic() - began < 60
        with pytest.raises(NotRunningError, match="does not answer"):
            running(tmp_path)
        find(tmp_path).stop()
        impostor.wait(60)
    assert not (tmp_path / "local-cloud.json").exists()


def test_a_local_emulator_whose_data_plane_hangs_is_reported_and_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_HEALTH_SECONDS", 0.5)
    begun = start(tmp_path / "state", serving="models")
    (plane,) = [pid for pid, words in processes_naming(tmp_path).items() if "local_cloud.data_plane" in words]
    stop(plane)
    with pytest.raises(NotRunningError, match=r"does not answer at .*; wait and try again, or end it with tierfleet"):
        running(tmp_path / "state")
    find(tmp_path / "state").stop()
    begun.stop()
    wait_until_none_names(tmp_path)
    assert list(tmp_path.iterdir()) == []


def listening_on(port: int) -> socket.socket:
    """Another program's socket. The last thread of a process that was killed frees the port a moment later."""
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_a_port_that_another_program_got_after_a_crash_is_not_asked(cloud: LocalCloud, tmp_path: Path) -> None:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    os.kill(cloud.pid, signal.SIGKILL)
    wait_until_gone(cloud.pid)
    with listening_on(port) as other:
        ended = command(["local", "status", FLEET], tmp_path)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert "is gone" in ended.stderr


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL])
def test_a_command_that_waits_for_the_local_emulator_ends_when_it_stops_or_dies(
    cloud: LocalCloud, end: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emulator, "_LOOK_EVERY_SECONDS", 0.1)
    client = cloud.client("s3")
    client.list_buckets()

    def wait_for_it() -> None:
        with emulator.emulator_or_fail(cloud):
            os.kill(cloud.pid, end)
            while True:
                client.list_buckets()  # a minute, and again: botocore's own limits

    with pytest.raises(typer.Exit) as ended:
        wait_for_it()
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert ("is stopped" if end == signal.SIGSTOP else "is gone; start it with tierfleet local up") in said
    assert threading.active_count() < 50


@pytest.mark.parametrize("busy", [True, False])
def test_a_local_emulator_that_answers_late_once_ends_no_command(busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "_LOOK_EVERY_SECONDS", 0.02)
    answers = ["late"] * 4 + [None] if busy else ["gone", None]
    looks = iter(answers * 5)
    done = threading.Event()

    class Late:
        def problem(self) -> str | None:
            try:
                return next(looks)
            except StopIteration:
                done.set()
                return None

        def may_be_busy(self) -> bool:
            return busy

    late: Any = Late()
    with emulator.emulator_or_fail(late):
        assert done.wait(30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_while_it_starts_leaves_no_local_emulator(tmp_path: Path, number: signal.Signals, code: int) -> None:
    words = [TIERFLEET, "local", "up", FLEET, "--constant"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        while not any("local_cloud.server" in line for line in processes_naming(tmp_path).values()):
            assert up.poll() is None
            time.sleep(0.01)
        up.send_signal(number)
        printed, said = up.communicate(timeout=60)
    if up.returncode == 0:  # it had started before the signal came
        assert command(["local", "down"], tmp_path).returncode == 0
    else:
        assert (up.returncode, printed, said) == (code, "", "interrupted; no local emulator is left running\n")
    wait_until_none_names(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_signal_stays_ignored_and_others_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
        with pytest.raises(typer.Exit) as ended, if_interrupted("nothing"), signals_raised():
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.exit_code == 143
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])

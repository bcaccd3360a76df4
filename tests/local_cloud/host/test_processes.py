"""The local emulator's process: loopback only, one at a time per directory, and nothing left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from aws_requests import make_function, port_of
from botocore.exceptions import BotoCoreError
from process_state import members_of_group, wait_until_gone, wait_until_group_gone

from local_cloud import LocalCloud, NotRunningError, running, start

REPOSITORY = Path(__file__).resolve().parents[3]


def test_stop_leaves_no_process_no_port_no_file(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    cloud = start(state_dir)
    make_function(cloud, "def handler(event, context):\n    print('here')\n    return 'done'\n")
    assert cloud.client("lambda").invoke(FunctionName="f")["Payload"].read() == b'"done"'
    assert len(members_of_group(cloud.pid)) > 1

    cloud.stop()

    wait_until_group_gone(cloud.pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port_of(cloud))) != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("serving", ["constant", "models"])
def test_it_ends_while_a_function_runs(tmp_path: Path, serving: Literal["constant", "models"]) -> None:
    cloud = start(tmp_path / "state", serving=serving)
    begun = tmp_path / "begun"
    sleep = f"import time\n\ndef handler(event, context):\n    open({str(begun)!r}, 'w')\n    time.sleep(600)\n"
    make_function(cloud, sleep)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(cloud.client("lambda").invoke, FunctionName="f")
        give_up = time.monotonic() + 60
        while not begun.exists():
            assert time.monotonic() < give_up
            time.sleep(0.01)
        os.kill(cloud.pid, signal.SIGTERM)
        wait_until_gone(cloud.pid)
        assert isinstance(call.exception(), BotoCoreError)
    cloud.stop()

    wait_until_group_gone(cloud.pid)


def test_it_listens_on_loopback_only(cloud: LocalCloud) -> None:
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    addresses = {address.split(":")[0] for address in listening if int(address.split(":")[1], 16) == port_of(cloud)}

    assert addresses == {"0100007F"}


def test_a_directory_has_one_local_emulator(tmp_path: Path) -> None:
    with start(tmp_path / "state"), pytest.raises(RuntimeError, match=r"already running at http.*local down"):
        start(tmp_path / "state")


def test_a_detached_local_emulator_is_found_and_stopped_by_its_directory(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from local_cloud import start
print(start(Path({str(tmp_path / "s")!r}), detached=True).pid)
"""
    started = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    outcomes = running(tmp_path / "s")
    answered = outcomes.admin("health")
    outcomes.stop()

    assert outcomes.pid == answered["pid"] == int(started.stdout)
    wait_until_gone(outcomes.pid)
    with pytest.raises(NotRunningError):
        running(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_the_directory_of_a_crashed_local_emulator_is_cleaned_by_the_next_look(tmp_path: Path) -> None:
    cloud = start(tmp_path / "state")
    os.kill(cloud.pid, signal.SIGKILL)
    wait_until_gone(cloud.pid)

    with pytest.raises(NotRunningError):
        running(tmp_path / "state")
    cloud.stop()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(tmp_path: Path, end: signal.Signals) -> None:
    code = f"""
import time
from pathlib import Path
from local_cloud import start
print(start(Path({str(tmp_path / "state")!r})).pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(end)
        parent.wait()

    wait_until_group_gone(pid)


def test_a_local_emulator_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeError, match="Address already in use"):
            start(tmp_path / "state", port=taken.getsockname()[1])
    assert list(tmp_path.iterdir()) == []


def test_the_clock_stops_moves_and_skips(cloud: LocalCloud) -> None:
    before = cloud.admin("clock", {"mode": "manual"})["now"]
    still = cloud.admin("clock")["now"]
    after = cloud.admin("clock", {"advance_seconds": 3600})["now"]
    running_again = cloud.admin("clock", {"mode": "skip"})["now"]

    assert (still, after) == (before, before + 3600)
    assert running_again >= after


def test_of_two_that_start_at_once_one_is_refused(tmp_path: Path) -> None:
    def begin() -> LocalCloud | RuntimeError:
        try:
            return start(tmp_path / "state")
        except RuntimeError as error:
            return error

    with ThreadPoolExecutor(2) as both:
        outcomes = [future.result() for future in [both.submit(begin), both.submit(begin)]]
    clouds = [cloud for cloud in outcomes if isinstance(cloud, LocalCloud)]
    for cloud in clouds:
        cloud.stop()

    assert len(clouds) == 1, outcomes
    (refusal,) = [error for error in outcomes if isinstance(error, RuntimeError)]
    assert re.search("being started in .* right now|already running", str(refusal))
    assert list(tmp_path.iterdir()) == []


def servers_in(directory: Path) -> list[str]:
    listing = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(directory) in line and "local_cloud.server" in line]


def test_interrupted_inside_popen_it_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def popen(*arguments: Any, **options: Any) -> "subprocess.Popen[str]":
        process = real(*arguments, **options)
        begun.append(process.pid)
        signal.raise_signal(signal.SIGINT)  # Python calls the handler here, as it may before Popen returns
        return process

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "state")
    monkeypatch.undo()
    wait_until_group_gone(begun[0])
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupted_while_it_starts_it_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    code = f"from pathlib import Path; from local_cloud import start; start(Path({state!r}), detached=True)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as parent:
        give_up = time.monotonic() + 30
        # A second thread, for the time-out, begins once the parent knows the process.
        while not servers_in(tmp_path) or len(list(Path(f"/proc/{parent.pid}/task").iterdir())) == 1:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        parent.send_signal(signal.SIGINT)
        _, printed = parent.communicate(timeout=30)

    assert "KeyboardInterrupt" in printed
    assert servers_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_slow_local_emulator_is_not_taken_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise TimeoutError

    cloud = start(tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(LocalCloud, "admin", silent)
        with pytest.raises(NotRunningError, match=f"process {cloud.pid}, does not answer"):
            running(tmp_path / "state")

    assert running(tmp_path / "state").pid == cloud.pid
    cloud.stop()

"""The stand-in's process: loopback only, one at a time per directory, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
from process_state import members_of_group, wait_until_gone, wait_until_group_gone

from local_cloud import LocalCloud, NotRunningError, running, start

REPOSITORY = Path(__file__).resolve().parents[2]


def port_of(cloud: LocalCloud) -> int:
    return int(urlparse(cloud.endpoint_url).port or 0)


LAMBDA_CODE = "def handler(event, context):\n    print('here')\n    return 'done'\n"


def run_a_lambda(cloud: LocalCloud) -> None:
    """So that a worker process exists."""
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", LAMBDA_CODE)
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/lambda-role",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    assert functions.invoke(FunctionName="f")["Payload"].read() == b'"done"'


def test_stop_leaves_no_process_no_port_no_file(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    cloud = start(state_dir)
    run_a_lambda(cloud)
    assert len(members_of_group(cloud.pid)) > 1  # the Lambda worker is one

    cloud.stop()

    wait_until_group_gone(cloud.pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port_of(cloud))) != 0
    assert list(tmp_path.iterdir()) == []


def test_it_listens_on_loopback_only(cloud: LocalCloud) -> None:
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    addresses = {address.split(":")[0] for address in listening if int(address.split(":")[1], 16) == port_of(cloud)}

    assert addresses == {"0100007F"}


def test_a_directory_has_one_stand_in(tmp_path: Path) -> None:
    with start(tmp_path / "state"), pytest.raises(RuntimeError, match=r"already running at http.*local down"):
        start(tmp_path / "state")


def test_a_detached_stand_in_is_found_and_stopped_by_its_directory(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from local_cloud import start
print(start(Path({str(tmp_path / "s")!r}), detached=True).pid)
"""
    started = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    found = running(tmp_path / "s")
    answered = found.admin("health")
    found.stop()

    assert found.pid == answered["pid"] == int(started.stdout)
    wait_until_gone(found.pid)
    with pytest.raises(NotRunningError):
        running(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_directory_of_a_crashed_stand_in_is_cleaned_when_it_is_looked_at(tmp_path: Path) -> None:
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


def test_a_stand_in_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeError, match="Address already in use"):
            start(tmp_path / "state", port=taken.getsockname()[1])
    assert list(tmp_path.iterdir()) == []


def test_clock_stands_moves_and_skips(cloud: LocalCloud) -> None:
    before = cloud.admin("clock", {"mode": "manual"})["now"]
    still = cloud.admin("clock")["now"]
    after = cloud.admin("clock", {"advance_seconds": 3600})["now"]
    running_again = cloud.admin("clock", {"mode": "skip"})["now"]

    assert (still, after) == (before, before + 3600)
    assert running_again >= after

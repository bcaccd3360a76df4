"""The local emulator's processes: what they inherit, and that they end with the process that they work for."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_requests import make_function, port_of
from process_state import members_of_group, processes_naming, stop, wait_until_gone, wait_until_none_names

from local_cloud import LocalCloud, start
from local_cloud.core.guarded import guard
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import Served

REPOSITORY = Path(__file__).resolve().parents[3]
ACCOUNT = "100000000001"
SLEEPS = "import subprocess, time\n\ndef handler(event, context):\n    subprocess.run(['sleep', '600'])\n"
# Starts everything that the local emulator can start, a line per step; nothing here ends it.
DRIVER = """
import sys, threading
from pathlib import Path
sys.path[:0] = {paths!r}
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import Served
from aws_requests import make_function
from local_cloud import start

def begin():
    global cloud
    cloud = start(Path({state!r}), account={account!r}, serving="models")

print("starting", flush=True)
thread = threading.Thread(target=begin)  # one that ends before what it started
thread.start()
thread.join()
print("started", flush=True)
served = Served(Account(cloud, {account!r}))
served.publish(m01=2)
served.config("c")
served.create("tail", "c")
print("serving", flush=True)
make_function(cloud, {function!r})
threading.Thread(target=cloud.client("lambda").invoke, kwargs={{"FunctionName": "f"}}, daemon=True).start()
print("function", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    with start(tmp_path / "state", account=ACCOUNT, serving="models") as running:
        yield running


def descriptors(pid: int) -> dict[int, str]:
    started = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            started[int(link.name)] = str(link.readlink())
        except OSError:  # closed meanwhile
            continue
    return started


def listening_inodes(port: int) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_children_inherit_no_descriptor_beyond_their_standard_streams(cloud: LocalCloud) -> None:
    served = Served(Account(cloud, ACCOUNT))
    served.publish(m01=2)
    served.config("c")
    served.create("tail", "c")
    served.score("tail", "m01")
    make_function(cloud, "def handler(event, context):\n    return 1\n")
    cloud.client("lambda").invoke(FunctionName="f")
    members = members_of_group(cloud.pid)
    commands = processes_naming(cloud.state_dir)
    for part in ("data_plane", "tierfleet_server", "_worker.py"):
        assert any(part in commands[pid] for pid in members), commands

    inherited = {}
    for pid in members:
        parents = set(descriptors(parent_of(pid)).values())
        parents -= {what for what in parents if what.startswith(("anon_inode:", "/dev/null"))}  # many have the name
        if shared := {number: what for number, what in descriptors(pid).items() if number > 2 and what in parents}:
            inherited[commands[pid]] = shared

    (listening,) = listening_inodes(port_of(cloud))
    owners = [commands[pid] for pid in members if listening in descriptors(pid).values()]
    assert ["local_cloud.data_plane" in command for command in owners] == [True]
    assert inherited == {}


def test_the_port_is_free_although_a_container_lives(tmp_path: Path) -> None:
    with start(tmp_path / "first", account=ACCOUNT, serving="models") as cloud:
        served = Served(Account(cloud, ACCOUNT))
        served.publish(m01=2)
        served.config("c")
        served.create("tail", "c")
        (instance,) = served.instances("tail")
        (plane,) = [
            pid for pid, words in processes_naming(cloud.state_dir).items() if "local_cloud.data_plane" in words
        ]
        listening = listening_inodes(port_of(cloud))
        holders = [pid for pid in members_of_group(cloud.pid) if listening & set(descriptors(pid).values())]
        assert holders == [plane]
        container = instance["pid"]
        stop(container)  # so that it outlives what started it for a while
        assert container in members_of_group(cloud.pid)
    with start(tmp_path / "second", port=port_of(cloud)) as again:
        assert port_of(again) == port_of(cloud)


def driver(directory: Path) -> "subprocess.Popen[str]":
    paths = [str(REPOSITORY / "tests" / "support")]
    code = DRIVER.format(paths=paths, state=str(directory / "state"), account=ACCOUNT, function=SLEEPS)
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("step", "end"),
    [
        ("starting", signal.SIGKILL),
        ("started", signal.SIGTERM),
        ("serving", signal.SIGHUP),
        ("function", signal.SIGKILL),
        ("function", signal.SIGTERM),
    ],
)
def test_a_driver_that_is_ended_at_any_moment_leaves_no_process(tmp_path: Path, step: str, end: signal.Signals) -> None:
    source = random.Random(f"{step} {end}")  # noqa: S311 - tests, no secret
    with driver(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == step:
                break
        time.sleep(source.uniform(0, 0.8))  # any moment will do
        process.send_signal(end)
        process.wait(60)
    wait_until_none_names(tmp_path)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_local_emulator_that_is_killed_or_hangs_ends_its_processes(tmp_path: Path, end: signal.Signals) -> None:
    cloud = start(tmp_path / "state", account=ACCOUNT, serving="models")
    served = Served(Account(cloud, ACCOUNT))
    served.publish(m01=2)
    served.config("c")
    served.create("tail", "c")
    make_function(cloud, SLEEPS)
    caller = threading.Thread(target=_ignore_failure, args=(cloud.client("lambda").invoke,), daemon=True)
    caller.start()
    while not any("sleep 600" in words for words in processes_naming(tmp_path).values()):
        time.sleep(0.05)
    if end == signal.SIGSTOP:
        stop(cloud.pid)
        cloud.stop()
    else:
        os.kill(cloud.pid, end)
    wait_until_none_names(tmp_path)
    cloud.stop()


def _ignore_failure(invoke: Any) -> None:
    try:
        invoke(FunctionName="f")
    except Exception:
        return


def test_what_a_thread_started_outlives_the_thread(tmp_path: Path) -> None:
    started: list[LocalCloud] = []
    thread = threading.Thread(target=lambda: started.append(start(tmp_path / "state", account=ACCOUNT)))
    thread.start()
    thread.join()
    (cloud,) = started
    time.sleep(0.3)  # long enough for a signal at the thread's death
    assert cloud.admin("health") == {"pid": cloud.pid}
    cloud.stop()


@pytest.mark.parametrize("who", ["leader", "parent"])
def test_a_guardian_ends_grandchildren_that_hear_no_signal(tmp_path: Path, who: str) -> None:
    deaf = f"trap '' TERM HUP INT; touch {tmp_path / 'deaf'}; while :; do sleep 1; done"
    environment = {**os.environ, "NAMED": str(tmp_path)}
    parent = subprocess.Popen(["sleep", "600"])
    leader = subprocess.Popen(["bash", "-c", f"({deaf}) & sleep 600"], env=environment, start_new_session=True)
    while len(processes_naming(tmp_path)) < 4 or not (tmp_path / "deaf").exists():
        time.sleep(0.02)
    guardian = guard(leader.pid, parent=parent.pid)
    for process in {"leader": (leader,), "parent": (parent,)}[who]:
        process.kill()
        process.wait(60)
    wait_until_none_names(tmp_path)
    for process in itertools.chain([parent] if who == "leader" else [], [leader]):
        process.kill()
        process.wait()
    guardian.wait(timeout=60)
    wait_until_gone(guardian.pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_test_run_that_is_ended_leaves_no_detached_local_emulator(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "test_inner.py").write_text(
        f"""
import time
from pathlib import Path
from local_cloud import start

def test_it():
    start(Path({str(tmp_path / "state")!r}), detached=True)
    Path({str(tmp_path / "started")!r}).touch()
    time.sleep(600)
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests", REPOSITORY / "tests/support"))),
    }
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as run:
        give_up = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert run.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        run.send_signal(end)
        run.wait()
    wait_until_none_names(tmp_path)

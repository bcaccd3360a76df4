"""A client that was made before a fork: real children, over plain HTTP and TLS, forked while other threads call."""

import json
import multiprocessing
import os
import pickle
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from loopback import ENVIRONMENT, FLEET, FakeAws, route_document, score, serving, session

from tierfleet.runtime import clients
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import RequestInvalidError
from tierfleet.runtime.route_parsing import parse_routes

TENANTS = [f"m{number:02}" for number in range(10, 40)]
LONGEST_CHILD_SECONDS = 60


def calls(client: FleetClient, count: int = 60, first: int = 0) -> None:
    """Of one tenant after the other, each row another one: a reply to another call is a wrong score."""
    for number in range(first, first + count):
        tenant = TENANTS[number % len(TENANTS)]
        assert client.predict(tenant, [[number]], deadline_seconds=30) == [score(tenant, str(number))]


def forked(work: Callable[[], None]) -> int:
    """A child that does it, and ends with 0 if it could."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def assert_ended_well(*children: int) -> None:
    deadline = time.monotonic() + LONGEST_CHILD_SECONDS
    for child in children:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail(f"child {child} hung")
            time.sleep(0.02)
        assert os.waitstatus_to_exitcode(status) == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout both.pem -out cert.pem -days 2 {names}".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text(both.read_text() + (folder / "cert.pem").read_text())
    return both


@pytest.fixture(params=["http", "https"])
def served(request: pytest.FixtureRequest, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """AWS on loopback, in threads of this process: no child shares its listening socket's work."""
    context = None
    if request.param == "https":
        certificate = request.getfixturevalue("certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with serving(aws, tls=context) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield url


@pytest.mark.usefixtures("served")
def test_parent_and_children_call_side_by_side() -> None:
    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        calls(client, 3)
        others = [threading.Thread(target=calls, args=(client, 60, 100 * number)) for number in range(3)]
        for other in others:
            other.start()
        children = [forked(lambda first=first: calls(client, 60, first)) for first in (1000, 2000)]
        calls(client, 60, 3000)
        assert_ended_well(*children)
        for other in others:
            other.join()
        calls(client, 10, 4000)


@pytest.mark.usefixtures("served")
def test_a_childs_child_and_a_fork_in_a_thread() -> None:
    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        calls(client, 3)

        def child() -> None:
            calls(client, 5, 50)
            grandchild = forked(lambda: calls(client, 20, 200))
            calls(client, 20, 300)
            assert_ended_well(grandchild)
            client.close()

        children: list[int] = []
        thread = threading.Thread(target=lambda: children.append(forked(child)))
        thread.start()
        thread.join()
        calls(client, 20, 400)
        assert_ended_well(*children)
        calls(client, 5, 500)


def test_a_lock_that_a_thread_held_at_the_fork_holds_up_no_child(url: str) -> None:
    """Every lock that a call takes, one after the other."""
    with FleetClient(FLEET, ENVIRONMENT, session=session(), emit=lambda _line: None) as client:
        calls(client, 3)
        state = client._state
        assert state is not None
        pointers, routes = state.services.pointers, state.services.routes
        flights = [holder._flights._lock for holder in (pointers, routes)]
        locks = [state.slots._lock, pointers._lock, routes._lock, *flights, client._renewals._lock]
        locks += [state.metrics._lock, state.metrics._flush_lock, state._bucket_flights._lock]
        for number, lock in enumerate(locks):
            held, free = threading.Event(), threading.Event()

            def hold(lock: threading.Lock = lock, held: threading.Event = held, free: threading.Event = free) -> None:
                with lock:
                    held.set()
                    free.wait(LONGEST_CHILD_SECONDS)

            holder = threading.Thread(target=hold)
            holder.start()
            assert held.wait(10)

            def child(first: int = 100 * number) -> None:
                calls(client, 3, first)
                client.flush_metrics()
                client.close()

            try:
                assert_ended_well(forked(child))
            finally:
                free.set()
                holder.join()
        calls(client, 3)


def test_a_call_that_forks_goes_on_in_both_processes_whoever_held_a_lock(url: str) -> None:
    """As a signal's handler may fork inside any call; here the client's clock does."""
    forked_at: list[int] = []
    readings = [-1_000]
    parent = os.getpid()

    def clock() -> float:
        readings[0] += 1
        # The first is the call's start, the second comes when it asks for its slot.
        if readings[0] == 2 and os.getpid() == parent:
            forked_at.append(os.fork())
        return time.monotonic()

    with FleetClient(FLEET, ENVIRONMENT, session=session(), clock=clock) as client:
        calls(client, 3)
        state = client._state
        assert state is not None
        for lock in (state.slots._lock, state.services.pointers._lock):
            held, free = threading.Event(), threading.Event()

            def hold(lock: threading.Lock = lock, held: threading.Event = held, free: threading.Event = free) -> None:
                with lock:
                    held.set()
                    free.wait(LONGEST_CHILD_SECONDS)

            forked_at.clear()
            holder = threading.Thread(target=hold)
            holder.start()
            assert held.wait(10)
            # The parent's own call waits for the lock, too, until the child has ended.
            releases = threading.Thread(target=lambda free=free: _when_ended(forked_at, free))
            releases.start()
            readings[0] = 0
            try:
                ended_well = client.predict("m37", [[1]], deadline_seconds=30) == [score("m37", "1")]
            except BaseException:
                ended_well = False
            if os.getpid() != parent:
                os._exit(0 if ended_well else 1)
            free.set()
            holder.join()
            releases.join()
            assert ended_well
            assert forked_at[-1] == 0


def _when_ended(child: list[int], free: threading.Event) -> None:
    """Put the child's exit code into the list, 99 for one that hangs, then let its parent go on."""
    end = time.monotonic() + LONGEST_CHILD_SECONDS / 4
    while time.monotonic() < end:
        if child:
            pid, status = os.waitpid(child[0], os.WNOHANG)
            if pid:
                child.append(os.waitstatus_to_exitcode(status))
                break
        time.sleep(0.01)
    else:
        os.kill(child[0], signal.SIGKILL)
        os.waitpid(child[0], 0)
        child.append(99)
    free.set()


def test_metric_lines_are_written_once(url: str, tmp_path: Path) -> None:
    file = tmp_path / "lines"

    def emit(line: str) -> None:
        with file.open("a") as lines:
            lines.write(line + "\n")

    with FleetClient(FLEET, ENVIRONMENT, session=session(), emit=emit) as client:
        calls(client, 5)

        def child() -> None:
            client.flush_metrics()
            calls(client, 7, 50)
            client.close()

        assert_ended_well(forked(child), forked(client.close))
        calls(client, 2, 90)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum(line["Calls"] for line in lines if "Calls" in line and "Tenant" not in line) == 5 + 7 + 2


def test_clients_that_were_given_are_refused_in_a_child_and_serve_on_in_the_parent(url: str) -> None:
    aws = clients.calling_clients(session=session(), region=None, read_timeout_seconds=70, connections=2)
    client = FleetClient(FLEET, ENVIRONMENT, session=session(), aws=aws)
    calls(client, 2)

    def child() -> None:
        with pytest.raises(RequestInvalidError, match="create it after the fork, or leave aws out"):
            client.invoke("m37", b"1")
        client.close()
        # The clients themselves share no connection with the parent.
        for number in range(20):
            target, body = f"m{10 + number}/v1.tar.gz", str(number).encode()
            endpoint = route_document()["tiers"]["tail"]["endpoint"]
            reply = aws.runtime.invoke_endpoint(EndpointName=endpoint, TargetModel=target, Body=body)
            assert json.loads(reply["Body"].read()) == [score(f"m{10 + number}", str(number))]

    child_id = forked(child)
    calls(client, 60)
    assert_ended_well(child_id)
    calls(client, 2)
    aws.close()


def test_a_child_leaves_the_parents_connections_and_its_own_are_its_own(aws: FakeAws, url: str) -> None:
    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        calls(client, 3)
        before = [file.name for file in Path("/proc/self/fd").iterdir()]

        def child() -> None:
            sockets = [fd for fd in before if _is_socket_to(fd, url)]
            assert sockets == [], "the child holds the parent's connections open"
            calls(client, 3)

        assert_ended_well(forked(child))
        asked = aws.count("StartConfigurationSession")
        calls(client, 3)
        assert aws.count("StartConfigurationSession") == asked


def _is_socket_to(fd: str, url: str) -> bool:
    try:
        with socket.socket(fileno=os.dup(int(fd))) as sock:
            return sock.getpeername()[1] == int(url.rsplit(":", 1)[1])
    except OSError:
        return False


def test_a_fixed_route_document_and_a_session_of_the_callers_go_along(url: str) -> None:
    routes = parse_routes(json.dumps(route_document()))
    with FleetClient(FLEET, ENVIRONMENT, session=session(), routes=routes) as client:
        calls(client, 2)
        assert_ended_well(forked(lambda: calls(client, 5)))


def test_without_a_session_the_child_makes_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with FleetClient(FLEET, ENVIRONMENT) as client:
        calls(client, 2)
        assert_ended_well(forked(lambda: calls(client, 5)))


def test_every_process_draws_jitter_of_its_own() -> None:
    before = random.getstate()
    read, write = os.pipe()
    child = forked(lambda: os.write(write, repr(random.random()).encode()) and None)  # noqa: S311
    assert_ended_well(child)
    random.setstate(before)
    assert float(os.read(read, 100)) != random.random()  # noqa: S311
    os.close(read)
    os.close(write)


def test_a_client_is_not_sent_to_another_process(url: str) -> None:
    with (
        FleetClient(FLEET, ENVIRONMENT, session=session()) as client,
        pytest.raises(TypeError, match="cannot be sent to another process; make one there"),
    ):
        pickle.dumps(client)


def test_multiprocessing_forks_too(url: str) -> None:
    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        calls(client, 2)
        workers = [
            multiprocessing.get_context("fork").Process(target=calls, args=(client, 20, first)) for first in (100, 200)
        ]
        for worker in workers:
            worker.start()
        calls(client, 20, 300)
        for worker in workers:
            worker.join(LONGEST_CHILD_SECONDS)
        assert [worker.exitcode for worker in workers] == [0, 0]


def test_no_session_is_made_while_a_child_only_runs_another_program(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FleetClient(FLEET, ENVIRONMENT, session=session()) as client:
        calls(client, 1)
        monkeypatch.setattr(boto3, "Session", None)
        assert_ended_well(forked(lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"])))  # noqa: S606
        calls(client, 1)

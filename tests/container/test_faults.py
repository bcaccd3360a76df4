"""What goes wrong in a fleet: kills, damage, too little memory, shutdown under load."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pytest
import xgboost
from process_state import children, stop
from running_server import Client, RunningServer
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.packaging import package_model
from trained_models import Trained

Start = Callable[..., RunningServer]
ROW = b"1,2,3,4,5,6,7,8"
MIB = 1024 * 1024


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of about 6 MB."""
    random = np.random.default_rng(5)
    rows = random.standard_normal((4000, 8)).astype(np.float32)
    label = random.integers(0, 2, 4000)
    parameters = {"max_depth": 14, "min_child_weight": 0, "lambda": 0, "max_bin": 32, "nthread": 2}
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, label), 60)
    directory = tmp_path_factory.mktemp("big")
    booster.save_model(directory / "model.ubj")
    return directory


def test_killed_while_it_loads_it_starts_and_loads_again(start: Start, big: Path) -> None:
    first = start(SAGEMAKER_MULTI_MODEL="true")
    [checker] = children(first.process.pid)
    stop(checker)  # so the load cannot end before the server does
    with first.socket() as loading:
        ask_to_load(loading, first, "m", big)
        first.process.kill()
        assert first.wait() == -9
    os.kill(checker, signal.SIGKILL)
    second = start(SAGEMAKER_MULTI_MODEL="true")
    assert second.ask("GET", "/models").json == {"models": []}
    assert second.load("m", big).status == 200
    assert second.invoke("m", ROW).status == 200


def wait_until_refused(port: int) -> None:
    """Until the server has stopped listening."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                time.sleep(0.01)
        except OSError:
            return
    raise AssertionError(f"port {port} still accepts connections")


def ask_to_load(connection: socket.socket, server: RunningServer, name: str, directory: Path) -> None:
    """Ask for a load and do not wait for its end; the server has read the request."""
    body = json.dumps({"model_name": name, "url": str(directory)}).encode()
    connection.sendall(b"POST /models HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    for _ in range(2):  # what was sent before these has been read when they are answered
        assert server.ask("GET", "/ping").status == 200


def test_a_truncated_artefact_never_becomes_a_model(
    start: Start, big: Path, trained: dict[str, Trained], tmp_path: Path
) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("good", big)
    before = server.metric("memory_used_bytes")
    archive, _ = package_model(trained["binary"].saved)
    (tmp_path / "cut.tar.gz").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(BadModel, match="truncated"):
        unpack(tmp_path / "cut.tar.gz", tmp_path / "cut")
    assert server.load("cut", tmp_path / "cut").status == 404
    whole = (big / "model.ubj").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999999):
        (tmp_path / "m.ubj").write_bytes(whole[: int(len(whole) * share)])
        answer = server.load("cut", tmp_path / "m.ubj")
        assert answer.status == 400
        assert "the UBJ model is damaged" in answer.json["message"]
    assert [model["modelName"] for model in server.ask("GET", "/models").json["models"]] == ["good"]
    assert server.invoke("good", ROW).status == 200
    assert server.metric("memory_used_bytes") < before + MIB


def test_a_huge_model_is_refused_and_not_read(start: Start, big: Path, tmp_path: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_BUDGET_MIB="200")
    with (tmp_path / "huge.ubj").open("wb") as file:
        file.write((big / "model.ubj").read_bytes())
        file.truncate(1 << 40)
    answer = server.load("huge", tmp_path / "huge.ubj")
    assert (answer.status, answer.json["type"]) == (507, "InsufficientStorage")
    assert "models may have 200.0 MiB in all; give it an instance with more memory" in answer.json["message"]
    assert server.metric("memory_full") == 0, "unloading others would not help it"
    claim = b"{L" + (7).to_bytes(8, "big") + b"learner[$d#L" + (1 << 40).to_bytes(8, "big")
    (tmp_path / "claim.ubj").write_bytes(claim)
    assert server.load("claim", tmp_path / "claim.ubj").status == 400
    (tmp_path / "deep.ubj").write_bytes(b"{" + (b"i\x01a{" * 200_000))
    answer = server.load("deep", tmp_path / "deep.ubj")
    assert (answer.status, "nested deeper than 32" in answer.json["message"]) == (400, True)
    assert server.load("small enough", big).status == 200


def test_memory_pressure_ends_in_507_and_recovers(start: Start, big: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_BUDGET_MIB="80")
    loaded = 0
    while (answer := server.load(f"m{loaded}", big)).status == 200:
        loaded += 1
        assert loaded < 100
    assert (answer.status, answer.json["type"]) == (507, "InsufficientStorage")
    assert f"'m{loaded}' needs about" in answer.json["message"]
    assert loaded >= 4
    assert server.metric("memory_used_bytes") <= 80 * MIB
    for number in range(loaded):
        assert server.invoke(f"m{number}", ROW).status == 200, "507 must not cost a loaded model"
    resident = server.process.pid
    peak = int(Path(f"/proc/{resident}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    assert peak < 80 * MIB + 120 * MIB
    for _ in range(3):  # as the platform does: unload one, load another
        assert server.unload("m0").status == 200
        while (answer := server.load("m0", big)).status == 507:
            loaded -= 1
            assert server.unload(f"m{loaded}").status == 200
        assert answer.status == 200
        assert server.invoke("m0", ROW).status == 200


def test_after_a_507_loads_wait_until_memory_is_really_free(
    start: Start, big: Path, artefacts: dict[str, Path]
) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_BUDGET_MIB="60")
    fillers = 0
    while server.load(f"big{fillers}", big).status == 200:
        fillers += 1
    smalls = 0
    while server.load(f"small{smalls}", artefacts["binary"]).status == 200:
        smalls += 1
    assert server.metric("memory_full") == 1
    assert server.metric("memory_used_bytes") <= 60 * MIB
    if smalls:  # a small unload frees too little: loading again at once would only fail again
        server.unload("small0")
        assert server.load("small0", artefacts["binary"]).status == 507
    server.unload("big0")
    assert server.load("small-again", artefacts["binary"]).status == 200
    assert server.metric("memory_full") == 0


def test_five_thousand_models(start: Start, artefacts: dict[str, Path], trained: dict[str, Trained]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_CONTAINER_LOG_LEVEL="30")
    for number in range(5000):
        assert server.load(f"tenant-{number}", artefacts["binary"]).status == 200
    assert server.metric("models") == 5000
    listed, token = 0, ""
    while token is not None:
        page = server.ask("GET", f"/models?limit=1000&next_page_token={token}").json
        listed, token = listed + len(page["models"]), page.get("nextPageToken")
    assert listed == 5000
    expected = server.invoke("tenant-0", ROW).body
    for number in range(0, 5000, 37):
        assert server.invoke(f"tenant-{number}", ROW).body == expected
    used = server.metric("memory_used_bytes")
    assert used < 5000 * 4 * len(trained["binary"].saved)
    for number in range(5000):
        assert server.unload(f"tenant-{number}").status == 200
    assert server.metric("memory_used_bytes") < used / 20


def test_loads_unloads_and_invocations_leave_nothing_behind(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_CONTAINER_LOG_LEVEL="30")
    kinds = sorted(artefacts.keys() - {"json", "old-json", "categorical"})

    def round_trip() -> None:
        for kind in kinds:
            assert server.load(kind, artefacts[kind]).status == 200
            for body in (ROW, b"\n".join([ROW] * 50), b"wrong"):
                assert server.invoke(kind, body).status in (200, 400)
            assert server.unload(kind).status == 200

    for _ in range(10):
        round_trip()
    before = server.metric("memory_used_bytes")
    for _ in range(25):
        round_trip()
    assert server.metric("memory_used_bytes") - before < MIB


def test_sigterm_under_load_fails_no_request(start: Start, artefacts: dict[str, Path], big: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("m", artefacts["binary"])
    server.load("big", big)
    stopping = threading.Event()
    answered: list[int] = []
    failed: list[str] = []
    batch = b"\n".join([ROW] * 3000)

    def call(number: int) -> None:
        while True:
            try:
                client = Client(server.port)
                with closing(client):
                    name, body = ("big", batch) if number % 2 else ("m", ROW)
                    answered.append(client.invoke(name, body).status)
            except ConnectionRefusedError:
                if not stopping.is_set():
                    failed.append("refused too early")
                return
            except (OSError, HTTPException) as error:
                failed.append(repr(error))
                return

    def call_on_one_connection() -> None:
        with closing(Client(server.port)) as client:
            while True:
                try:
                    answered.append(client.invoke("m", ROW).status)
                except ConnectionRefusedError:
                    return
                except (OSError, HTTPException) as error:
                    failed.append(repr(error))
                    return

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    threads += [threading.Thread(target=call_on_one_connection) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) <= 50 and not failed:
        time.sleep(0.01)
    stopping.set()
    server.terminate()
    assert server.wait() == 0
    for thread in threads:
        thread.join()
    assert not failed
    assert set(answered) == {200}
    assert len(answered) > 50
    assert [line["message"] for line in server.log_lines()][-2:] == ["draining", "stopped"]


def test_a_reply_that_is_read_slowly_is_whole_though_the_server_stops(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("m", artefacts["binary"])
    body = b"\n".join([ROW] * 160_000)
    head = b"POST /models/m/invoke HTTP/1.1\r\nhost: x\r\naccept: application/json\r\ncontent-length: %d\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(30)
        client.connect(("127.0.0.1", server.port))
        client.sendall(head % len(body) + body)
        received = client.recv(1000)
        server.terminate()
        time.sleep(2.5)  # longer than it lingers when nothing is under way
        while part := client.recv(1 << 20):
            received += part
    reply_head, _, content = received.partition(b"\r\n\r\n")
    assert reply_head.startswith(b"HTTP/1.1 200 ")
    assert len(json.loads(content)["predictions"]) == 160_000
    assert server.wait() == 0


def test_a_load_that_never_ends_does_not_hold_up_the_stop(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_DRAIN_SECONDS="1")
    [checker] = children(server.process.pid)
    stop(checker)
    try:
        with server.socket() as loading:
            ask_to_load(loading, server, "m", artefacts["binary"])
            server.terminate()
            assert server.wait() == 0
    finally:
        os.kill(checker, signal.SIGKILL)
    assert [line["message"] for line in server.log_lines()][-2:] == ["1 requests were not finished in time", "stopped"]


def test_an_unread_log_does_not_hold_up_the_stop(artefacts: dict[str, Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    server = RunningServer(
        {"SAGEMAKER_MULTI_MODEL": "true", "TIERFLEET_ACCESS_LOG": "true", "TIERFLEET_DRAIN_SECONDS": "1"},
        tmp_path / "log",
    )
    try:
        assert server.load("m", artefacts["binary"]).status == 200
        for _ in range(1500):  # some 200 kB of lines; a pipe holds 64
            assert server.invoke("m", ROW).status == 200
        server.terminate()
        assert server.wait(20) == 0
    finally:
        server.close()
        os.close(reader)


def test_ping_fails_while_it_drains_and_who_is_slow_to_ask_is_answered_too(start: Start) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    with server.socket() as silent, server.socket() as asking:
        asking.sendall(b"GET /ping HTTP/1.1\r\n")  # half a request, which the server waits for
        server.terminate()
        while "draining" not in [line["message"] for line in server.log_lines()]:
            assert server.process.poll() is None
            time.sleep(0.01)
        asking.sendall(b"host: x\r\n\r\n")
        first = whole_reply(asking)
        wait_until_refused(server.port)
        silent.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        second = whole_reply(silent)
    for reply in (first, second):
        assert reply.startswith(b"HTTP/1.1 503 ")
    assert server.wait() == 0


def whole_reply(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1000), b""))

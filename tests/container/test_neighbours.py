"""What one tenant sends does not hold up the others, nor the health check."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import xgboost
from running_server import Answer, Client, RunningServer
from trained_models import Trained

from benchmarks.chain_model import chain_model

Start = Callable[..., RunningServer]
ROW = b"1,2,3,4,5,6,7,8"
CSV, JSON, LIBSVM = "text/csv", "application/json", "text/libsvm"


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that are slow to score or wide, by name."""
    random = np.random.default_rng(3)
    narrow, label = random.random((2000, 1)).astype(np.float32), random.integers(0, 2, 2000)
    wide = np.zeros((50, 4096), np.float32)
    noise = {"max_depth": 6, "min_child_weight": 0, "lambda": 0, "nthread": 1, "objective": "binary:logistic"}
    models = {
        "400 trees": bytes(xgboost.train(noise, xgboost.DMatrix(narrow, label), 400).save_raw("ubj")),
        "4096 features": bytes(xgboost.train(noise, xgboost.DMatrix(wide, label[:50]), 3).save_raw("ubj")),
        "chain": chain_model(depth=1000, trees=1),
        "chains": chain_model(depth=5000, trees=4),
    }
    directory = tmp_path_factory.mktemp("neighbours")
    for name, saved in models.items():
        (directory / name).mkdir()
        (directory / name / "xgboost-model").write_bytes(saved)
    return {name: directory / name for name in models}


@pytest.fixture(scope="module")
def busy(
    tmp_path_factory: pytest.TempPathFactory, neighbours: dict[str, Path], trained: dict[str, Trained]
) -> Iterator[RunningServer]:
    """A server with a small model and its neighbours."""
    directory = tmp_path_factory.mktemp("busy")
    (directory / "small").mkdir()
    (directory / "small" / "xgboost-model").write_bytes(trained["binary"].saved)
    server = RunningServer({"SAGEMAKER_MULTI_MODEL": "true", "TIERFLEET_PREDICT_THREADS": "2"}, directory / "log")
    for name, path in {**neighbours, "small": directory / "small", "batches": directory / "small"}.items():
        assert server.load(name, path).status == 200
    yield server
    server.close()


BATCH = b"\n".join([ROW] * 5_000)
HEAVY = {
    "400 trees x 4,096 rows of one feature": ("400 trees", CSV, b"1\n" * 4095 + b"1", 200),
    "4,096 features x 4,095 rows of libsvm": ("4096 features", LIBSVM, b"1\n" * 4094 + b"1", 200),
    "chains of 5,000 nodes": ("chains", CSV, b"1\n" * 400, 200),
    "5,000 rows": ("batches", CSV, BATCH, 200),
    "5,000 rows of JSON": ("batches", JSON, b"[[" + BATCH.replace(b"\n", b"],[") + b"]]", 200),
    "6 MiB of empty rows": ("batches", JSON, b"[" + b"[]," * 2_000_000 + b"[]]", 400),
    "a row of 3 million values": ("batches", JSON, b"[" + b"1," * 3_000_000 + b"1]", 400),
    "6 MiB of opening brackets": ("batches", JSON, b"[" * 6_000_000, 400),
    "6 MiB of lines": ("batches", CSV, b"1\n" * 3_000_000, 413),
    "6 MiB of blanks": ("batches", LIBSVM, b" " * 6_000_000, 400),
    "6 MiB of commas": ("batches", CSV, b"," * 6_000_000, 400),
}


@pytest.mark.parametrize("case", HEAVY)
def test_others_are_answered_while_a_neighbour_is_busy(case: str, busy: RunningServer) -> None:
    """Four such requests at once take a while; meanwhile one call after the other is answered."""
    name, content_type, body, status = HEAVY[case]
    expected = busy.invoke("small", ROW)
    assert expected.status == 200
    answers: list[Answer] = []

    def send() -> None:
        with closing(Client(busy.port)) as other:
            answers.append(other.invoke(name, body, content_type))

    senders = [threading.Thread(target=send) for _ in range(4)]
    calls = 0
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        assert busy.ask("GET", "/ping").status == 200
        assert busy.invoke("small", ROW) == expected
        calls += 1
    for sender in senders:
        sender.join()
    assert [answer.status for answer in answers] == [status] * 4, answers[0].body[:300]
    # Calls that wait for their neighbours come through between two of them, 5 times at most. However busy the machine
    # is, many more do here: neighbours become slower too.
    assert calls >= 10


def test_a_small_batch_overtakes_the_long_ones_of_others(busy: RunningServer) -> None:
    """Both threads have work for half a minute each; a batch of another model is done long before it."""
    with ExitStack() as stack:
        for _ in range(4):
            ask(stack, busy, "chain", b"1\n" * 300_000)
        wait_until(busy, "invocations_waiting", 4)
        expected = busy.invoke("small", b"\n".join([ROW] * 20_000))
        assert expected.status == 200
        assert busy.metric("invocations_waiting") == 4
    wait_until(busy, "invocations_waiting", 0)


def test_a_client_that_goes_frees_the_threads(busy: RunningServer) -> None:
    """Whether it closes its connection or resets it."""
    before = busy.metric("invocations_cancelled_total")
    for reset in (False, True):
        with ExitStack() as stack:
            connections = [ask(stack, busy, "chain", b"1\n" * 300_000) for _ in range(3)]
            wait_until(busy, "invocations_waiting", 3)
            if reset:
                for connection in connections:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_until(busy, "invocations_waiting", 0)
    assert busy.metric("invocations_cancelled_total") == before + 6


def test_a_client_that_only_stops_sending_gets_its_reply(busy: RunningServer) -> None:
    with ExitStack() as stack:
        connection = ask(stack, busy, "batches", b"\n".join([ROW] * 20_000))
        connection.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    while reply.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
        reply = reply.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.count(b"\n", reply.index(b"\r\n\r\n") + 4) == 19_999


def test_a_request_that_is_not_ready_in_time_is_refused(start: Start, neighbours: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_INVOCATION_TIMEOUT_SECONDS="1")
    server.load("chain", neighbours["chain"])
    started = time.monotonic()
    answer = server.invoke("chain", b"1\n" * 300_000)
    assert time.monotonic() - started < 20
    assert answer.status in (413, 503)  # 413 if it was plain before that it cannot be
    assert "send smaller batches" in answer.json["message"]
    assert answer.status == 413 or server.metric("invocations_late_total") == 1
    wait_until(server, "invocations_waiting", 0)
    assert server.invoke("chain", b"1").status == 200


def test_a_queue_does_not_grow_without_end(start: Start, neighbours: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MAX_WAITING_PER_MODEL="3")
    server.load("chain", neighbours["chain"])
    server.load("other", neighbours["400 trees"])
    with ExitStack() as stack:
        for _ in range(3):
            ask(stack, server, "chain", b"1\n" * 300_000)
        wait_until(server, "invocations_waiting", 3)
        answer = server.invoke("chain", b"1\n" * 3000)
        assert (answer.status, "3 requests to model 'chain' are waiting already" in answer.json["message"]) == (
            503,
            True,
        )
        assert server.invoke("other", b"1\n" * 3000).status == 200
    assert server.metric("invocations_turned_away_total") == 1


def test_a_model_that_is_unloaded_finishes_what_it_was_asked(start: Start, neighbours: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("chain", neighbours["chain"])
    answers: list[Answer] = []

    def send(rows: int) -> None:
        with closing(Client(server.port)) as other:
            answers.append(other.invoke("chain", b"1\n" * rows))

    rows, under_way = 2500, False
    while not under_way:  # a batch may be done before it is seen waiting: then a larger one
        rows *= 2
        sender = threading.Thread(target=send, args=(rows,))
        sender.start()
        while sender.is_alive() and not under_way:
            under_way = server.metric("invocations_waiting") == 1
    assert server.unload("chain").status == 200
    sender.join()
    assert answers[-1].status == 200
    assert answers[-1].body.count(b"\n") == rows - 1


def ask(stack: ExitStack, server: RunningServer, name: str, body: bytes) -> socket.socket:
    """Send a request and do not wait for its reply; the connection is closed at the end of the stack."""
    connection = stack.enter_context(server.socket())
    head = "POST /models/%s/invoke HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: %d\r\n\r\n"
    connection.sendall((head % (name, len(body))).encode() + body)
    return connection


def wait_until(server: RunningServer, metric: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while (got := server.metric(metric)) != value:
        assert time.monotonic() < deadline, json.dumps({metric: got, "wanted": value})
        time.sleep(0.01)

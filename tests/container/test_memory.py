"""Requests in flight stay within the reserve: pools, waiting, and a container that is full of models."""

import asyncio
import io
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from running_server import Client, RunningServer
from tierfleet_server.contract import Reply, Request
from tierfleet_server.http.connection import Connection
from tierfleet_server.http.server_state import ServerState
from tierfleet_server.memory_limit import SLACK_BYTES, requests_bytes, resident_bytes
from tierfleet_server.request_memory import (
    MAX_CONNECTIONS,
    MAX_WAITING,
    MIN_LIMIT_BYTES,
    SMALL_BODY_BYTES,
    Pool,
    RequestMemory,
)

from tests.container.memory_group import MemoryGroup, pss_bytes

MIB = 1024 * 1024
Start = Callable[..., RunningServer]
ROW = b"1,2,3,4,5,6,7,8"
LIMIT = 6 * MIB
EXPLAINED_ROWS = 1_000


class Waiting:
    """One that waits, and notes when it may go on."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.has = False

    def granted(self, pool: Pool, size_bytes: int) -> None:  # noqa: ARG002 - what a pool calls
        assert size_bytes == self.size_bytes
        self.has = True


@given(st.lists(st.tuples(st.sampled_from(["ask", "give", "leave"]), st.integers(0, 100)), max_size=60))
def test_a_pool_is_never_over_its_limit_and_is_fair(steps: list[tuple[str, int]]) -> None:
    pool, holding, queue = Pool(100), [], []
    for step, number in steps:
        if step == "ask":
            one = Waiting(number)
            if pool.take(number):
                assert not queue, "no request overtakes a waiting one"
                one.has = True
                holding.append(one)
            else:
                assert pool.wait(number, b"", one)
                queue.append(one)
        elif step == "give" and holding:
            pool.give(holding.pop(number % len(holding)).size_bytes)
        elif step == "leave" and queue:
            pool.leave(queue.pop(number % len(queue)))
        while queue and queue[0].has:
            holding.append(queue.pop(0))
        assert not any(one.has for one in queue), "first come, first served"
        assert pool.in_use_bytes == sum(one.size_bytes for one in holding) <= 100
        assert not queue or pool.in_use_bytes + queue[0].size_bytes > 100, "who fits does not wait"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 60)), max_size=80))
def test_an_owner_has_at_most_what_it_leaves_free_and_keeps_no_other_waiting(
    steps: list[tuple[bool, bytes, int]],
) -> None:
    pool = Pool(100)
    asked: list[tuple[bytes, Waiting]] = []

    def held(owner: bytes) -> int:
        return sum(one.size_bytes for whose, one in asked if whose == owner and one.has)

    for asks, owner, number in steps:
        if asks:
            one, before, free = Waiting(number), held(owner), 100 - pool.in_use_bytes
            others_first = [
                size for size, whose, _ in pool.waiting
                if not held(whose) or held(whose) + size <= free
            ]  # fmt: skip
            one.has = pool.take(number, owner)
            if one.has:
                assert not before or before + number <= free
            else:
                assert before or number > free or others_first, "only its own or a lack of memory keeps one waiting"
                assert pool.wait(number, owner, one)
            asked.append((owner, one))
        elif any(one.has for _, one in asked):
            having = [entry for entry in asked if entry[1].has]
            entry = having[number % len(having)]
            asked.remove(entry)
            pool.give(entry[1].size_bytes, entry[0])
        assert pool.in_use_bytes == sum(one.size_bytes for _, one in asked if one.has) <= 100
        if pool.waiting and pool.in_use_bytes == 0:
            raise AssertionError("one waits for nothing")
        for one in (one for _, one in asked if not one.has):
            assert any(one is waiter for _, _, waiter in pool.waiting)


def test_one_owner_cannot_take_all_places_to_wait() -> None:
    pool, taken = Pool(10), 0
    assert pool.take(10, b"a")
    while pool.wait(1, b"a", Waiting(1)):
        taken += 1
    assert taken == MAX_WAITING // 2
    assert pool.wait(1, b"b", Waiting(1))


def test_bodies_of_one_model_that_fill_their_memory_do_not_hold_up_another(
    start: Start, artefacts: dict[str, Path]
) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_RESERVE_MIB="1")
    assert server.load("loud", artefacts["binary"]).status == server.load("quiet", artefacts["binary"]).status == 200
    pool = RequestMemory(0).small_bodies.limit_bytes
    with ExitStack() as stack:
        for _ in range(pool // SMALL_BODY_BYTES + 20):
            one = stack.enter_context(server.socket())
            one.sendall(
                b"POST /models/loud/invoke HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n0" % SMALL_BODY_BYTES
            )
        while not server.metric("requests_waiting"):
            pass
        quiet = stack.enter_context(server.socket())
        quiet.settimeout(4)  # clients that send nothing may stay for 5 s while others wait
        quiet.sendall(
            b"POST /models/quiet/invoke HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\nexpect: 100-continue\r\n\r\n"
        )
        assert quiet.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        quiet.sendall(b"1,2,3,4,5,6,7,8")
        assert quiet.recv(1000).startswith(b"HTTP/1.1 200")


def test_the_pools_share_the_limit() -> None:
    memory = RequestMemory(400 * MIB)
    pools = [memory.small_bodies, memory.big_bodies, memory.small_work, memory.big_work]
    assert sum(pool.limit_bytes for pool in pools) == memory.limit_bytes == 400 * MIB
    smallest = RequestMemory(0)
    assert smallest.limit_bytes == MIN_LIMIT_BYTES
    assert smallest.big_bodies.limit_bytes >= 25 * MIB, "a body of the largest size that can be set"
    assert smallest.body(64 * 1024)[0] is smallest.small_bodies
    assert smallest.body(64 * 1024 + 1)[0] is smallest.big_bodies
    for size in (1, 100 * MIB, 10_000 * MIB):
        for pool, counted in (smallest.body(size), smallest.work(size)):
            assert counted <= pool.limit_bytes, "what can never fit would wait for ever"


def test_what_is_left_of_the_reserve() -> None:
    assert requests_bytes(1000 * MIB, 744 * MIB, own_bytes=60 * MIB) == 196 * MIB - SLACK_BYTES
    assert requests_bytes(4000 * MIB, 100 * MIB, own_bytes=60 * MIB) == 340 * MIB - SLACK_BYTES
    assert requests_bytes(100 * MIB, 200 * MIB, own_bytes=0) < 0
    assert 5 * MIB < resident_bytes() < 8192 * MIB


Connect = Callable[[RunningServer], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Bare connections, closed at the end of the test."""
    with ExitStack() as opened:
        yield lambda server: opened.enter_context(server.socket())


def head(length: int, name: str = "m") -> bytes:
    return b"POST /models/%s/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (name.encode(), length)


def status(connection: socket.socket) -> int:
    data = connection.recv(65536)
    return int(data.split()[1]) if data else 0


def wait_for(server: RunningServer, metric: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while server.metric(metric) != value:
        assert time.monotonic() < deadline, f"{metric} is {server.metric(metric)}, not {value}"
        time.sleep(0.02)


def test_big_bodies_wait_their_turn_and_small_ones_pass(
    start: Start, connect: Connect, artefacts: dict[str, Path]
) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_RESERVE_MIB="0")
    assert server.load("m", artefacts["binary"]).status == 200
    body = (ROW + b"\n") * 1000
    body += b" " * (LIMIT - len(body))
    room = int(server.metric("requests_limit_bytes")) * 2 // 3 // 3 // LIMIT  # at least so many bodies are let in
    holding = [connect(server) for _ in range(room + 20)]
    for connection in holding:
        connection.sendall(head(LIMIT) + body[: 100 * 1024])
    deadline = time.monotonic() + 60
    while server.metric("requests_waiting") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert server.metric("requests_bytes") <= server.metric("requests_limit_bytes")
    for _ in range(20):
        assert server.invoke("m", ROW).status == 200
        assert server.invoke("m", (ROW + b"\n") * 3000).status == 200  # 48 kB
    chunked = connect(server)
    chunked.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"%x\r\n" % LIMIT)
    chunked.sendall(body[: 100 * 1024])  # not known to be big before it is
    waiting = server.metric("requests_waiting")
    threads = [threading.Thread(target=lambda one=one: one.sendall(body[100 * 1024 :])) for one in holding]
    for thread in threads:
        thread.start()
    answers = [status(connection) for connection in holding]
    chunked.sendall(body[100 * 1024 :] + b"\r\n0\r\n\r\n")
    answers.append(status(chunked))
    for thread in threads:
        thread.join()
    assert waiting > 0
    assert set(answers) == {400}, "each was read whole: spaces are no number"
    for connection in (*holding, chunked):
        connection.close()
    wait_for(server, "requests_bytes", 0)
    assert server.metric("requests_waiting") == 0


def test_a_client_that_goes_gives_its_memory_back(start: Start, connect: Connect, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.load("m", artefacts["binary"]).status == 200
    for sent in (b"GET /pi", head(LIMIT) + b"1" * 70_000, head(LIMIT), head(30_000) + b"1", head(9)[:-3] + b"\r\n" * 9):
        connections = [connect(server) for _ in range(40)]
        for connection in connections:
            connection.sendall(sent)
        assert server.ask("GET", "/ping").status == 200
        for connection in connections:
            connection.close()
        wait_for(server, "requests_bytes", 0)
    wait_for(server, "requests_waiting", 0)


def test_slow_senders_lose_the_memory_that_others_wait_for(
    start: Start, connect: Connect, artefacts: dict[str, Path]
) -> None:
    server = start(
        SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_RESERVE_MIB="0", TIERFLEET_REQUEST_TIMEOUT_SECONDS="600"
    )
    assert server.load("m", artefacts["binary"]).status == 200
    slow = [connect(server) for _ in range(8)]
    for connection in slow:
        connection.sendall(head(LIMIT) + b"1")
    wait_for_some(server)
    with closing(Client(server.port)) as client:
        assert client.invoke("m", (ROW + b"\n") * 20_000).status == 200  # after the requests that wait before it
    lost, _, _ = select.select(slow, [], [], 60)
    assert {status(connection) for connection in lost} == {408}, "one had to go, and the others may go on"
    for connection in slow:
        connection.close()


class Unread(asyncio.Transport):
    """A transport on which nothing is sent."""

    reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def test_what_is_sent_behind_a_body_stays_with_the_sender() -> None:
    """However large the reads of a body are, they take no more than one small read of what comes after it."""

    async def read_sizes() -> list[int]:
        state = ServerState(
            contract=None, loop=asyncio.get_running_loop(), memory=RequestMemory(0), max_request_bytes=LIMIT,  # type: ignore[arg-type]
            request_seconds=30, reply_seconds=30, idle_seconds=30,
        )  # fmt: skip
        connection, sizes = Connection(state), []
        connection.connection_made(Unread())
        for data in (head(LIMIT) + b"1", b"1" * (64 * 1024)):
            sizes.append(len(connection.get_buffer(-1)))
            state.buffer[: len(data)] = data
            connection.buffer_updated(len(data))
        for left in (100, 1):
            data = b"1" * (LIMIT - left - connection._reader.received)
            while data:
                part, data = data[: len(state.buffer)], data[len(state.buffer) :]
                state.buffer[: len(part)] = part
                connection.buffer_updated(len(part))
            sizes.append(len(connection.get_buffer(-1)))
        connection.connection_lost(None)
        assert state.memory.in_use_bytes == 0
        return sizes

    small = 16 * 1024
    assert asyncio.run(read_sizes()) == [small, 64 * 1024, small + 100, small + 1]


def test_connections_with_long_bodies_read_one_piece_in_turn() -> None:
    async def turns() -> list[list[bool]]:
        state = ServerState(
            contract=None, loop=asyncio.get_running_loop(), memory=RequestMemory(0), max_request_bytes=LIMIT,  # type: ignore[arg-type]
            request_seconds=30, reply_seconds=30, idle_seconds=30,
        )  # fmt: skip
        transports = [Unread() for _ in range(3)]
        connections = [Connection(state) for _ in transports]
        for connection, transport in zip(connections, transports, strict=True):
            connection.connection_made(transport)
            for data in (head(LIMIT), b"1" * len(state.buffer)):
                state.buffer[: len(data)] = data
                connection.buffer_updated(len(data))
        reading = [[transport.reads for transport in transports]]
        connections[1].connection_lost(None)  # its turn passes
        for _ in range(4):
            await asyncio.sleep(0)
            reading.append([transport.reads for transport in transports])
        for connection in (connections[0], connections[2]):
            connection.connection_lost(None)
        assert state.memory.in_use_bytes == 0
        return reading

    none, first, both = [False] * 3, [True, False, False], [True, False, True]
    assert asyncio.run(turns()) == [none, first, first, both, both]


def test_a_large_reply_is_sent_as_it_is_and_not_copied() -> None:
    body = bytearray(8 * MIB)

    class Large:
        def answer(self, request: Request) -> Reply:  # noqa: ARG002 - what a connection asks
            return Reply(200, "text/csv", body)

    class Noting(Unread):
        def __init__(self) -> None:
            super().__init__()
            self.sent: list[object] = []

        def write(self, data: object) -> None:
            self.sent.append(data)

    async def sent() -> list[object]:
        state = ServerState(
            contract=Large(), loop=asyncio.get_running_loop(), memory=RequestMemory(0), max_request_bytes=LIMIT,  # type: ignore[arg-type]
            request_seconds=30, reply_seconds=30, idle_seconds=30,
        )  # fmt: skip
        connection, transport = Connection(state), Noting()
        connection.connection_made(transport)
        data = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n"
        state.buffer[: len(data)] = data
        connection.buffer_updated(len(data))
        return transport.sent

    head_sent, body_sent = asyncio.run(sent())
    assert b"content-length: 8388608\r\n" in bytes(head_sent)  # type: ignore[call-overload]
    assert body_sent is body


def wait_for_some(server: RunningServer) -> None:
    deadline = time.monotonic() + 60
    while server.metric("requests_waiting") == 0:
        assert time.monotonic() < deadline, "nothing waits"
        time.sleep(0.02)


def test_more_connections_than_there_may_be(start: Start, connect: Connect) -> None:
    """The one that has been idle longest makes room; where all are at work, a new one is told."""
    server = start(SAGEMAKER_MULTI_MODEL="true")
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    idle = [connect(server) for _ in range(MAX_CONNECTIONS)]
    late = connect(server)
    late.sendall(ping)
    assert status(late) == 200
    closed = select.poll()  # select itself takes no more than 1,024 files
    for connection in idle:
        closed.register(connection, select.POLLIN)
    [(file, _)] = closed.poll(60_000)
    for connection in idle:
        if connection.fileno() != file:
            connection.sendall(ping[:-2])
    for _ in range(2):  # what was sent before these has been read when they are answered
        late.sendall(ping)
        assert status(late) == 200
    late.sendall(head(9)[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert status(late) == 100
    assert status(connect(server)) == 503
    for connection in (*idle, late):
        connection.close()
    wait_for_ping(server)


def wait_for_ping(server: RunningServer) -> None:
    deadline = time.monotonic() + 60
    while True:
        with closing(Client(server.port)) as client:
            if client.ask("GET", "/ping").status == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def npy(values: np.ndarray) -> bytes:  # type: ignore[type-arg]
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def bodies() -> dict[str, tuple[str, str, bytes]]:
    """Content type, accept and body of one request of each kind, as large as it may be; less where it takes long."""
    row = b",".join([b"0.125"] * 8)
    json_rows = b",".join([b"[" + row + b"]"] * (LIMIT // (len(row) + 3) - 1))
    libsvm_row = b"1 " + b" ".join(b"%d:0.125" % column for column in range(8)) + b"\n"
    return {
        "csv": ("text/csv", "application/json", (row + b"\n") * (LIMIT // (len(row) + 1))),
        "json": ("application/json", "application/jsonlines", b"[" + json_rows + b"]"),
        "libsvm": ("text/libsvm", "text/csv", libsvm_row * (LIMIT // len(libsvm_row))),
        "npy": ("application/x-npy", "application/x-npy", npy(np.ones((LIMIT // 64 - 4, 8)))),
        "contributions": ("text/csv", "application/json; contribs=true", (row + b"\n") * EXPLAINED_ROWS),
        "empty lists": ("application/json", "text/csv", b"[" + b"[]," * ((LIMIT - 10) // 3) + b"[]]"),
    }


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a few MB."""
    random = np.random.default_rng(5)
    rows = random.standard_normal((4000, 8)).astype(np.float32)
    label = random.integers(0, 2, 4000)
    parameters = {"max_depth": 14, "min_child_weight": 0, "lambda": 0, "max_bin": 32, "nthread": 2}
    directory = tmp_path_factory.mktemp("filler")
    xgboost.train(parameters, xgboost.DMatrix(rows, label), 60).save_model(directory / "model.ubj")
    return directory


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    made = MemoryGroup(512 * MIB)
    yield made
    made.close()


def test_a_hundred_bodies_at_the_limit_in_a_container_full_of_models(
    artefacts: dict[str, Path], filler: Path, group: MemoryGroup, tmp_path: Path
) -> None:
    """The whole process tree is under a limit that is enforced, and never above it by PSS either."""
    environment = {"SAGEMAKER_MULTI_MODEL": "true"}
    if group.kind == "rlimit":
        environment["TIERFLEET_MEMORY_BUDGET_MIB"] = str(group.limit_bytes // MIB - 256)
    command = group.command([sys.executable, "-m", "tierfleet_server"])
    server = RunningServer(environment, tmp_path / "log", command=command)
    stopped, peak = threading.Event(), [0]
    counted: Counter[tuple[str, int]] = Counter()

    def watch() -> None:
        while not stopped.is_set():
            peak[0] = max(peak[0], pss_bytes(server.process.pid))
            time.sleep(0.02)

    def call(kind: str, content_type: str, accept: str, body: bytes) -> None:
        with closing(Client(server.port)) as client:
            try:
                counted[kind, client.invoke("m", body, content_type, accept).status] += 1
            except OSError:  # refused while it was still sending
                counted[kind, 0] += 1

    try:
        assert server.load("m", artefacts["binary"]).status == 200
        loaded = 0
        while server.load(f"filler-{loaded}", filler).status == 200:
            loaded += 1
        assert server.metric("memory_full") == 1
        assert server.metric("memory_budget_bytes") == group.limit_bytes - 256 * MIB
        waves = [(kind, *body) for kind, body in bodies().items()] * 20
        watcher = threading.Thread(target=watch)
        callers = [threading.Thread(target=call, args=wave) for wave in waves]
        for thread in (watcher, *callers):
            thread.start()
        small = 0
        while any(thread.is_alive() for thread in callers):
            assert server.invoke("m", ROW).status == 200, "small requests pass"
            assert server.ask("GET", "/ping").status == 200
            small += 1
            time.sleep(0.05)
        stopped.set()
        watcher.join()
        assert server.process.poll() is None, server.log.read_text()[-2000:]
        assert group.killed() == 0
        print(
            f"{group.kind}: peak {peak[0] / MIB:.0f} of {group.limit_bytes // MIB} MiB, {loaded} models",
            counted,
            server.metric("requests_limit_bytes") / MIB,
        )
        assert peak[0] <= group.limit_bytes, f"{peak[0] / MIB:.0f} MiB under {group.kind}"
        assert {code for _, code in counted} <= {0, 200, 400, 503}
        assert sum(counted.values()) == 120
        assert {kind for kind, code in counted if code == 200} <= {"csv", "json", "libsvm", "npy", "contributions"}
        assert any(code == 200 for _, code in counted)
        assert small > 0
        wait_for(server, "requests_bytes", 0)
        for number in range(loaded):
            assert server.invoke(f"filler-{number}", ROW).status == 200
    finally:
        stopped.set()
        server.close()

"""HTTP as clients really speak it, well and badly."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_state import children
from running_server import RunningServer
from tierfleet_server.contract import Reply, Request
from tierfleet_server.http.server import Server
from tierfleet_server.request_memory import RequestMemory
from tierfleet_server.settings import Settings

Start = Callable[..., RunningServer]
ROW = b"1,2,3,4,5,6,7,8"


def request(body: bytes = ROW, *headers: bytes, path: bytes = b"/models/m/invoke") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"host: x", b"content-type: text/csv", *headers]
    if not any(header.lower().startswith(b"transfer-encoding") for header in headers):
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def read_replies(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of that many replies, or of fewer if the server closes first."""
    data, replies = b"", []
    while len(replies) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and length is None:  # 100 Continue
            data = rest
        elif end and length and len(rest) >= int(length[1]):
            replies.append((int(head.split()[1]), rest[: int(length[1])]))
            data = rest[int(length[1]) :]
        else:
            more = connection.recv(65536)
            if not more:
                break
            data += more
    return replies


@pytest.fixture(scope="module")
def ready(server: RunningServer, artefacts: dict[str, Path]) -> RunningServer:
    assert server.load("m", artefacts["binary"]).status == 200
    return server


@pytest.fixture
def connection(ready: RunningServer) -> Iterator[socket.socket]:
    with ready.socket() as opened:
        yield opened


def test_pipelined_requests_are_answered_in_order(connection: socket.socket) -> None:
    """A request that goes to a thread must not be overtaken by those behind it."""
    batch = b"\n".join([ROW] * 2000)
    connection.sendall(request(batch) + request() + request(b"x") + request(batch) + request())
    replies = read_replies(connection, 5)
    assert [status for status, _ in replies] == [200, 200, 400, 200, 200]
    assert [body.count(b"\n") for _, body in replies] == [1999, 0, 0, 1999, 0]


def test_a_request_in_single_bytes(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request():
        connection.sendall(bytes([byte]))
    assert read_replies(connection, 1)[0][0] == 200


def test_a_chunked_body(connection: socket.socket) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (ROW[:5], ROW[5:])) + b"0\r\n\r\n"
    connection.sendall(request(chunks, b"Transfer-Encoding: chunked") * 2)
    assert [status for status, _ in read_replies(connection, 2)] == [200, 200]


def test_expect_continue(connection: socket.socket) -> None:
    whole = request(ROW, b"Expect: 100-continue")
    connection.sendall(whole[: -len(ROW)])
    assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(ROW)
    assert read_replies(connection, 1)[0][0] == 200


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_client_that_wants_the_connection_closed(version: bytes, connection: socket.socket) -> None:
    connection.sendall(request(ROW, b"Connection: close").replace(b"HTTP/1.1", version))
    assert read_replies(connection, 2)[0][0] == 200
    assert connection.recv(1) == b""


def test_an_old_client_need_not_wait_for_the_end(connection: socket.socket) -> None:
    """HTTP/1.0 takes a connection for closed unless the reply says otherwise, and reads to its end."""
    connection.sendall(request(ROW, b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert read_replies(connection, 2)[0][0] == 200
    assert connection.recv(1) == b""


@pytest.mark.parametrize("path", [b"/ping", b"/nothing"])
def test_head_has_no_body(path: bytes, connection: socket.socket) -> None:
    """A body would be taken for the next reply."""
    connection.sendall(b"HEAD " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    head = connection.recv(65536)
    assert re.search(rb"content-length: [1-9]", head)
    assert head.endswith(b"\r\n\r\n")
    connection.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
    assert read_replies(connection, 1) == [(200, b'{"status": "Healthy"}')]


@pytest.mark.parametrize("bad", [b"not http\r\n\r\n", b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"])
def test_a_refusal_does_not_overtake_what_was_asked_before(bad: bytes, connection: socket.socket) -> None:
    batch = b"\n".join([ROW] * 20_000)
    connection.sendall(request(batch) + request() + bad)
    assert [status for status, _ in read_replies(connection, 4)] == [200, 200, 400]
    assert connection.recv(1) == b""


@pytest.mark.parametrize("count", [1, 2])
def test_a_client_that_sends_no_more_is_answered(count: int, connection: socket.socket) -> None:
    connection.sendall(request(b"\n".join([ROW] * 20_000)) * count)
    connection.shutdown(socket.SHUT_WR)
    assert [status for status, _ in read_replies(connection, 3)] == [200] * count
    assert connection.recv(1) == b""


def test_a_request_that_ends_in_the_middle(connection: socket.socket) -> None:
    batch = b"\n".join([ROW] * 20_000)
    connection.sendall(request(batch) + request()[:-3])
    connection.shutdown(socket.SHUT_WR)
    replies = read_replies(connection, 3)
    assert [status for status, _ in replies] == [200, 400]
    assert b"the request ends in the middle; send it whole" in replies[1][1]


def test_a_thousand_requests_behind_a_slow_one_are_all_answered(connection: socket.socket) -> None:
    connection.sendall(request(b"\n".join([ROW] * 20_000)) + request() * 1000)
    assert [status for status, _ in read_replies(connection, 1001)] == [200] * 1001


def test_a_request_that_waits_for_another_does_not_expire(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_REQUEST_TIMEOUT_SECONDS="1")
    [checker] = children(server.process.pid)
    os.kill(checker, signal.SIGSTOP)
    load = json.dumps({"model_name": "m", "url": str(artefacts["binary"])}).encode()
    with server.socket() as connection:
        connection.sendall(request(load, path=b"/models") + request() + request()[:-3])
        time.sleep(2.5)  # the last one has expired, in its turn
        os.kill(checker, signal.SIGCONT)
        assert [status for status, _ in read_replies(connection, 4)] == [200, 200, 408]


def test_a_body_too_big_is_refused_before_it_is_sent(connection: socket.socket) -> None:
    head = request(b"", path=b"/models/m/invoke").replace(b"content-length: 0", b"content-length: 99999999")
    connection.sendall(head)
    assert read_replies(connection, 1)[0][0] == 413


def test_a_body_too_big_is_refused_while_it_is_sent(connection: socket.socket) -> None:
    connection.sendall(request(b"", b"Transfer-Encoding: chunked"))
    part = b"%x\r\n%s\r\n" % (1 << 20, b"1" * (1 << 20))
    for _ in range(8):
        connection.sendall(part)
    assert read_replies(connection, 1)[0][0] == 413


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),  # TLS
        (b"GET /ping HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST /models HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /models HTTP/1.1\r\ncontent-length: 9x\r\n\r\n", 400),
        (b"POST /models HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST /models HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST /models HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", 431),
        (b"GET /" + b"p" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_what_is_not_http(sent: bytes, status: int, connection: socket.socket) -> None:
    connection.sendall(sent)
    assert read_replies(connection, 1)[0][0] == status
    assert connection.recv(1) == b""


def test_ten_thousand_malformed_requests(ready: RunningServer) -> None:
    """Every answer is the caller's fault; nothing piles up; the server serves on."""
    fuzzer = random.Random(11)  # noqa: S311
    whole = [
        request(),
        request(b'{"model_name": "x", "url": "/nowhere"}', path=b"/models"),
        request(b'{"instances": [[1, 2, null]]}', b"Accept: application/json"),
        b"GET /models?limit=3&next_page_token=m HTTP/1.1\r\nhost: x\r\n\r\n",
        b"DELETE /models/absent HTTP/1.1\r\nhost: x\r\n\r\n",
    ]
    files = Path(f"/proc/{ready.process.pid}/fd")
    before, open_before = ready.metric("memory_used_bytes"), len(list(files.iterdir()))
    statuses: set[int] = set()
    for _ in range(10_000):
        data = bytearray(fuzzer.choice(whole))
        for _ in range(fuzzer.randrange(1, 6)):
            at = fuzzer.randrange(len(data))
            kind = fuzzer.randrange(3)
            if kind == 0:
                data[at] = fuzzer.randrange(256)
            elif kind == 1:
                del data[at : at + fuzzer.randrange(1, 9)]
            else:
                data[at:at] = fuzzer.choice([b"\r\n", b"\0", b"%00", b"\xff", b"9" * 30, b":", b"/", b" "])
        with ready.socket() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            statuses |= {status for status, _ in read_replies(connection, 1)}
    assert {400, 404} <= statuses
    assert all(status < 500 for status in statuses), statuses
    assert ready.invoke("m", ROW).status == 200
    deadline = time.monotonic() + 60
    while len(list(files.iterdir())) > open_before + 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(list(files.iterdir())) <= open_before + 3
    assert ready.metric("memory_used_bytes") < before + 5 * 1024 * 1024


def test_slow_clients_do_not_hold_up_others(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_REQUEST_TIMEOUT_SECONDS="1")
    server.load("m", artefacts["binary"])
    half_sent = [server.socket() for _ in range(200)]
    for number, connection in enumerate(half_sent):
        connection.sendall(request()[: 10 + number % 80])
    for _ in range(50):
        assert server.invoke("m", ROW).status == 200
    for connection in half_sent:
        (reply,) = read_replies(connection, 1)
        assert reply[0] == 408
        connection.close()
    assert server.invoke("m", ROW).status == 200


def test_a_client_that_does_not_read_its_replies(start: Start, artefacts: dict[str, Path]) -> None:
    """The server stops making replies for it, or hangs up, instead of keeping them in memory."""
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("m", artefacts["binary"])
    server.invoke("m", ROW)
    before = server.metric("memory_used_bytes")
    with server.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        flood, end = request() * 200, time.monotonic() + 1.5
        while time.monotonic() < end:
            try:
                connection.send(flood)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # the server has hung up, which is as good
                break
        assert server.invoke("m", ROW).status == 200
        assert server.metric("memory_used_bytes") < before + 5 * 1024 * 1024


class LongReplies:
    """A contract whose every reply is more than any socket holds."""

    draining = False

    def answer(self, _request: Request) -> Reply:
        return Reply(200, "text/plain", b"x" * 30_000_000)

    def work_bytes(self, _request: Request) -> int:
        raise AssertionError("no reply of this contract takes long")


class Impatient(Server):
    idle_seconds = reply_seconds = 0.1


@pytest.mark.parametrize("header", [b"", b"connection: close\r\n"])
def test_a_client_that_never_reads_is_hung_up_on(header: bytes) -> None:
    async def connections_left() -> int:
        server = Impatient(Settings(host="127.0.0.1", port=0, drain_seconds=0), LongReplies(), RequestMemory(0))  # type: ignore[arg-type]
        await server.start()
        assert server._listener is not None
        with socket.create_connection(server._listener.sockets[0].getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\n" + header + b"\r\n")
            deadline = time.monotonic() + 20
            while not server.state.connections:
                await asyncio.sleep(0.01)
            while server.state.connections and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            left = len(server.state.connections)
        await server.drain()
        return left

    assert asyncio.run(connections_left()) == 0

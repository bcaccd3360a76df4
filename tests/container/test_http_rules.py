"""RFC 9110 and RFC 9112, rule by rule, over bare sockets."""

import json
import re
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_server import RunningServer
from tierfleet_server.http.chunked import ChunkedBody
from tierfleet_server.http.request_head import split_target, valid_host
from tierfleet_server.http.request_reader import BODY, WHOLE, RequestReader
from tierfleet_server.model.refusal import Refusal

from tests.fuzz import http_streams

ROW = b"1,2,3,4,5,6,7,8"
INVOKE = b"POST /models/m/invoke HTTP/1.1\r\nHost: x\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def ready(server: RunningServer, artefacts: dict[str, Path]) -> RunningServer:
    for name in ("m", "invoke", "x/invoke", "a/b", "ünï %2F", "*"):
        assert server.load(name, artefacts["binary"]).status == 200
    return server


@pytest.fixture
def connection(ready: RunningServer) -> Iterator[socket.socket]:
    with ready.socket() as opened:
        yield opened


def exchange(connection: socket.socket, sent: bytes, replies: int = 1) -> list[tuple[int, bytes, bytes]]:
    """Status, head and body of so many replies (none of them to HEAD), or of those before the server closes."""
    connection.sendall(sent)
    data, answers = b"", []
    while len(answers) < replies:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and length and len(rest) >= int(length[1]):
            answers.append((int(head.split()[1]), head, rest[: int(length[1])]))
            data = rest[int(length[1]) :]
            continue
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return answers


def posted(*headers: bytes, body: bytes = ROW) -> bytes:
    return INVOKE + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


LENGTH = b"Content-Length: %d" % len(ROW)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"f\r\n" + ROW + b"\r\n0\r\n"


@pytest.mark.parametrize(
    "trailer",
    [b"Accept: application/json", b"Accept: image/png", b"Content-Type: application/json", b"Connection: close",
     b"Content-Length: 3", b"Transfer-Encoding: gzip", b"Host: a b", b"Expect: x", b"Content-Encoding: gzip",
     b"Upgrade: x\r\nConnection: upgrade"],
)  # fmt: skip
def test_a_trailer_changes_nothing(trailer: bytes, connection: socket.socket) -> None:
    [(_, plain_head, plain)] = exchange(connection, posted(CHUNKED, body=CHUNKS + b"\r\n"))
    replies = exchange(connection, posted(CHUNKED, body=CHUNKS + trailer + b"\r\n\r\n") + PING, 2)
    assert [status for status, _, _ in replies] == [200, 200]
    assert replies[0][2] == plain
    without_date = [re.sub(rb"date: [^\r]+", b"", head) for head in (plain_head, replies[0][1])]
    assert without_date[0] == without_date[1]


REFUSED = {
    "no host": b"GET /ping HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /ping HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "two hosts in 1.0": b"GET /ping HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    "two hosts and a target of its own": b"GET http://x/ping HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "no host and a target of its own": b"GET http://x/ping HTTP/1.1\r\n\r\n",
    **{
        f"host {host!r}": b"GET /ping HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        for host in (b"a b", b"a/b", b"a,b c", b"x:y", b"x:80:80", b"[::1", b"[z]", b"[1::2::3]", b"a@b", b"%zz", b"a?",
                     b"a#", b"\xc3\xa4", b"http://x", b"x" * 300)
    },
    "target with user": b"GET http://u@x/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "target of ftp": b"GET ftp://x/ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "authority": b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": b"GET /ping#a HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad percent": b"GET /models/%4 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad percent in the query": b"GET /models?limit=%g0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "brace": b"GET /models/{a} HTTP/1.1\r\nHost: x\r\n\r\n",
    "0.9": b"GET /ping\r\n",
    "2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "1.2": b"GET /ping HTTP/1.2\r\nHost: x\r\n\r\n",
    "method in lower case": b"post /models HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"BREW /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunked in 1.0": posted(CHUNKED, body=CHUNKS + b"\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two content types": posted(b"Content-Type: text/csv", b"content-type: text/csv", LENGTH),
    "gzip, chunked": posted(b"Transfer-Encoding: gzip, chunked", body=CHUNKS + b"\r\n"),
    "tiny chunks": posted(CHUNKED, body=b"1\r\n1\r\n" * 5000),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_be_refused(case: str, connection: socket.socket) -> None:
    replies = exchange(connection, REFUSED[case], 2)
    assert [status for status, _, _ in replies] == [400]
    assert b"connection: close" in replies[0][1]
    assert connection.recv(1) == b""
    assert json.loads(replies[0][2])["message"]


@pytest.mark.parametrize(
    ("case", "status"),
    [
        (posted(b"Content-Encoding: gzip", LENGTH), 415),
        (posted(b"Content-Encoding: identity, br", LENGTH), 415),
        (posted(b"Expect: 200-ok", LENGTH), 417),
        (posted(b"Expect: 100-continue, x", LENGTH), 417),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 405),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"a: " + b"b" * 33_000, 431),
        (posted(CHUNKED, body=b"1;" + b"x" * 5000), 431),
        (posted(CHUNKED, body=CHUNKS + b"a: b\r\n" * 2000 + b"\r\n"), 431),
        (posted(CHUNKED, body=b"fffffff\r\n" + b"1" * 7_000_000), 413),
    ],
)
def test_what_cannot_be_met(case: bytes, status: int, connection: socket.socket) -> None:
    assert [status for status, _, _ in exchange(connection, case, 2)] == [status]


@pytest.mark.parametrize(
    ("target", "status"),
    [(b"http://x/ping", 200), (b"HTTP://other.example:8080/ping", 200), (b"https://[::1]/ping?a", 200),
     (b"http://x", 404), (b"http://x?a=b", 404), (b"//ping", 404), (b"/ping/", 404), (b"/%70ing", 404),
     (b"/models/%6d", 200), (b"/models/m?x=%20", 200), (b"/models/a/b", 200), (b"/models/a%2Fb", 200),
     (b"/models/%C3%BCn%C3%AF%20%252F", 200), (b"/models/*", 200), (b"/models/", 404), (b"/models/m/", 404)],
)  # fmt: skip
def test_targets(target: bytes, status: int, connection: socket.socket) -> None:
    assert exchange(connection, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")[0][0] == status


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/ping", "GET, HEAD"), ("/metrics", "GET, HEAD"), ("/models", "GET, HEAD, POST"), ("/models/m/invoke", "POST"),
     ("/models/m", "GET, HEAD, DELETE"), ("/models/invoke", "GET, HEAD, DELETE")],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_every_405_says_what_is_allowed(path: str, allowed: str, method: str, connection: socket.socket) -> None:
    if method in allowed.split(", "):
        return
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = connection.recv(65536).decode()
    assert head.startswith("HTTP/1.1 405 ")
    assert f"\r\nallow: {allowed}\r\n" in head


def test_options_of_the_server(connection: socket.socket) -> None:
    [(status, head, _)] = exchange(connection, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, b"\r\nallow: GET" in head) == (200, True)


def test_models_whose_names_look_like_paths(ready: RunningServer) -> None:
    for name in ("invoke", "x/invoke", "a/b", "ünï %2F", "*"):
        assert ready.invoke(name, ROW).status == 200, name
    assert ready.ask("DELETE", "/models/invoke").status == 200
    assert ready.ask("GET", "/models/x/invoke").status == 200
    assert ready.ask("DELETE", "/models/x/invoke").status == 200
    assert ready.ask("DELETE", "/models/x/invoke").status == 405  # now it can only be the model x
    assert ready.unload("a/b").status == 200
    assert ready.unload("invoke").status == 404


def test_no_interim_reply_to_http_1_0(connection: socket.socket) -> None:
    sent = posted(b"Expect: 100-continue", LENGTH).replace(b"HTTP/1.1", b"HTTP/1.0")
    connection.sendall(sent[: -len(ROW)])
    [(status, head, _)] = exchange(connection, ROW)
    assert (status, head.startswith(b"HTTP/1.1 200 ")) == (200, True)


def test_an_interim_reply_does_not_overtake_a_reply(connection: socket.socket) -> None:
    batch = b"\n".join([ROW] * 20_000)
    slow = INVOKE + b"Content-Length: %d\r\n\r\n" % len(batch) + batch
    connection.sendall(slow + posted(b"Expect: 100-continue", LENGTH, body=b""))
    data = b""
    while b"100 Continue" not in data:
        data += connection.recv(65536)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert exchange(connection, ROW)[0][0] == 200


ODD_NUMBERS = (
    b"nan", b"inf", b"+15", b"-15", b"1e1", b"0x0f", b"1_5", b"15.0", b"1 5", b"\xb2", b"\xd9\xa1", b'"15"', b"15,",
    b"", b"true",
)  # fmt: skip


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_a_number_of_a_head_is_digits_alone(number: bytes, ready: RunningServer) -> None:
    """Content-Length, the size of a chunk, the port of Host, the limit of a list: none is read as Python reads it."""
    sent = [
        posted(b"Content-Length: " + number),
        posted(CHUNKED, body=number.replace(b"1e1", b"1e+1") + b"\r\n" + ROW + b"\r\n0\r\n\r\n"),
        b"GET /models?limit=" + number.replace(b" ", b"%20").replace(b"+", b"%2B").replace(b'"', b"%22")
        + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ]  # fmt: skip
    if number:  # `x:` has an empty port, which is allowed
        sent.append(b"GET /ping HTTP/1.1\r\nHost: x:" + number + b"\r\n\r\n")
    for request in sent:
        with ready.socket() as connection:
            [(status, _, _)] = exchange(connection, request)
        assert status == 400 or (status == 200 and b"limit=" in request and number == b""), (request, status)


def test_several_accept_headers_are_one_list(connection: socket.socket) -> None:
    headers = (b"Accept: image/png;q=0.5", b"Accept: application/json", LENGTH)
    [(status, head, _)] = exchange(connection, posted(*headers))
    assert (status, b"content-type: application/json" in head) == (200, True)


def test_replies_have_a_date(connection: socket.socket) -> None:
    [(_, head, _)] = exchange(connection, PING)
    assert re.search(rb"\r\ndate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", head)


@pytest.mark.parametrize(
    "host",
    [b"", b"x", b"x:", b"x:80", b"127.0.0.1:8080", b"[::1]", b"[::ffff:1.2.3.4]:1", b"[v1.a:b]", b"a%20b", b"a_b"],
)  # fmt: skip
def test_hosts_that_are_valid(host: bytes) -> None:
    assert valid_host(host)


def test_a_long_bad_target_is_refused_at_once() -> None:
    for target in (b"/" + b"a" * 30_000 + b"\\", b"http://" + b"a" * 30_000 + b"\\", b"/" + b"%41" * 9_000 + b"%"):
        with pytest.raises(Refusal, match="the target"):
            split_target(b"GET", target)


@given(st.binary(max_size=400), st.lists(st.integers(16, 90), min_size=1), st.lists(st.integers(1, 50), min_size=1))
def test_chunks_in_any_pieces_are_the_body(body: bytes, sizes: list[int], cuts: list[int]) -> None:
    coded, at, number = b"", 0, 0
    while at < len(body):
        part = body[at : at + sizes[number % len(sizes)]]
        coded += b"%x\r\n%s\r\n" % (len(part), part)
        at, number = at + len(part), number + 1
    coded += b"0\r\nX: y\r\n\r\n"
    decoder, out, at, number, sent = ChunkedBody(), BytesIO(), 0, 0, coded + b"GET"
    while not decoder.done:
        piece = sent[at : at + cuts[number % len(cuts)]]
        at, number = at + decoder.feed(piece, 0, out), number + 1
    assert (out.getvalue(), at) == (body, len(coded))


@given(st.integers(0, 10**9), st.lists(st.integers(1, 200), min_size=1))
def test_how_a_stream_is_cut_changes_no_request(seed: int, cuts: list[int]) -> None:
    stream = http_streams.make(seed)
    sent = b"".join(stream.pieces)
    assert requests_of([sent]) == requests_of(pieces_of(sent, cuts))


def pieces_of(sent: bytes, cuts: list[int]) -> list[bytes]:
    pieces, at, number = [], 0, 0
    while at < len(sent) and number < 2000:
        pieces.append(sent[at : at + cuts[number % len(cuts)]])
        at, number = at + len(pieces[-1]), number + 1
    return [*pieces, sent[at:]]


def requests_of(pieces: list[bytes]) -> list[object]:
    """What a reader makes of the pieces: requests, and at last the status of a refusal."""
    reader, requests = RequestReader(6 * 1024 * 1024), []
    try:
        for piece in pieces:
            at = 0
            while at < len(piece):
                at = reader.feed(piece, at)
                if reader.stage == WHOLE:
                    requests.append((reader.method, reader.keep_alive, reader.take()))
    except Refusal as refusal:
        return [*requests, refusal.status]
    return [*requests, reader.stage == BODY]


def test_streams_of_requests(ready: RunningServer) -> None:
    """Some of what `tests/fuzz/http_streams.py` runs for longer."""
    for seed in range(250):
        http_streams.check(ready.port, http_streams.make(seed))
    assert ready.process.poll() is None

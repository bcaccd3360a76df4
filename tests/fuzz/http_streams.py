"""Streams of HTTP requests, honest and not, and what a server must answer to them.

A stream is made of a seed, so that a failure can be had again. It is sent in random pieces, and its oracle says how
many answers there are and with which status: an honest stream is answered in full; after a request whose framing is in
doubt nothing is answered any more, so no second request can hide in it.

Not named http.py: a script in this folder would import it instead of the standard library's package.
"""

import argparse
import random
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROW = b"1,2,3,4,5,6,7,8"
MODEL = b"m"  # a model of that name with 8 features must be loaded
_HONEST_SHARE = 0.5
_SECRET = b"smuggled"
_HIDDEN = b"GET /" + _SECRET + b" HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Stream:
    """What is sent, and the methods and statuses of the answers, in order; more may follow if it is `open_ended`."""

    seed: int
    pieces: list[bytes]
    methods: list[bytes]
    statuses: list[int]
    open_ended: bool = False


def make(seed: int) -> Stream:
    """The stream of a seed."""
    chance = random.Random(seed)  # noqa: S311
    honest = [_honest(chance) for _ in range(chance.choice([1, 1, 2, 3, 10, 40]))]
    sent = b"".join(request for request, _, _ in honest)
    methods = [method for _, method, _ in honest]
    statuses = [status for _, _, status in honest]
    kind = chance.random()
    if kind < _HONEST_SHARE:
        return Stream(seed, _split(chance, sent), methods, statuses)
    if kind < 0.8:
        sent += chance.choice(_BROKEN) + _HIDDEN
        return Stream(seed, _split(chance, sent), [*methods, b"GET"], [*statuses, 400])
    return Stream(seed, _split(chance, sent + _mutated(chance)), methods, statuses, open_ended=True)


def check(port: int, stream: Stream) -> None:
    """Send a stream and hold the answers against it; raises AssertionError."""
    where = f"seed {stream.seed}"
    replies = _exchange(port, stream, where)
    statuses = [status for status, _ in replies]
    assert not any(_SECRET in body for _, body in replies), f"{where}: a second request was hidden in one"
    if stream.open_ended:
        assert statuses[: len(stream.statuses)] == stream.statuses, f"{where}: {statuses}"
        assert all(status < 500 for status in statuses), f"{where}: {statuses}"
    else:
        assert statuses == stream.statuses, f"{where}: {statuses}, not {stream.statuses}"


def _honest(chance: random.Random) -> tuple[bytes, bytes, int]:
    """A request by the book, its method, and the status of its answer."""
    body: bytes | None = None
    headers = [(b"Host", chance.choice([b"x", b"127.0.0.1:8080", b"[::1]:80", b"a.example", b""]))]
    method, path, status = b"GET", b"/ping", 200
    kind = chance.randrange(6)
    if kind <= 2:
        method, path = b"POST", b"/models/" + MODEL + b"/invoke"
        rows = chance.choice([1, 1, 1, 3, 300, 6000])
        body = chance.choice([ROW, ROW, b"1,2"] if rows == 1 else [b"\n".join([ROW] * rows)])
        status = 400 if body == b"1,2" else 200
        headers.append((b"Content-Type", chance.choice([b"text/csv", b"Text/CSV; charset=utf-8"])))
        if chance.random() < 0.2:
            headers.append((b"Accept", b"application/json"))
    elif kind == 3:
        method, path, status = chance.choice([
            (b"HEAD", b"/ping", 200), (b"DELETE", b"/ping", 405), (b"TRACE", b"/metrics", 405),
            (b"OPTIONS", b"*", 200), (b"PUT", b"/models/" + MODEL, 405), (b"GET", b"/models/nobody", 404),
        ])  # fmt: skip
    elif kind == 4:
        path = chance.choice([b"/metrics", b"/models?limit=1", b"/models/" + MODEL, b"/models/%6D", b"//ping"])
        status = 404 if path == b"//ping" else 200
    if path != b"*" and chance.random() < 0.2:
        path = chance.choice([b"http://other.example", b"HTTP://x:80"]) + path
    for number in range(chance.choice([0, 1, 5, 30])):
        headers.append((b"X-%d" % number, bytes(chance.choices(b'abc \t\xe4,;="', k=chance.randrange(20)))))
    if body is not None and chance.random() < 0.4:
        headers.append((b"Transfer-Encoding", chance.choice([b"chunked", b"Chunked"])))
        body = _chunks(chance, body)
    elif body is not None:
        headers.append((b"Content-Length", b"%s%d" % (chance.choice([b"", b"00"]), len(body))))
    chance.shuffle(headers)
    lines = [method + b" " + path + b" HTTP/1.1"]
    for name, value in headers:
        after = chance.choice([b"", b" \t"]) if name.startswith(b"X") else b""
        name = chance.choice([name, name.lower(), name.upper()])
        lines.append(name + b":" + chance.choice([b"", b" ", b"\t "]) + value.strip() + after)
    before = chance.choice([b"", b"", b"\r\n"])
    return before + b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""), method, status


def _chunks(chance: random.Random, body: bytes) -> bytes:
    """A body in chunks, with extensions and trailers that must change nothing."""
    sent, at = b"", 0
    while at < len(body):
        size = min(chance.choice([16, 17, 100, 5000, 70_000]), len(body) - at)
        extension = chance.choice([b"", b"", b";a", b" ; a = b", b';a="b;c"'])
        sent += b"%s%x%s\r\n%s\r\n" % (chance.choice([b"", b"0"]), size, extension, body[at : at + size])
        at += size
    trailers = [b"", b"Accept: image/png\r\n", b"Connection: close\r\nHost: y\r\n", b"Content-Type: text/plain\r\n"]
    return sent + chance.choice([b"0", b"000", b"0;last"]) + b"\r\n" + chance.choice(trailers) + b"\r\n"


def _head(*headers: bytes) -> bytes:
    lines = (b"POST /models/" + MODEL + b"/invoke HTTP/1.1", b"Host: x", *headers)
    return b"\r\n".join(lines).replace(b"%d", b"%d" % len(_HIDDEN)) + b"\r\n\r\n"


def _line(line: bytes) -> bytes:
    return line + b"\r\nHost: x\r\n\r\n"


# Requests that end where readers may differ. Each must be refused, and be the last on its connection.
_BROKEN = [
    _head(b"Content-Length: %d", b"Transfer-Encoding: chunked"),
    _head(b"Transfer-Encoding: chunked", b"Content-Length: 3"),
    _head(b"Content-Length: 0", b"Content-Length: %d"),
    _head(b"Content-Length: 3, 3"),
    *(_head(b"Content-Length: " + value) for value in (b"+3", b"-3", b"0x3", b"3 3", b"", b"1_0", b"9" * 25, b"\x0b3")),
    *(
        _head(b"Transfer-Encoding: " + value)
        for value in (b"gzip, chunked", b"chunked, gzip", b"identity", b"xchunked", b"chunked;a=b", b"\x0bchunked", b"")
    ),
    _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    _head(b"Transfer-Encoding : chunked"),
    _head(b" Transfer-Encoding: chunked"),
    _head(b"X: y", b" Transfer-Encoding: chunked"),
    _head(b"X: y\rTransfer-Encoding: chunked"),
    _head(b"X: y\nTransfer-Encoding: chunked"),
    _head(b"X: y\0"),
    _head(b"X\0: y"),
    _head(b": y"),
    _head(b"no colon"),
    _head(b"Host: y"),
    _head(b"Content-Type: text/csv", b"Content-Type: text/csv"),
    _line(b"GET /ping HTTP/0.9"),
    _line(b"GET /ping HTTP/2.0"),
    _line(b"GET /ping RTSP/1.0"),
    _line(b"GET /ping http/1.1"),
    _line(b"GET  /ping HTTP/1.1"),
    _line(b"GET /ping  HTTP/1.1"),
    _line(b"GET /ping HTTP/1.1 "),
    _line(b"get /ping HTTP/1.1"),
    _line(b"GET /a b HTTP/1.1"),
    _line(b"GET /%zz HTTP/1.1"),
    _line(b"GET /ping#x HTTP/1.1"),
    _line(b"GET ping HTTP/1.1"),
    _line(b"GET http:///ping HTTP/1.1"),
    *(
        _head(b"Transfer-Encoding: chunked") + coded
        for coded in (
            b"+3\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n",
            b"f" * 17 + b"\r\nabc", b"3;a=\rb\r\nabc\r\n0\r\n\r\n", b"3;\nabc\r\n0\r\n\r\n", b"\r\n0\r\n\r\n",
            b"3;a\0\r\nabc\r\n0\r\n\r\n", b"0\r\nbad\r\n\r\n", b"0\r\na : b\r\n\r\n", b"0\r\n a: b\r\n\r\n",
            b"-0\r\n\r\n",
        )
    ),
]  # fmt: skip


def _mutated(chance: random.Random) -> bytes:
    data = bytearray(_honest(chance)[0])
    for _ in range(chance.randrange(1, 6)):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(3)
        if kind == 0 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 9)]
        else:
            data[at:at] = chance.choice(
                [b"\r\n", b"\r", b"\n", b"\0", b"%00", b"\xff", b"9" * 30, b":", b"/", b" ", b","]
            )
    return bytes(data)


def _split(chance: random.Random, data: bytes) -> list[bytes]:
    """In one piece, in few, or (what is short) in single bytes."""
    if len(data) < 2 or chance.random() < 0.3:
        return [data]
    if len(data) < 400 and chance.random() < 0.2:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.randrange(1, 8)))})
    return [data[begin:end] for begin, end in pairwise(cuts)]


def _exchange(port: int, stream: Stream, where: str) -> list[tuple[int, bytes]]:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in stream.pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused already; what it said can still be read
        data = b""
        try:
            while part := connection.recv(1 << 20):
                data += part
        except ConnectionResetError:
            pass
    return _parsed(data, stream, where)


def _parsed(data: bytes, stream: Stream, where: str) -> list[tuple[int, bytes]]:
    """Status and body of each reply. A reply to HEAD has none."""
    replies: list[tuple[int, bytes]] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, f"{where}: a head was cut: {head[:80]!r}"
        assert head.startswith(b"HTTP/1.1 "), f"{where}: {data[:80]!r} is no reply"
        data = rest
        if head[9:12] == b"100":
            continue
        length = re.search(rb"(?m)^content-length: (\d+)\r?$", head)
        assert length is not None, f"{where}: a reply without a length"
        if len(replies) < len(stream.methods):
            bodiless = stream.methods[len(replies)] == b"HEAD"
        else:
            bodiless = not rest or rest.startswith(b"HTTP/1.1 ")  # of what was mutated, which may have been HEAD
        size = 0 if bodiless else int(length[1])
        assert len(rest) >= size, f"{where}: a reply was cut"
        replies.append((int(head[9:12]), rest[:size]))
        data = rest[size:]
    return replies


def main() -> None:
    """Run streams against a server of its own for some seconds."""
    from running_server import RunningServer
    from trained_models import train_every_kind

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "model").mkdir()
        (Path(scratch) / "model" / "xgboost-model").write_bytes(train_every_kind()["binary"].saved)
        server = RunningServer({"SAGEMAKER_MULTI_MODEL": "true"}, Path(scratch) / "log")
        try:
            assert server.load(MODEL.decode(), Path(scratch) / "model").status == 200
            end, seed = time.monotonic() + options.seconds, options.seed
            while time.monotonic() < end:
                check(server.port, make(seed))
                seed += 1
            assert server.process.poll() is None, "the server has ended"
            print(f"{seed - options.seed} streams from seed {options.seed} on, none answered wrongly")
        finally:
            server.close()


if __name__ == "__main__":
    main()

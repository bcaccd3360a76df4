"""An HTTP proxy on loopback that harms replies: what connections, load balancers and broken servers do to them.

Each fault is a function of the open connection, the whole reply and a random number generator; it sends what it likes
and says whether the connection lives on. A proxy draws one for a share of the replies, or is told which.
"""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

# No fault holds a connection for longer, should its client never leave.
LONGEST_HOLD_SECONDS: Final = 30.0
DRIP_SECONDS: Final = 0.1

Fault = Callable[[socket.socket, bytes, random.Random], bool]


def _hold(connection: socket.socket) -> bool:
    """Until the client leaves."""
    connection.settimeout(LONGEST_HOLD_SECONDS)
    while connection.recv(65_536):
        pass
    return False


def _left(connection: socket.socket, seconds: float) -> bool:
    """Wait; whether the client left meanwhile."""
    connection.settimeout(seconds)
    try:
        return not connection.recv(65_536)
    except TimeoutError:
        return False


def never_answers(connection: socket.socket, _reply: bytes, _rng: random.Random) -> bool:
    return _hold(connection)


def closes(_connection: socket.socket, _reply: bytes, _rng: random.Random) -> bool:
    return False


def resets(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(reply[: rng.randrange(len(reply))])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def half_a_reply(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(reply[: rng.randrange(1, len(reply))])
    return False


def half_then_silence(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(reply[: rng.randrange(1, len(reply))])
    return _hold(connection)


def drips(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    start = rng.randrange(len(reply))
    connection.sendall(reply[:start])
    began = time.monotonic()
    for place in range(start, len(reply)):
        connection.sendall(reply[place : place + 1])
        if _left(connection, DRIP_SECONDS) or time.monotonic() - began > LONGEST_HOLD_SECONDS:
            return False
    return True


def late(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    if _left(connection, rng.uniform(0.05, 2.0)):
        return False
    connection.sendall(reply)
    return True


def garbage(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(rng.randbytes(rng.randrange(1, 2 * len(reply))))
    return False


def garbage_for_a_body(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    """An honest length, so that only what reads the body can tell."""
    head, _, body = reply.partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n" + rng.randbytes(len(body)).replace(b"\n", b"x"))
    return True


def cut_head(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(reply[: rng.randrange(1, reply.index(b"\r\n\r\n") + 2)])
    return False


def twice(connection: socket.socket, reply: bytes, _rng: random.Random) -> bool:
    connection.sendall(reply + reply)
    return True


def twice_the_second_time_later(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(reply)
    time.sleep(rng.uniform(0, 0.003))
    connection.sendall(reply)
    return True


def with_length(reply: bytes, length: bytes) -> bytes:
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, *([b"Content-Length: " + length] if length else [])]) + b"\r\n\r\n" + body


def _length(reply: bytes) -> int:
    return len(reply.partition(b"\r\n\r\n")[2])


def length_too_short(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(with_length(reply, b"%d" % rng.randrange(max(1, _length(reply)))))
    return True


def length_too_long(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    connection.sendall(with_length(reply, b"%d" % (_length(reply) + rng.choice([1, 7, 10_000, 10**15]))))
    return _hold(connection) if rng.random() < 0.5 else False


def length_that_is_none(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    odd = [b"-1", b"+5", b"abc", b"0x10", b"1e3", b"5, 6", b"9" * 5000, b" ", b"5\r\nContent-Length: 6"]
    connection.sendall(with_length(reply, rng.choice(odd)))
    return False


def no_length(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    bare = with_length(reply, b"")
    end = bare.index(b"\r\n\r\n") + 4
    connection.sendall(bare[: rng.randrange(end, len(bare) + 1)])
    return False


def chunks_that_break_off(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    head, _, body = with_length(reply, b"").partition(b"\r\n\r\n")
    odd = [b"", b"%x\r\n" % (len(body) + 9) + body, b"-5\r\n" + body, b"zz\r\n" + body, b"f" * 40 + b"\r\n" + body]
    connection.sendall(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + rng.choice(odd))
    return False


def chunks_without_end(connection: socket.socket, reply: bytes, _rng: random.Random) -> bool:
    head = with_length(reply, b"").partition(b"\r\n\r\n")[0]
    connection.sendall(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_HOLD_SECONDS:
        connection.sendall(b"10000\r\n" + b"1" * 65_536 + b"\r\n")
    return False


def interim_replies(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    """A few, which HTTP allows."""
    connection.sendall(b"HTTP/1.1 %d Wait\r\n\r\n" % rng.choice([100, 102, 103]) * rng.randrange(1, 5) + reply)
    return True


def interim_replies_without_end(connection: socket.socket, _reply: bytes, rng: random.Random) -> bool:
    began = time.monotonic()
    flood = b"HTTP/1.1 %d Wait\r\nx-a: b\r\n\r\n" % rng.choice([100, 102]) * 100
    while time.monotonic() - began < LONGEST_HOLD_SECONDS:
        connection.sendall(flood)
    return False


def huge_headers(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    status, _, rest = reply.partition(b"\r\n")
    extra = rng.choice([b"x-long: " + b"a" * 200_000 + b"\r\n", b"".join(b"x-%d: b\r\n" % n for n in range(5_000))])
    connection.sendall(status + b"\r\n" + extra + rest)
    return False


def odd_status(connection: socket.socket, reply: bytes, rng: random.Random) -> bool:
    rest = reply.partition(b"\r\n")[2]
    odd = [b"1.1 204 No", b"1.1 abc", b"2.0 200 OK", b"1.1 101 Switching", b"1.1 999 ?", b"1.1"]
    connection.sendall(b"HTTP/" + rng.choice(odd) + b"\r\n" + rest)
    return False


def odd_error(connection: socket.socket, _reply: bytes, rng: random.Random) -> bool:
    """An error whose body is JSON of another shape than AWS's."""
    shapes = [
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b'{"OriginalStatusCode": "abc"}',
        b'{"message": [1]}',
        b"[" * 10_000,
        b"\xff",
    ]
    shapes += [b'{"OriginalStatusCode": 1e999}', b'{"Message": {"a": 1}, "OriginalMessage": 5}', b"<html>", b""]
    body = rng.choice(shapes)
    status = rng.choice([b"424 Failed Dependency", b"400 Bad", b"503 Busy", b"500 Oops"])
    head = b"Content-Type: application/json\r\nx-amzn-ErrorType: ModelError\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + head + body)
    return True


def closes_afterwards(connection: socket.socket, reply: bytes, _rng: random.Random) -> bool:
    """Between two requests of a connection that was to stay open."""
    connection.sendall(reply)
    return False


FAULTS: Final[Sequence[Fault]] = (
    never_answers,
    closes,
    resets,
    half_a_reply,
    half_then_silence,
    drips,
    late,
    garbage,
    garbage_for_a_body,
    cut_head,
    twice,
    twice_the_second_time_later,
    length_too_short,
    length_too_long,
    length_that_is_none,
    no_length,
    chunks_that_break_off,
    chunks_without_end,
    interim_replies,
    interim_replies_without_end,
    huge_headers,
    odd_status,
    odd_error,
    closes_afterwards,
)


class ChaosProxy:
    """In front of one HTTP server; a thread per connection.

    share: of the replies that are harmed, 0 to 1. faults: what may happen to them, all equally often. only: harm only
    replies to requests whose first line holds these bytes.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        *,
        seed: int = 0,
        share: float = 1.0,
        faults: Sequence[Fault] = FAULTS,
        only: bytes = b"",
    ) -> None:
        self.upstream = upstream
        self.share = share
        self.faults = faults
        self.only = only
        self.done: Counter[str] = Counter()
        self._rng = random.Random(seed)  # noqa: S311 - it repeats a run
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A close alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, socket.create_connection(self.upstream) as upstream:
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                asked, answers = connection.makefile("rb"), upstream.makefile("rb")
                with asked, answers:
                    while True:
                        connection.settimeout(None)
                        request = read_message(asked)
                        if not request:
                            return
                        upstream.sendall(request)
                        reply = read_message(answers)
                        fault, rng = self._draw(request)
                        if fault is None:
                            connection.sendall(reply)
                        elif not fault(connection, reply, rng):
                            return
        except OSError:
            # The client, or the server behind, has left.
            return

    def _draw(self, request: bytes) -> tuple[Fault | None, random.Random]:
        with self._lock:
            if (
                not self.faults
                or self.only not in request[: request.index(b"\r\n")]
                or self._rng.random() >= self.share
            ):
                return None, self._rng
            fault = self._rng.choice(self.faults)
            self.done[fault.__name__] += 1
            return fault, random.Random(self._rng.getrandbits(64))  # noqa: S311


def read_message(stream: BinaryIO) -> bytes:
    """One request or reply whose body has a Content-Length; nothing if the other side has left."""
    head, length = bytearray(), 0
    while line := stream.readline():
        head += line
        if line[:15].lower() == b"content-length:":
            length = int(line[15:])
        if line == b"\r\n":
            return bytes(head) + stream.read(length)
    return b""

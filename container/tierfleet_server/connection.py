"""HTTP/1.1 on one connection: bytes in, one request after the other to the contract, replies out."""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Protocol

import httptools

from .chunked import ChunkedBody
from .contract import ALLOWED, Answer, Reply, Request, failed, refused
from .refusal import Refusal
from .request_head import (
    MAX_HEAD_BYTES,
    MAX_HEADER_LINES,
    SINGLE,
    body_length,
    check_host,
    check_line,
    expects_continue,
    split_target,
)
from .request_memory import MAX_CONNECTIONS, MAX_WAITING, SMALL_BODY_BYTES, Pool, RequestMemory

_READ_BYTES = 16 * 1024  # at once, and so all that a connection holds unparsed
_READ_BODY_BYTES = 256 * 1024
_UNSENT_BYTES = 16 * 1024  # of a reply, before it counts as unread
_REQUESTS_A_TURN = 16  # that one connection may ask for before others have their turn
_LINGER_SECONDS = 2.0
_WAIT_SECONDS = 15.0  # for memory; SageMaker gives up after 60
# While others wait for memory, a body must come at this rate, after a first while.
_PACE_BYTES_A_SECOND = 64 * 1024
_PACE_AFTER_SECONDS = 5.0
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

# What a connection is at. Bytes are read in the first two; the others leave them to TCP.
_HEAD, _BODY, _MEMORY, _ANSWER, _UNREAD, _CLOSING = range(6)


class Answers(Protocol):
    """The contract, as a connection sees it."""

    def answer(self, request: Request) -> Answer:
        """The reply to a request, or a coroutine that makes it. Never raises."""


@dataclass(kw_only=True)
class ServerState:
    """What the server and its connections share."""

    contract: Answers
    loop: asyncio.AbstractEventLoop
    memory: RequestMemory
    max_request_bytes: int
    request_seconds: float  # for a client to send one whole request
    reply_seconds: float  # for a client to read one whole reply
    idle_seconds: float
    connections: "set[Connection]" = field(default_factory=set)
    draining: bool = False
    last_data: float = 0.0  # when a client last connected or sent something while draining
    date: bytes = b""  # the Date header, with CRLF
    # Every connection reads into it: what is kept is copied out before another can read.
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(_READ_BODY_BYTES)))

    def __post_init__(self) -> None:
        self.now = self.loop.time
        self.head_buffer = self.buffer[:_READ_BYTES]


class Connection(asyncio.BufferedProtocol):
    """One client's connection.

    One request at a time is received and answered; what a client sends meanwhile stays in the kernel, but for
    `_READ_BYTES`. `deadline` is when the server may close it: for want of a whole request, of any, of memory, or of a
    client that reads. It is None while a request is being answered. What cannot be parsed is refused, and is the last.
    """

    __slots__ = (
        "_body", "_chunked", "_claimed", "_continue", "_ended", "_granted_at", "_head", "_headers", "_held",
        "_keep_alive", "_left", "_length", "_lines", "_method", "_parser", "_paused", "_pool", "_repeated", "_server",
        "_stage", "_target", "_task", "_transport", "_unparsed", "_waits_for", "_writable", "deadline", "silent",
    )  # fmt: skip

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._head = b""  # as far as it has come
        self._lines = 0
        self._headers: dict[bytes, bytes] = {}
        self._repeated = b""
        self._body: BytesIO | None = None
        self._chunked: ChunkedBody | None = None
        self._length = self._left = 0  # of the body, and of it still to come
        self._method = b""
        self._target = (b"", b"")
        self._keep_alive = False
        self._pool: Pool = server.memory.small
        self._waits_for: Pool | None = None
        self._claimed = 0  # bytes of the pool, for the request
        self._held = 0  # bytes of the small pool, for what is kept of later ones
        self._granted_at = 0.0
        self._writable = True
        self._unparsed = b""
        self._paused = self._continue = False
        self._ended = False  # the client sends no more
        self._stage = _HEAD
        self.deadline: float | None = None
        self.silent = True  # nothing has come yet

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered, or its reply waits for the client to read it."""
        if self._stage not in (_HEAD, _CLOSING) or self._head or self._unparsed:
            return True
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        server = self._server
        self._transport = transport  # type: ignore[assignment]
        server.connections.add(self)
        self.deadline = server.now() + server.idle_seconds
        transport.set_write_buffer_limits(_UNSENT_BYTES, 0)  # type: ignore[attr-defined]
        if server.draining:
            server.last_data = server.now()
        if len(server.connections) > MAX_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        """There are too many connections: close the one that has been idle longest, or else refuse this one."""
        server = self._server
        idle = [other for other in server.connections if other is not self and not other.busy]
        if idle:
            min(idle, key=lambda other: other.deadline or 0.0).expire()
        else:
            self._refuse(server.memory.refusal(f"all {MAX_CONNECTIONS} connections are in use"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The client is gone; an answer in the making is finished and thrown away."""
        self._transport = None
        self._server.connections.discard(self)
        self._stage = _CLOSING
        self._head = self._unparsed = b""
        self._hold()
        if self._waits_for is not None:
            self._waits_for.leave(self)
        if self._task is None:
            self._forget()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Where the next bytes go."""
        return self._server.buffer if self._stage == _BODY and self._chunked is None else self._server.head_buffer

    def buffer_updated(self, count: int) -> None:
        """Bytes came in; after a refusal they are thrown away until the client has read why."""
        if self._stage == _CLOSING:
            return
        server = self._server
        self.silent = False
        if server.draining:
            server.last_data = server.now()
        self._take(bytes(server.buffer[:count]))

    def eof_received(self) -> bool:
        """The client sends no more, but may still read what it asked for."""
        self._ended = True
        if self._stage == _BODY or (self._stage == _HEAD and self._head):
            self._refuse(Refusal(400, "the request ends in the middle; send it whole"))
        return self._stage in (_ANSWER, _UNREAD)

    def pause_writing(self) -> None:
        """The client does not read its reply: make no more of them until it does."""
        self._writable = False

    def resume_writing(self) -> None:
        """The client has read everything."""
        self._writable = True
        if self._stage == _UNREAD:
            self._forget()
            self._stage = _HEAD
            self.deadline = self._server.now() + self._server.idle_seconds
            self._go_on()

    # What httptools calls while it parses:

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        name = name.lower()
        headers = self._headers
        if name in headers:
            if name in SINGLE:
                self._repeated = name
            headers[name] += b", " + value
        else:
            headers[name] = value

    # Receiving:

    def _take(self, data: bytes) -> None:
        """Go through what came, as far as the client's turn goes; keep the rest."""
        at, end, requests = 0, len(data), 0
        try:
            while at < end:
                if self._stage == _HEAD:
                    if requests == _REQUESTS_A_TURN:
                        self._server.loop.call_soon(self._go_on)
                        break
                    requests += 1
                    at = self._take_head(data, at)
                elif self._stage == _BODY:
                    at = self._take_body(data, at)
                else:
                    break
        except Refusal as refusal:
            self._refuse(refusal)
        if self._stage == _CLOSING:
            return
        if at < end:
            self._unparsed = data[at:]
        if self._unparsed or self._stage in (_MEMORY, _UNREAD):
            self._pause()
        if self._head or self._unparsed or self._held:
            self._hold()

    def _take_head(self, data: bytes, at: int) -> int:
        before = self._head
        if not before:
            while data.startswith(b"\r\n", at):  # empty lines before a request are ignored (RFC 9112, 2.2)
                at += 2
            if at == len(data):
                return at
            self._lines = 0
            self.deadline = self._server.now() + self._server.request_seconds
        # The parser gets one head at a time, and the request that ends with it is complete when it returns.
        overlap = before[-3:]
        end = (overlap + data[at : at + 3]).find(b"\r\n\r\n") if overlap else -1
        end = at + end + 4 - len(overlap) if end >= 0 else data.find(b"\r\n\r\n", at) + 4
        whole = end > 3
        piece = data[at : end if whole else len(data)]
        self._head = head = before + piece if before else piece
        self._lines += piece.count(b"\n")
        if len(head) > MAX_HEAD_BYTES or self._lines > MAX_HEADER_LINES + 2:
            raise Refusal(
                431, f"the request's head is over {MAX_HEAD_BYTES} bytes or {MAX_HEADER_LINES} headers; send fewer"
            )
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # the head is whole, and refused for it
        except httptools.HttpParserError as error:
            raise Refusal(400, f"this is not HTTP/1.1 ({error}); send a well-formed request") from None
        if head == b"\r\n" or head == b"\r\n\r\n":
            self._head = b""  # empty lines, which came in pieces
        elif whole:
            self._begin(head, len(data) > end)
        elif self._lines:
            check_line(head)  # a client of HTTP/0.9 sends no more, and waits
        return at + len(piece)

    def _begin(self, head: bytes, more: bool) -> None:
        """The head is whole: refuse early what must not come, and ask for room for what may."""
        server, headers = self._server, self._headers
        line = check_line(head)
        self._method, target, minor_version = line.groups()
        if self._repeated:
            name = self._repeated.decode()
            raise Refusal(400, f"the header {name} comes more than once; send it once")
        check_host(headers.get(b"host"), minor_version)
        if self._method == b"CONNECT":
            raise Refusal(405, "this is no proxy; CONNECT is not possible", headers={"allow": ALLOWED})
        self._target = split_target(self._method, target)
        if self._parser.should_upgrade():
            raise Refusal(400, "upgrading the protocol is not possible; send plain HTTP/1.1")
        length = body_length(headers, minor_version)
        expects = expects_continue(headers, minor_version)
        # HTTP/1.0 would wait for a header of that time before it believed in more than one reply.
        self._keep_alive = minor_version == b"1" and self._parser.should_keep_alive()
        self._head = b""
        if length == 0:
            self._complete(b"", more)
            return
        if length is not None and length > server.max_request_bytes:
            raise self._too_big()
        self._continue = expects
        self._parser = httptools.HttpRequestParser(self)  # which would wait for the body
        if length is None:
            self._chunked, self._body = ChunkedBody(), BytesIO()
            length = min(SMALL_BODY_BYTES, server.max_request_bytes)
        self._length = self._left = length
        self._claim(length)

    def _claim(self, length: int) -> None:
        """Have a body of this length counted, or wait until it can be."""
        memory = self._server.memory
        pool, size_bytes = memory.claim(length, self._headers.get(b"content-type", b""))
        if pool.take(size_bytes):
            self.granted(pool, size_bytes)
            return
        if len(pool.waiting) >= MAX_WAITING:
            raise memory.refusal(f"the memory for requests is full and {MAX_WAITING} requests wait for it")
        self._stage = _MEMORY
        self._waits_for = pool
        pool.waiting.append((size_bytes, self))
        self.deadline = self._server.now() + _WAIT_SECONDS

    def granted(self, pool: Pool, size_bytes: int) -> None:
        """There is memory for the body: let it come."""
        waited = self._stage == _MEMORY
        if self._claimed:  # of a chunked body that turned out to be big, which was counted as a small one
            self._pool.give(self._claimed)
        self._pool, self._claimed = pool, size_bytes
        self._stage = _BODY
        self._waits_for = None
        if waited:
            now = self._server.now()
            self.deadline = now + self._server.request_seconds
            self._server.loop.call_soon(self._go_on)
        if self._continue and self._transport is not None:
            self._continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take_body(self, data: bytes, at: int) -> int:
        if self._chunked is not None:
            return self._take_chunks(data, at)
        end = at + self._left
        if end <= len(data) and self._body is None:
            self._complete(data[at:end], end < len(data))
            return end
        if self._body is None:
            self._body = BytesIO()
            self._granted_at = self._server.now()
        self._left -= self._body.write(data[at:end])
        if self._left:
            return len(data)
        self._complete(self._body.getvalue(), end < len(data))
        return end

    def _take_chunks(self, data: bytes, at: int) -> int:
        assert self._chunked is not None and self._body is not None  # noqa: S101, PT018 - they go together
        at = self._chunked.feed(data, at, self._body)
        received = self._body.tell()
        if received > self._server.max_request_bytes:
            raise self._too_big()
        if self._chunked.done:
            self._complete(self._body.getvalue(), at < len(data))
        elif received > self._length:
            # How long it gets is not known: it is counted as the longest there may be.
            self._length = self._server.max_request_bytes
            self._granted_at = self._server.now()
            self._claim(self._length)
        return at

    def _complete(self, body: bytes, more: bool) -> None:
        """The request is whole: answer it."""
        path, query = self._target
        request = Request(self._method, path, query, self._headers, body)
        self._headers = {}
        self._body = self._chunked = None
        answer = self._server.contract.answer(request)
        if isinstance(answer, Reply):
            self._reply(answer, more)
        else:
            self._stage = _ANSWER
            self.deadline = None
            self._task = self._server.loop.create_task(self._finish(answer, request))

    # Answering:

    async def _finish(self, answer: Answer, request: Request) -> None:
        try:
            reply = answer if isinstance(answer, Reply) else await answer
        except Exception:
            reply = failed(request)
        self._task = None
        self._reply(reply, bool(self._unparsed))
        if self._stage == _HEAD:
            self._go_on()

    def _reply(self, reply: Reply, more: bool) -> None:
        transport, server = self._transport, self._server
        if transport is None:
            self._forget()
            return
        # What was asked on this connection before it ends is answered; the last reply says that it ends.
        keep = self._keep_alive and (more or not (server.draining or self._ended))
        transport.write(_encoded(reply, self._method, server.date, b"" if keep else b"connection: close\r\n"))
        now = server.now()
        if self._writable:
            self._forget()
            self._stage = _HEAD
            self.deadline = now + server.idle_seconds
        else:
            self._count(transport.get_write_buffer_size())
            self._stage = _UNREAD
            self.deadline = now + server.reply_seconds
        if not keep:
            self._stage = _CLOSING
            self._unparsed = b""
            transport.close()

    def _count(self, size_bytes: int) -> None:
        """Count so many bytes for the request from now on."""
        if size_bytes < self._claimed:
            freed, self._claimed = self._claimed - size_bytes, size_bytes
            self._pool.give(freed)
        else:
            self._pool.add(size_bytes - self._claimed)
            self._claimed = size_bytes

    def _forget(self) -> None:
        if self._claimed:
            self._count(0)

    def _hold(self) -> None:
        """Count what is kept of requests that have not begun."""
        held = len(self._head) + len(self._unparsed)
        pool = self._server.memory.small
        if held > self._held:
            pool.add(held - self._held)
        elif held < self._held:
            pool.give(self._held - held)
        self._held = held

    def _go_on(self) -> None:
        """Read the next request, or the rest of this one."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._stage not in (_HEAD, _BODY):
            return
        if self._unparsed:
            data, self._unparsed = self._unparsed, b""
            self._take(data)
        if (
            self._paused
            and not self._unparsed
            and self._stage in (_HEAD, _BODY, _ANSWER)
            and not transport.is_closing()
        ):
            self._paused = False
            transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    # Refusing and closing:

    def _too_big(self) -> Refusal:
        limit = self._server.max_request_bytes
        return Refusal(
            413, f"the body is over {limit} bytes; send smaller batches, or raise SAGEMAKER_MAX_REQUEST_SIZE"
        )

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, and hear no more of this client.

        It may finish sending what is thrown away: a connection closed before could lose it the reply.
        """
        transport = self._transport
        if self._stage == _CLOSING or transport is None:
            return
        waited_for, self._waits_for = self._waits_for, None
        self._stage = _CLOSING
        reply = refused(refusal, Request(b"", b"", b"", self._headers, b""))
        method, self._method = self._method, b""
        self._head = self._unparsed = b""
        self._headers = {}
        self._body = self._chunked = None
        self._forget()
        self._hold()
        if waited_for is not None:
            waited_for.leave(self)
        transport.write(_encoded(reply, method, self._server.date, b"connection: close\r\n"))
        self.deadline = self._server.now() + _LINGER_SECONDS
        if self._ended:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def late(self, now: float) -> bool:
        """Whether the deadline has passed, or the client sends too slowly what others wait for."""
        if self.deadline is not None and self.deadline < now:
            return True
        if self._stage != _BODY or self._body is None or not self._pool.waiting:
            return False
        seconds = now - self._granted_at
        return seconds > _PACE_AFTER_SECONDS and self._body.tell() < seconds * _PACE_BYTES_A_SECOND

    def expire(self) -> None:
        """Close: a client that has sent half a request, or waits for memory, is told why."""
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing() or self._stage in (_CLOSING, _UNREAD):
            transport.abort()
        elif self._stage == _MEMORY:
            self._refuse(self._server.memory.refusal("the memory for requests was full for too long"))
        elif self._stage == _BODY or self._head:
            self._refuse(Refusal(408, "the request did not arrive in time; send it whole"))
        else:
            transport.close()
            self._stage = _CLOSING
            self.deadline = self._server.now() + _LINGER_SECONDS


def _encoded(reply: Reply, method: bytes, date: bytes, closing: bytes) -> bytes:
    body = reply.body if method != b"HEAD" else b""
    return b"%scontent-type: %s\r\ncontent-length: %d\r\n%s%s%s\r\n%s" % (
        _STATUS_LINES[reply.status], reply.content_type.encode(), len(reply.body), date, reply.headers, closing, body
    )  # fmt: skip

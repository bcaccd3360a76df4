"""HTTP/1.1 on one connection: bytes in, requests to the contract in order, replies out."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools

from .contract import Answer, Reply, Request, failed, is_invocation, refused
from .refusal import Refusal

if TYPE_CHECKING:
    from .server import Server

_MAX_HEAD_BYTES = 32 * 1024
_MAX_WAITING = 64
_LINGER_SECONDS = 2.0
_PROBE_SECONDS = 0.5
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client's connection.

    `deadline` is when the server may close it: for want of a whole request, or of any, or of a client that reads.
    It is None while a request is being answered. What cannot be parsed is refused in its turn, and is the last.
    """

    __slots__ = (
        "_body", "_body_bytes", "_deaf", "_droppable", "_ended", "_head_bytes", "_headers", "_parser", "_server",
        "_task", "_transport", "_url", "_waiting", "_writable", "deadline", "silent",
    )  # fmt: skip

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Request | Reply, bool]] = []  # requests, and last a refusal
        self._droppable = False  # nobody needs the answer in the making once the client has gone
        self._deaf = False  # nothing more of this client is heard
        self._ended = False  # the client sends no more
        self._writable = True
        self.deadline: float | None = None
        self.silent = True  # nothing has come yet
        self._begin()

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered, or its reply waits for the client to read it."""
        if self._task is not None or self._waiting or (self._head_bytes > 0 and not self._deaf):
            return True
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)
        self.deadline = self._server.now() + self._server.idle_seconds
        if self._server.draining:
            self._server.last_data = self._server.now()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The client is gone: an invocation ends, any other answer in the making is finished and thrown away."""
        self._transport = None
        if self._task is not None and self._droppable:
            self._task.cancel()
        self._waiting.clear()
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came in; after a refusal they are thrown away until the client has read why."""
        if self._deaf:
            return
        self.silent = False
        if self._server.draining:
            self._server.last_data = self._server.now()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # refused when the request was whole
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(400, f"this is not HTTP/1.1 ({error}); send a well-formed request")

    def eof_received(self) -> bool:
        """The client sends no more, but may still read what it asked for."""
        self._ended = True
        if self._head_bytes > 0:
            self._refuse(400, "the request ends in the middle; send it whole")
        self._probe()
        return self._task is not None or bool(self._waiting)

    def _probe(self) -> None:
        """Find out whether a client that has closed its side is there, while an invocation is made for it.

        One that has gone resets the connection when it is sent something. This interim answer is no news to others.
        """
        if self._transport is not None and self._task is not None and self._droppable:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._server.loop.call_later(_PROBE_SECONDS, self._probe)

    def pause_writing(self) -> None:
        """The client does not read its replies: make no more of them until it does."""
        self._writable = False
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable = True
        self._next()

    # What httptools calls while it parses:

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._deaf:
            self._head_bytes = 1
            self.deadline = self._server.now() + self._server.request_seconds

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers[name.lower()] = value
        self._grow_head(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """The head is whole: say early that the body is too big, or that it may come."""
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._server.max_request_bytes:
            self._refuse_size()
        elif self._transport is not None and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._server.max_request_bytes:
            self._refuse_size()
        if not self._deaf:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, after those before it."""
        if self._deaf:
            return
        if self._parser.should_upgrade():
            self._refuse(400, "upgrading the protocol is not possible; send plain HTTP/1.1")
            return
        path, _, query = self._url.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method(), path, query, self._headers, body)
        keep_alive = self._parser.should_keep_alive()
        if b"connection" in self._headers and self._parser.get_http_version() == "1.0":
            keep_alive = False  # such a client would wait for a header of that time before it believed in more
        if len(self._waiting) >= _MAX_WAITING:
            self._refuse(400, f"more than {_MAX_WAITING} requests wait on this connection; read the replies")
            return
        self._begin()
        if self._task is None and not self._waiting and self._writable:
            self._start(request, keep_alive)
        else:
            self._wait(request, keep_alive)

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0

    def _wait(self, asked: Request | Reply, keep_alive: bool) -> None:
        self._waiting.append((asked, keep_alive))
        self.deadline = None if self._task is not None else self._server.now() + self._server.idle_seconds
        if self._transport is not None and not self._ended:
            self._transport.pause_reading()

    def _start(self, request: Request, keep_alive: bool) -> None:
        answer: Answer = self._server.contract.answer(request)
        if isinstance(answer, Reply):
            self._reply(answer, request.method, keep_alive)
            return
        self.deadline = None
        self._droppable = is_invocation(request)
        self._task = self._server.loop.create_task(self._finish(answer, request, keep_alive))

    async def _finish(self, answer: Answer, request: Request, keep_alive: bool) -> None:
        try:
            reply = answer if isinstance(answer, Reply) else await answer
        except Exception:
            reply = failed(request)
        self._task = None
        self._reply(reply, request.method, keep_alive)
        self._next()

    def _next(self) -> None:
        while self._waiting and self._task is None and self._writable:
            asked, keep_alive = self._waiting.pop(0)
            if isinstance(asked, Reply):
                self._hang_up(asked)
            else:
                self._start(asked, keep_alive)
        at_rest = self._task is None and not self._waiting and not self._deaf
        if at_rest and self._writable and self._transport is not None:
            self._transport.resume_reading()

    def _reply(self, reply: Reply, method: bytes, keep_alive: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        # What was asked on this connection before it ends is answered; the last reply says that it ends.
        keep = keep_alive and (bool(self._waiting) or not (self._server.draining or self._ended))
        transport.write(_encoded(reply, method, b"" if keep else b"connection: close\r\n"))
        if self._head_bytes == 0:
            self.deadline = self._server.now() + self._server.idle_seconds
        if not keep:
            self._deaf = True
            self._waiting.clear()
            self._begin()
            transport.close()

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(431, f"the request's head is over {_MAX_HEAD_BYTES} bytes; send fewer headers")

    def _refuse_size(self) -> None:
        limit = self._server.max_request_bytes
        self._refuse(413, f"the body is over {limit} bytes; send smaller batches, or raise SAGEMAKER_MAX_REQUEST_SIZE")

    def _refuse(self, status: int, message: str) -> None:
        """Hear no more of this client, and say why when what it asked for before is answered."""
        if self._deaf or self._transport is None:
            return
        self._deaf = True
        reply = refused(Refusal(status, message), Request(b"", b"", b"", self._headers, b""))
        self._begin()
        if self._task is None and not self._waiting:
            self._hang_up(reply)
        else:
            self._wait(reply, False)

    def _hang_up(self, reply: Reply) -> None:
        # The client may finish sending what nobody hears: a connection closed before could lose it the reply.
        transport = self._transport
        if transport is None:
            return
        transport.write(_encoded(reply, b"", b"connection: close\r\n"))
        self.deadline = self._server.now() + _LINGER_SECONDS
        if self._ended:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()

    def expire(self) -> None:
        """The deadline has passed: tell a client that sent half a request, then close."""
        if self._transport is None:
            return
        if self._transport.is_closing() or (self._deaf and not self._waiting):
            self._transport.abort()
        elif self._head_bytes > 0 and not self._deaf:
            self._refuse(408, "the request did not arrive in time; send it whole")
        else:
            self._transport.close()
            self.deadline = self._server.now() + _LINGER_SECONDS


def _encoded(reply: Reply, method: bytes, closing: bytes) -> bytes:
    body = reply.body if method != b"HEAD" else b""
    return b"%scontent-type: %s\r\ncontent-length: %d\r\n%s\r\n%s" % (
        _STATUS_LINES[reply.status], reply.content_type.encode(), len(reply.body), closing, body
    )  # fmt: skip

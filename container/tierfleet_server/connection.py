"""HTTP/1.1 on one connection: bytes in, requests to the contract in order, replies out."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools

from .contract import Answer, Reply, Request, failed, refused
from .refusal import Refusal

if TYPE_CHECKING:
    from .server import Server

_MAX_HEAD_BYTES = 32 * 1024
_MAX_WAITING = 64
_LINGER_SECONDS = 2.0
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client's connection.

    `deadline` is when the server may close it: for want of a whole request, or of any. It is None while a
    request is being answered.
    """

    __slots__ = (
        "_body", "_body_bytes", "_head_bytes", "_headers", "_parser", "_refused", "_server", "_task",
        "_transport", "_url", "_waiting", "_writable", "deadline", "silent",
    )  # fmt: skip

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Request, bool]] = []
        self._refused = False
        self._writable = True
        self.deadline: float | None = None
        self.silent = True  # nothing has come yet
        self._begin()

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered."""
        return self._task is not None or bool(self._waiting) or self._head_bytes > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)
        self.deadline = self._server.now() + self._server.idle_seconds
        if self._server.draining:
            self._server.last_data = self._server.now()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The client is gone; an answer in the making is finished and thrown away."""
        self._transport = None
        self._waiting.clear()
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came in; after a refusal they are thrown away until the client has read why."""
        if self._refused:
            return
        self.silent = False
        if self._server.draining:
            self._server.last_data = self._server.now()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # refused when the request was whole
        except httptools.HttpParserError as error:
            if not self._refused:
                self._refuse(400, f"this is not HTTP/1.1 ({error}); send a well-formed request")

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
        if not self._refused:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, after those before it."""
        if self._refused:
            return
        if self._parser.should_upgrade():
            self._refuse(400, "upgrading the protocol is not possible; send plain HTTP/1.1")
            return
        path, _, query = self._url.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method(), path, query, self._headers, body)
        keep_alive = self._parser.should_keep_alive()
        self._begin()
        if self._task is None and not self._waiting and self._writable:
            self._start(request, keep_alive)
            return
        self._waiting.append((request, keep_alive))
        if self._transport is not None:
            self._transport.pause_reading()
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.clear()
            self._refuse(400, f"more than {_MAX_WAITING} requests wait on this connection; read the replies")

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0

    def _start(self, request: Request, keep_alive: bool) -> None:
        answer: Answer = self._server.contract.answer(request)
        if isinstance(answer, Reply):
            self._reply(answer, keep_alive)
            return
        self.deadline = None
        self._task = self._server.loop.create_task(self._finish(answer, request, keep_alive))

    async def _finish(self, answer: Answer, request: Request, keep_alive: bool) -> None:
        try:
            reply = answer if isinstance(answer, Reply) else await answer
        except Exception:
            reply = failed(request)
        self._task = None
        self._reply(reply, keep_alive)
        self._next()

    def _next(self) -> None:
        while self._waiting and self._task is None and self._writable and not self._refused:
            self._start(*self._waiting.pop(0))
        if self._transport is not None and self._writable and self._task is None and not self._waiting:
            self._transport.resume_reading()

    def _reply(self, reply: Reply, keep_alive: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        closing = b"" if keep_alive and not self._server.draining else b"connection: close\r\n"
        transport.write(
            b"%scontent-type: %s\r\ncontent-length: %d\r\n%s\r\n%s"
            % (_STATUS_LINES[reply.status], reply.content_type.encode(), len(reply.body), closing, reply.body)
        )
        if closing:
            self._refused = True
            self._waiting.clear()
            transport.close()
        else:
            self.deadline = self._server.now() + self._server.idle_seconds

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(431, f"the request's head is over {_MAX_HEAD_BYTES} bytes; send fewer headers")

    def _refuse_size(self) -> None:
        limit = self._server.max_request_bytes
        self._refuse(413, f"the body is over {limit} bytes; send smaller batches, or raise SAGEMAKER_MAX_REQUEST_SIZE")

    def _refuse(self, status: int, message: str) -> None:
        """Answer at once and hear no more of this client, but let it finish sending so that it reads why."""
        if self._refused or self._transport is None:
            return
        self._refused = True
        reply = refused(Refusal(status, message), Request(b"", b"", b"", self._headers, b""))
        self._begin()
        self._transport.write(
            b"%scontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (_STATUS_LINES[status], len(reply.body), reply.body)
        )
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self.deadline = self._server.now() + _LINGER_SECONDS

    def expire(self) -> None:
        """The deadline has passed: tell a client that sent half a request, then close."""
        if self._head_bytes > 0 and not self._refused:
            self._refuse(408, "the request did not arrive in time; send it whole")
        elif self._transport is not None:
            self._transport.abort() if self._refused else self._transport.close()
            self.deadline = None

"""HTTP to one container over kept connections."""

import asyncio
from typing import NamedTuple, cast

import httptools

_CONNECT_SECONDS = 5.0


class ContainerGoneError(ConnectionError):
    """The container closed or refused the connection before it had answered."""


class ContainerReply(NamedTuple):
    """Header names are lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class ContainerClient:
    """One container's port on loopback; as many connections as there are requests at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []
        self._closed = False

    async def ask(
        self,
        method: bytes,
        path: bytes,
        *,
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
        timeout_seconds: float,
    ) -> ContainerReply:
        """The reply; raises ContainerGoneError, or TimeoutError."""
        # The newest: the container is least likely to have closed it.
        connection = self._idle.pop() if self._idle else await self._connect()
        head = [b"%s %s HTTP/1.1\r\ncontent-length: %d\r\n" % (method, path, len(body))]
        head += [b"%s: %s\r\n" % header for header in headers or ()]
        if not any(name == b"host" for name, _ in headers or ()):
            head.append(b"host: 127.0.0.1\r\n")
        reply = await connection.exchange(b"".join(head) + b"\r\n" + body, timeout_seconds)
        if connection.reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close idle connections; the others are closed as they end."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await loop.create_connection(lambda: _Connection(self._idle), "127.0.0.1", self._port)
        except (OSError, TimeoutError) as error:
            raise ContainerGoneError(f"the container does not accept a connection: {error}") from None
        return connection


class _Connection(asyncio.Protocol):
    __slots__ = ("_body", "_headers", "_idle", "_parser", "_reply", "_timer", "_transport", "reusable")

    def __init__(self, idle: "list[_Connection]") -> None:
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[ContainerReply] | None = None
        self.reusable = True

    async def exchange(self, request: bytes, timeout_seconds: float) -> ContainerReply:
        loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._reply = loop.create_future()
        if self._transport is None or self._transport.is_closing():
            raise ContainerGoneError("the container closed the connection")
        timer = loop.call_later(timeout_seconds, self._fail, TimeoutError())
        try:
            self._transport.write(request)
            return await self._reply
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            timer.cancel()
            self._reply = None

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            # close() would first wait until the container has read what is still to be sent.
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.reusable = False
        if self in self._idle:
            self._idle.remove(self)
        self._fail(ContainerGoneError(f"the container closed the connection{f': {exc}' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            self.close()  # an answer to no request
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ContainerGoneError(f"the container does not speak HTTP: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.reusable = self.reusable and self._parser.should_keep_alive()
        status = self._parser.get_status_code()
        # Below 200 is an interim reply, such as 100 Continue; the real one follows.
        if status < 200 or self._reply is None or self._reply.done():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._reply.set_result(ContainerReply(status, self._headers, body))

"""The public port: invocations are answered here, everything else goes to ministack, byte for byte.

A client of AWS's never sends a request before it has the whole answer to the last, so a connection is either
in the middle of an invocation or in the middle of something else.
"""

import asyncio
import contextlib
import re
import traceback
from http import HTTPStatus
from urllib.parse import unquote

import httptools

from local_cloud.data_plane.answers import Answer, Headers
from local_cloud.data_plane.asynchronous.queues import Queues
from local_cloud.data_plane.callers import Callers
from local_cloud.data_plane.invocations import Invocations
from local_cloud.data_plane.relay import MinistackConnection, RelayEnd

_INVOCATION = re.compile(rb"POST /endpoints/([^/? ]+)/(async-)?invocations HTTP/1\.[01]\r\n")
_LONGEST_REQUEST_LINE_BYTES = 64 * 1024
_LARGEST_HEAD_BYTES = 1024 * 1024
_LARGEST_BODY_BYTES = 32 * 1024 * 1024
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
# 530 is the status of InternalDependencyException, and in no standard.
_STATUS_LINES |= {424: b"HTTP/1.1 424 Failed Dependency\r\n", 530: b"HTTP/1.1 530 Dependency Failed\r\n"}


class Front:
    """What every connection shares."""

    def __init__(self, invocations: Invocations, queues: Queues, callers: Callers, ministack_port: int) -> None:
        self.invocations, self.queues, self.callers = invocations, queues, callers
        self.ministack_port = ministack_port

    async def answer(self, endpoint_name: str, path: bytes, headers: Headers, body: bytes) -> Answer:
        caller = await self.callers.identify(path, headers, body)
        if isinstance(caller, Answer):
            return caller
        if path.endswith(b"/async-invocations"):
            return await self.queues.answer(caller, endpoint_name, headers, body)
        return await self.invocations.answer(caller, endpoint_name, headers, body)


class ClientConnection(RelayEnd):
    """One client's connection."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._line = b""  # what came of a request before its first line was whole
        self._endpoint: bytes | None = None  # of the invocation that is being received or answered
        self._queued = b""  # "async-" where the invocation goes into a queue
        self._receiving = False
        self._headers: Headers = {}
        self._in_head, self._head_bytes = False, 0
        self._tunnel = False
        self._task: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        self._transport = None
        if self._other is not None:
            self._other.close()

    def data_received(self, data: bytes) -> None:
        if self._tunnel:
            self._pass_on(data)
            return
        if not self._receiving:
            data, self._line = self._line + data, b""
            if b"\r\n" not in data and len(data) < _LONGEST_REQUEST_LINE_BYTES:
                self._line = data
                return
            match = _INVOCATION.match(data)
            self._endpoint, self._receiving = match[1] if match else None, True
            self._queued = (match[2] or b"") if match else b""
            self._headers, self._in_head, self._head_bytes = {}, True, 0
        invocation = self._endpoint is not None
        if not invocation:
            self._pass_on(data)
        if invocation and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD_BYTES:
                self._refuse(431)
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._tunnel = not invocation
        except httptools.HttpParserError:
            self._tunnel = True  # ministack says what is wrong with it
            if invocation:
                self._refuse(400)

    # What httptools calls while it parses:

    def on_message_begin(self) -> None:
        self._headers = {}
        self._body: list[bytes] = []
        self._size = 0
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._endpoint is not None:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._endpoint is not None and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._endpoint is None:
            return
        self._size += len(body)
        if self._size <= _LARGEST_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        if self._endpoint is None:
            return
        if self._task is not None:
            self.close()  # a second request before the first was answered
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        keep_alive = self._parser.should_keep_alive()
        self._task = asyncio.get_running_loop().create_task(
            self._answer(self._endpoint, self._headers, body, keep_alive)
        )

    async def _answer(self, endpoint: bytes, headers: Headers, body: bytes, keep_alive: bool) -> None:
        path = b"/endpoints/%s/%sinvocations" % (endpoint, self._queued)
        try:
            answer = await self._front.answer(unquote(endpoint.decode("latin-1")), path, headers, body)
        except Exception:
            # An error of one request must not affect its connection or other requests.
            with contextlib.suppress(OSError):
                traceback.print_exc()
            answer = Answer(
                500, [(b"x-amzn-errortype", b"InternalFailure")], b'{"Message": "The local emulator failed."}'
            )
        except BaseException:
            self.close()
            raise
        finally:
            self._task = None
        head = [_STATUS_LINES[answer.status], b"content-length: %d\r\n" % len(answer.body)]
        head += [b"%s: %s\r\n" % field for field in answer.headers]
        self.write(b"".join(head) + (b"\r\n" if keep_alive else b"connection: close\r\n\r\n") + answer.body)
        if not keep_alive:
            self.close()

    def _refuse(self, status: int) -> None:
        """Answer an invalid request, and close: what follows it cannot be read either."""
        self._tunnel = True
        self.write(_STATUS_LINES[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.close()

    def _pass_on(self, data: bytes) -> None:
        if self._other is None:
            self._other = MinistackConnection(self, self._front.ministack_port, self._ministack_closed)
        self._other.write(data)

    def _ministack_closed(self) -> None:
        """Close as ministack does, unless an invocation is in progress."""
        self._other = None
        if self._endpoint is None:
            self.close()

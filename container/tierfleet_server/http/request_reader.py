"""From bytes to whole requests: the head through llhttp and `request_head`, the body by its framing."""

from io import BytesIO

import httptools

from ..contract import ALLOWED, Request
from ..model.refusal import Refusal
from ..request_memory import SMALL_BODY_BYTES
from .chunked import ChunkedBody
from .request_head import (
    MAX_HEAD_BYTES,
    MAX_HEADER_LINES,
    body_length,
    check_host,
    check_line,
    combined,
    expects_continue,
    split_target,
)

HEAD, BODY, WHOLE = range(3)
_CR = 13


class RequestReader:
    """Reads one request after the other. It keeps no byte after the current request.

    `stage` is `HEAD` or `BODY` while it waits for one of them, or `WHOLE` when `take` returns the request. A body has
    at most `most` bytes (a guess that grows for chunked bodies); `expects` is known before it. Every Refusal that it
    raises ends the connection.
    """

    __slots__ = (
        "_body", "_chunked", "_head", "_host", "_lines", "_max_bytes", "_parser", "_target",
        "expects", "headers", "keep_alive", "knows_interim", "left", "method", "most", "stage",
    )  # fmt: skip

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._head = b""  # the part that has arrived
        self._lines = 0
        self._host: bytes | None = None  # the last valid one
        self._target = (b"", b"")
        self.left = 0  # bytes of the body that are missing
        self._body: BytesIO | bytes | None = None
        self._chunked: ChunkedBody | None = None
        self.stage = HEAD
        self.method = b""
        self.headers: dict[bytes, bytes] = {}
        self.keep_alive = self.knows_interim = self.expects = False
        self.most = 0

    @property
    def begun(self) -> bool:
        """Whether a part of a request has arrived."""
        return self.stage != HEAD or self._head != b""

    @property
    def held_bytes(self) -> int:
        """Bytes of an incomplete head."""
        return len(self._head)

    @property
    def path(self) -> bytes:
        """The path of the request whose head has arrived."""
        return self._target[0]

    @property
    def received(self) -> int:
        """Received bytes of the body."""
        return self._body.tell() if isinstance(self._body, BytesIO) else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; httptools calls it."""
        self.headers[name.lower()] = value

    def take(self) -> Request:
        """The whole request; the reader is ready for the next one."""
        body = self._body or b""
        if not isinstance(body, bytes):
            body = body.getvalue()
        path, query = self._target
        request = Request(self.method, path, query, self.headers, body)
        self.headers = {}
        self._body = self._chunked = None
        self.stage = HEAD
        self.most = 0
        return request

    def drop(self) -> dict[bytes, bytes]:
        """Drop what has arrived; returns its headers."""
        headers, self.headers = self.headers, {}
        self._head = b""
        self._body = self._chunked = None
        self.most = self.left = 0
        return headers

    def feed(self, data: bytes, at: int) -> int:
        """Read data[at:] to the end of the head, of the body, or of the data; returns that place.

        A body that has already arrived is read with its head.
        """
        if self.stage != HEAD:
            return self._feed_body(data, at)
        if self._head:
            return self._feed_more_head(data, at)
        if data[at] == _CR:  # empty lines before a request are ignored (RFC 9112, 2.2)
            while data.startswith(b"\r\n", at):
                at += 2
        self._lines = 0
        self.method = b""
        end = data.find(b"\r\n\r\n", at) + 4
        if end < 4:
            if at < len(data):
                self._feed_piece(data[at:])
                self._check_first_line()
            return len(data)
        self._feed_piece(data[at:end] if at or end < len(data) else data)
        length = self._begin()
        if length is None or length > len(data) - end:
            return end
        self._body = data[end : end + length]
        self.stage = WHOLE
        self.left = 0
        return end + length

    def _feed_more_head(self, data: bytes, at: int) -> int:
        head_end = data.find(b"\r\n\r\n", at)
        end = head_end + 4 if head_end >= 0 else len(data)
        before = self._head[-3:]
        head_end = (before + data[at : at + 3]).find(b"\r\n\r\n")
        if head_end >= 0:  # it began in what came before
            end = at + head_end + 4 - len(before)
        self._feed_piece(data[at:end])
        if self._head.endswith(b"\r\n\r\n") and self._head != b"\r\n\r\n":
            self._begin()
        if self._head in (b"\r\n", b"\r\n\r\n"):
            self._head = b""  # empty lines, which came in pieces
        elif self._head:
            self._check_first_line()
        return end

    def _check_first_line(self) -> None:
        """Check the first line of an incomplete head, because an HTTP/0.9 client sends no more and waits."""
        if self._lines and b"\n" in self._head.lstrip(b"\r\n"):
            check_line(self._head)

    def _feed_piece(self, piece: bytes) -> None:
        """Parse a piece of a head. The parser never gets the bytes after the head."""
        self._head = head = self._head + piece if self._head else piece
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

    def _begin(self) -> int | None:
        """Check the complete head; returns the body's length, None if it is chunked."""
        headers, parser = self.headers, self._parser
        self.method, target, minor_version = check_line(self._head).groups()
        if len(headers) != self._lines - 2:
            headers = self.headers = combined(self._head)
        self._head = b""
        host = headers.get(b"host")
        if host is None or host != self._host:
            check_host(host, minor_version)
            self._host = host
        if self.method == b"CONNECT":
            raise Refusal(405, "this is no proxy; CONNECT is not possible", headers={"allow": ALLOWED})
        self._target = split_target(self.method, target)
        if parser.should_upgrade():
            raise Refusal(400, "upgrading the protocol is not possible; send plain HTTP/1.1")
        if b"transfer-encoding" in headers or b"content-encoding" in headers:
            length = body_length(headers, minor_version)
        else:
            length = int(headers.get(b"content-length", 0))
        self.expects = b"expect" in headers and expects_continue(headers, minor_version)
        # HTTP/1.0 clients need a header of that time to expect more than one reply.
        self.knows_interim = minor_version == b"1"
        self.keep_alive = self.knows_interim and parser.should_keep_alive()
        if length == 0:
            self.stage = WHOLE
            return 0
        if length is None:
            self._chunked, self._body = ChunkedBody(), BytesIO()
            self.most = min(SMALL_BODY_BYTES, self._max_bytes)
        elif length > self._max_bytes:
            raise self._too_big()
        else:
            self.left = self.most = length
        self.stage = BODY
        self._parser = httptools.HttpRequestParser(self)  # the old parser would wait for the body
        return length

    def _feed_body(self, data: bytes, at: int) -> int:
        body = self._body
        if self._chunked is not None:
            assert isinstance(body, BytesIO)  # noqa: S101 - they go together
            at = self._chunked.feed(data, at, body)
            if body.tell() > self.most:
                if body.tell() > self._max_bytes:
                    raise self._too_big()
                self.most = self._max_bytes
            if self._chunked.done:
                self.stage = WHOLE
            return at
        end = at + self.left
        if body is None:
            body = self._body = BytesIO()
        assert isinstance(body, BytesIO)  # noqa: S101 - bytes are whole
        self.left -= body.write(data[at:end])
        if self.left == 0:
            self.stage = WHOLE
        return min(end, len(data))

    def _too_big(self) -> Refusal:
        return Refusal(
            413,
            f"the body is over {self._max_bytes} bytes; send smaller batches, or raise SAGEMAKER_MAX_REQUEST_SIZE",
        )

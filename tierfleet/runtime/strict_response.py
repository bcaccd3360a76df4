"""Reads HTTP/1.1 replies strictly. http.client accepts a truncated head, and its timeout restarts with every byte."""

import io
import re
import socket
import zlib
from email.errors import MissingHeaderBodySeparatorDefect
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Any, Final, cast

from tierfleet.runtime.exchange import Exchange
from tierfleet.runtime.time_limit import seconds_allowed

# SageMaker's limit is 25 MB. An endless reply must not fill the caller's memory before the deadline.
LARGEST_REPLY_BYTES: Final = 32 * 1024 * 1024
# A server may send 100 Continue first. An endless row of such replies must not become an endless call.
MOST_INTERIM_REPLIES: Final = 16

_LONGEST_LINE_BYTES: Final = 65_536
# Enough for any head and the first scores.
_DIGESTED_BYTES: Final = 8_192
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class ReplyError(HTTPException):
    """The bytes are not a complete reply to the request."""


class _SocketReader(io.RawIOBase):
    """Reads a socket within the thread's time limit. ended: whether the peer has closed."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._socket = sock
        self._raw = cast("Any", raw)
        self._idle_seconds = sock.gettimeout()
        self._bytes_read = 0
        self._crc = 0
        self._drained = False
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._drained:
            return self._what_is_here(buffer)
        self._socket.settimeout(seconds_allowed(self._idle_seconds))
        count: int = self._raw.readinto(buffer)
        self.ended = count == 0
        if self._bytes_read < _DIGESTED_BYTES:
            self._crc = zlib.crc32(memoryview(buffer)[:count], self._crc)
        self._bytes_read += count
        if self._bytes_read > LARGEST_REPLY_BYTES:
            raise ReplyError(f"the reply has more than {LARGEST_REPLY_BYTES} bytes")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()

    @property
    def digest(self) -> tuple[int, int]:
        """CRC of the first 8 KiB, and the number of bytes read."""
        return self._crc, self._bytes_read

    def has_more(self, buffered: io.BufferedReader) -> bool:
        """Whether more bytes have already arrived. Nothing can be read after this call."""
        self._drained = True
        return bool(buffered.peek(1))

    def _what_is_here(self, buffer: Any) -> int | None:
        try:
            self._socket.settimeout(0)
            return self._socket.recv_into(buffer)
        except OSError:
            # No bytes yet. If the connection has failed, its next request reports it.
            return None


class StrictResponse(HTTPResponse):
    """A reply that raises HTTPException if a proxy or a broken connection damaged it.

    It refuses a truncated head, a body without a length (unless it is an error's), two lengths or an invalid one, bytes
    after the end, more than LARGEST_REPLY_BYTES, and a copy of the last reply. It skips a few interim replies.
    """

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        exchange: Exchange,
    ) -> None:
        super().__init__(sock, debuglevel=debuglevel, method=method, url=url)
        self._exchange = exchange
        self._reader = _SocketReader(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._reader)
        self._trailer_read = False

    def begin(self, **options: Any) -> None:
        if self.headers is not None:
            return
        # Newer Pythons pass the maximum number of headers.
        super().begin(**options)
        if self._reader.ended:
            raise ReplyError("the head of the reply is truncated")
        headers = cast("HTTPMessage", self.headers)
        self._check_framing(headers)
        if self._exchange.repeats_number(headers):
            raise ReplyError("the reply answers the previous request")

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM_REPLIES):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            if status == 101:
                raise ReplyError("the server switched to another protocol")
            for _ in range(MOST_INTERIM_REPLIES):
                if self.fp.readline(_LONGEST_LINE_BYTES) in {b"\r\n", b"\n", b""}:
                    break
        raise ReplyError(f"more than {MOST_INTERIM_REPLIES} interim replies")

    def _check_framing(self, headers: HTTPMessage) -> None:
        # After a line that is not a header, the parser treats the rest of the head as the body.
        unparsed = headers.get_payload()
        if (isinstance(unparsed, str) and unparsed) or any(
            isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in headers.defects
        ):
            raise ReplyError("the head of the reply is malformed")
        lengths = headers.get_all("content-length", [])
        encodings = headers.get_all("transfer-encoding", [])
        if encodings and (len(encodings) > 1 or not self.chunked or lengths):
            raise ReplyError(f"the reply's Transfer-Encoding is {encodings[0][:40]!r}, with {len(lengths)} lengths")
        if len(lengths) > 1 or any(not _LENGTH.fullmatch(length.strip()) for length in lengths):
            raise ReplyError(f"the reply's Content-Length is {', '.join(lengths)[:40]!r}")
        if lengths and int(lengths[0]) > LARGEST_REPLY_BYTES:
            raise ReplyError(f"the reply has {lengths[0]} bytes, allowed: {LARGEST_REPLY_BYTES}")
        if self.length is None and not self.chunked and self.status < 300:
            raise ReplyError("the reply has neither a Content-Length nor chunks")

    def _safe_read(self, amt: int) -> bytes:
        if not 0 <= amt <= LARGEST_REPLY_BYTES:
            raise ReplyError(f"a chunk of the reply has {str(amt)[:40]} bytes")
        return cast("bytes", super()._safe_read(amt))  # type: ignore[misc]

    def _read_and_discard_trailer(self) -> None:
        super()._read_and_discard_trailer()  # type: ignore[misc]
        self._trailer_read = True

    def _close_conn(self) -> None:
        complete = self.length == 0 or self._trailer_read
        more = complete and self._reader.has_more(self.fp)
        super()._close_conn()  # type: ignore[misc]
        if more:
            # The length is wrong, or the reply is duplicated: the next request would read the rest of it.
            raise ReplyError("the reply has more bytes than it announced")
        if complete and self.status < 300 and self._exchange.repeats_bytes(self._reader.digest):
            raise ReplyError("the reply has the same bytes as the reply to the previous request")

"""Bodies in chunks (RFC 9112, 7.1).

llhttp decodes them too, but it treats a trailer as a header, lets a trailer end the connection, and does not say where
a request ended.
"""

import re
from io import BytesIO

from ..model.refusal import Refusal, shown

# A chunk's line; its extensions are checked and ignored.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t !-~\x80-\xff])*+"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;[ \t]*+%s(?:[ \t]*+=[ \t]*+(?:%s|%s))?)*+\r\n" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER = re.compile(rb"%s:[\t -~\x80-\xff]*+\r\n" % _TOKEN)
MAX_LINE_BYTES = 4096
MAX_TRAILERS_BYTES = 8192
# Lines cost more than bytes: one-byte chunks take as long to parse as a body 400 times the size.
MIN_AVERAGE_CHUNK_BYTES = 16
_FREE_CHUNKS = 1024


class ChunkedBody:
    """Decodes one body from pieces of any size. Trailers are checked and dropped; they never change the request."""

    __slots__ = ("_chunks", "_data_bytes", "_left", "_line", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._left = 0  # of the chunk, with the CRLF behind it
        self._line = b""  # the beginning of a line that has not come whole
        self._trailers = -1  # bytes of them, once the last chunk has come
        self._chunks = self._data_bytes = 0

    def feed(self, data: bytes, at: int, out: BytesIO) -> int:
        """Write the body's bytes in data[at:] to `out`; returns where the body or the data ended.

        Raises Refusal (400 or 431).
        """
        end = len(data)
        while at < end and not self.done:
            at = self._data(data, at, out) if self._left else self._next_line(data, at)
        return at

    def _data(self, data: bytes, at: int, out: BytesIO) -> int:
        stop = min(at + self._left, len(data))
        content = min(stop, at + max(self._left - 2, 0))
        if content > at:
            out.write(data[at:content])
            self._data_bytes += content - at
        begin = 1 if self._left == 1 else 0  # where in the CRLF
        if data[content:stop] != b"\r\n"[begin : begin + stop - content]:
            raise Refusal(400, "a chunk is not followed by CRLF; send as many bytes as its size says")
        self._left -= stop - at
        return stop

    def _next_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        line = self._line + data[at : end or len(data)]
        if len(line) > MAX_LINE_BYTES:
            raise Refusal(431, f"a line of the chunked body is over {MAX_LINE_BYTES} bytes; send shorter ones")
        if end == 0:
            self._line = line
            return len(data)
        self._line = b""
        if self._trailers >= 0:
            self._trailer(line)
        else:
            self._size(line)
        return end

    def _size(self, line: bytes) -> None:
        parts = _SIZE.fullmatch(line)
        if parts is None:
            raise Refusal(400, f"a chunk begins with {_shown(line)}; it must be a size in hexadecimal and CRLF")
        size = int(parts[1], 16)
        if size == 0:
            self._trailers = 0
            return
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS and self._data_bytes < self._chunks * MIN_AVERAGE_CHUNK_BYTES:
            raise Refusal(
                400, f"{self._chunks} chunks hold {self._data_bytes} bytes; send chunks of {MIN_AVERAGE_CHUNK_BYTES} "
                "bytes or more",
            )  # fmt: skip
        self._left = size + 2

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS_BYTES:
            raise Refusal(431, f"the trailers are over {MAX_TRAILERS_BYTES} bytes; send fewer")
        if line == b"\r\n":
            self.done = True
        elif _TRAILER.fullmatch(line) is None:
            raise Refusal(400, f"the trailer {_shown(line)} is malformed; send `name: value` and CRLF")


def _shown(line: bytes) -> str:
    return shown(line.decode("latin-1"))

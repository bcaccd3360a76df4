"""Detects duplicated replies on a connection, so that one is never used for the next request.

HTTP/1.1 does not say which request a reply answers. AWS numbers its replies. For other servers the bytes are compared:
the same reply to two different requests is suspicious, until a new connection returns it again.
"""

from collections.abc import Mapping
from typing import Any, Final

# SageMaker, AppConfig and STS say x-amzn-requestid, S3 x-amz-request-id.
_REQUEST_IDS: Final = ("x-amzn-requestid", "x-amz-request-id")
# The addresses of AWS change: a process that runs for months must not keep them all.
_MOST_SERVERS: Final = 1_000

Digest = tuple[int, int]


class _Servers:
    """Servers that this process called, by address: the last suspicious reply, and servers known to repeat replies."""

    def __init__(self) -> None:
        self.suspects: dict[object, Digest] = {}
        self.alike: set[object] = set()


_servers = _Servers()


class Exchange:
    """The last request and reply of one connection, which one thread uses at a time. server: its address."""

    __slots__ = ("_answered", "_asked", "_digest", "_request_id", "_server", "answered_before")

    def __init__(self, server: object) -> None:
        self._server = server
        self._asked: object = None
        self.connected()

    def connected(self) -> None:
        """Reset for a new connection. Its first request has already been recorded."""
        # Whether the connection has returned a reply.
        self.answered_before = False
        self._answered: object = None
        self._request_id: str | None = None
        self._digest: Digest | None = None

    def asked(self, request: object) -> None:
        """Record a request that is about to be sent. request: what distinguishes it from others."""
        self._asked = request

    def repeats_number(self, headers: Mapping[str, Any]) -> bool:
        """Whether the reply with these headers has the same number as the last reply."""
        self.answered_before = True
        request_id = headers.get(_REQUEST_IDS[0]) or headers.get(_REQUEST_IDS[1])
        repeated = request_id is not None and request_id == self._request_id
        self._request_id = request_id
        return repeated

    def repeats_bytes(self, digest: Digest) -> bool:
        """Whether a complete reply may be a copy of the last reply. digest: of its bytes."""
        before, self._digest = self._digest, digest
        answered, self._answered = self._answered, self._asked
        if self._request_id is not None or self._server in _servers.alike:
            return False
        if before is None and _servers.suspects.get(self._server) == digest and len(_servers.alike) < _MOST_SERVERS:
            _servers.alike.add(self._server)
        if before != digest or answered == self._asked:
            return False
        if len(_servers.suspects) < _MOST_SERVERS or self._server in _servers.suspects:
            _servers.suspects[self._server] = digest
        return True

"""Connections for botocore's clients: limited in total time, strict about replies, and never shared after a fork.

botocore reads through urllib3. Its timeouts are between two bytes, and a forked process would share its pools with the
parent: each would read replies to the other's requests.
"""

import contextlib
import functools
import ipaddress
import os
import queue
import socket
import sys
import weakref
from collections import deque
from typing import Any, Final, cast

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util import wait_for_read

from tierfleet.runtime.error_bodies import make_readable
from tierfleet.runtime.exchange import Exchange
from tierfleet.runtime.single_flight import SingleFlight
from tierfleet.runtime.strict_response import ReplyError, StrictResponse
from tierfleet.runtime.time_limit import seconds_allowed

_TARGET_MODEL: Final = "X-Amzn-SageMaker-Target-Model"

_connections: "weakref.WeakSet[_Guarded]" = weakref.WeakSet()
_pools: "weakref.WeakSet[Any]" = weakref.WeakSet()
_lookups: SingleFlight[tuple[str, int], list[tuple[Any, ...]]] = SingleFlight("tierfleet-dns")


def guard(client: Any) -> None:
    """Have a boto3 client open only guarded connections from now on. Other objects, such as fakes, are left alone."""
    endpoint = getattr(client, "_endpoint", None)
    if endpoint is None:
        return
    classes = endpoint.http_session._pool_classes_by_scheme
    if classes["http"] is not _HTTPPool:
        # The session's manager shares this dict with the managers of its proxies.
        classes.update(http=_HTTPPool, https=_HTTPSPool)
        make_readable(client)
        # Existing pools would still make botocore's own connections.
        endpoint.http_session.close()


def forget_in_child() -> None:
    """After a fork: close the child's copies of all connections. The parent still uses its own.

    Nothing is sent: a TLS close would end the parent's session. No lock is taken: the thread that held it does not
    exist.
    """
    global _lookups
    _lookups = SingleFlight("tierfleet-dns")
    for connection in list(_connections):
        sock, connection.sock = connection.sock, None
        if sock is not None:
            # TLS inside a proxy's TLS is not a socket; it stays open and unused.
            with contextlib.suppress(OSError, AttributeError):
                os.close(sock.detach())
    _connections.clear()
    for pool in list(_pools):
        if pool.pool is not None:
            pool.pool.forget()


class _Guarded:
    """Mixed into botocore's connections."""

    _request_begins = False

    # Attributes of the connections that this is mixed into.
    sock: socket.socket | None
    host: str
    port: int
    timeout: float | None
    source_address: tuple[str, int] | None
    socket_options: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        self._exchange = Exchange((type(self), options.get("host"), options.get("port")))
        self.response_class = functools.partial(StrictResponse, exchange=self._exchange)
        super().__init__(*args, **options)

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that answers. DNS and all attempts together take at most the connect timeout."""
        connection = cast("Any", self)
        seconds = seconds_allowed(self.timeout)
        try:
            sock = self._connected(getattr(connection, "_dns_host", self.host), seconds)
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, f"connecting to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(connection, f"no connection to {self.host}: {error}") from error
        sys.audit("http.client.connect", self, self.host, self.port)
        self._exchange.connected()
        _connections.add(self)
        # The TLS handshake comes next.
        sock.settimeout(seconds_allowed(self.timeout))
        return sock

    def _connected(self, host: str, seconds: float | None) -> socket.socket:
        addresses = _addresses(host, self.port, seconds)
        failure = OSError(f"{host} has no address")
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            left = seconds_allowed(seconds)
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                # An address that does not answer leaves time for the others.
                sock.settimeout(None if left is None else left / (len(addresses) - number))
                if self.source_address:
                    sock.bind(self.source_address)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **options: Any) -> Any:
        # Not on a new connection: TLS session tickets may wait there, and are read with the first reply.
        self._request_begins = self.sock is not None and self._exchange.answered_before
        target_model = (headers or {}).get(_TARGET_MODEL)
        # The same row of a tenant gets the same answer from every version's key, so only the tenant counts.
        self._exchange.asked((body, target_model.split(b"/")[0] if isinstance(target_model, bytes) else url))
        return super().request(method, url, body, headers, *args, **options)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        connection = cast("Any", self)
        if self._request_begins and self.sock is not None and wait_for_read(self.sock, 0):
            # urllib3 checks too, but earlier: a duplicated reply may have arrived since.
            raise ReplyError("a reply arrived before its request, or the connection was closed")
        self._request_begins = False
        if self.sock is None and connection.auto_open:
            connection.connect()
        if self.sock is not None:
            self.sock.settimeout(seconds_allowed(self.timeout))
        super().send(data)  # type: ignore[misc]


class _HTTPConnection(_Guarded, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _HTTPSConnection(_Guarded, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _IdleConnections:
    """A pool's idle connections, with the methods of LifoQueue that urllib3 uses, but without a lock.

    A signal handler that raises can leave LifoQueue's lock locked forever, and every later call would hang. A deque
    needs no lock.
    """

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self._idle: deque[Any] = deque()

    def qsize(self) -> int:
        return len(self._idle)

    # botocore never asks urllib3 to wait for a connection.
    def get(self, block: bool = False, timeout: float | None = None) -> Any:  # noqa: ARG002 - urllib3's parameters
        try:
            return self._idle.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:  # noqa: ARG002 - urllib3's parameter
        if len(self._idle) >= self.maxsize:
            raise queue.Full
        self._idle.append(connection)

    def forget(self) -> None:
        """Drop all connections, and keep urllib3's placeholders for new ones."""
        self._idle.clear()
        self._idle.extend([None] * self.maxsize)


class _HTTPPool(AWSHTTPConnectionPool):
    ConnectionCls = _HTTPConnection
    QueueCls = _IdleConnections  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _pools.add(self)


class _HTTPSPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
    QueueCls = _IdleConnections  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _pools.add(self)


def _addresses(host: str, port: int, seconds: float | None) -> list[tuple[Any, ...]]:
    """The addresses from getaddrinfo. It cannot be interrupted, so it runs in its own thread. Raises TimeoutError."""
    name = host.strip("[]")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return _look_up(name, port)
    if seconds is None:
        return _look_up(name, port)
    return _lookups.run((name, port), lambda: _look_up(name, port), timeout_seconds=seconds)


def _look_up(name: str, port: int) -> list[tuple[Any, ...]]:
    try:
        return cast("list[tuple[Any, ...]]", socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        raise OSError(f"{name!r} is not a host name") from error

"""Two connections that pass bytes to each other, no faster than either peer reads."""

import asyncio
from collections.abc import Callable
from typing import cast


class RelayEnd(asyncio.Protocol):
    """One of the two. A class to inherit from, since asyncio says on the protocol itself that a peer is slow."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._other: RelayEnd | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """This end's peer is slow to read, so the other end's peer must stop sending."""
        if self._other is not None:
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume_reading()

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class MinistackConnection(RelayEnd):
    """ministack's side of one client's connection; what is written before it is there waits.

    on_closed: called once ministack has closed it, or could not be reached.
    """

    def __init__(self, client: RelayEnd, port: int, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self._client = self._other = client
        self._on_closed = on_closed
        # Bytes that come before the connection to ministack is there; None once it is.
        self._waiting: list[bytes] | None = []
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._connect(port))

    async def _connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            self._on_closed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        waiting, self._waiting = self._waiting or [], None
        for data in waiting:
            super().write(data)
        # The client may have left before the connection was there.
        if self._closed:
            super().close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        # A close from this side is known already.
        if not self._closed:
            self._on_closed()

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def write(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(data)
        else:
            super().write(data)

    def close(self) -> None:
        self._closed = True
        super().close()

"""Two connections that pass bytes on to each other, no faster than either end takes them."""

import asyncio
from typing import cast


class RelayEnd(asyncio.Protocol):
    """One of the two. A class to inherit from, since asyncio says on the protocol itself that a peer is slow."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._other: RelayEnd | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        """This end's peer does not read what it is sent: the other end's peer must not send more."""
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

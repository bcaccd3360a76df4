"""The emulator's side of a client's connection: bytes both ways, no faster than either end takes them."""

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from local_cloud.data_plane.front import ClientConnection


class EmulatorConnection(asyncio.Protocol):
    """The emulator's side of one client's connection."""

    def __init__(self, client: "ClientConnection", port: int) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] | None = []
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._connect(port))

    async def _connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            self._client.emulator_closed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = connected = cast(asyncio.Transport, transport)
        waiting, self._waiting = self._waiting or [], None
        for data in waiting:
            connected.write(data)
        if self._closed:
            connected.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        if not self._closed:
            self._client.emulator_closed()

    def data_received(self, data: bytes) -> None:
        self._client.from_emulator(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def write(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(data)
        elif self._transport is not None:
            self._transport.write(data)

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()

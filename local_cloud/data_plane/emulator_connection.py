"""The emulator's side of a client's connection."""

import asyncio
from typing import TYPE_CHECKING

from local_cloud.data_plane.relay import RelayEnd

if TYPE_CHECKING:
    from local_cloud.data_plane.front import ClientConnection


class EmulatorConnection(RelayEnd):
    """The emulator's side of one client's connection; what is written before it stands waits."""

    def __init__(self, client: "ClientConnection", port: int) -> None:
        super().__init__()
        self._client = self._other = client
        self._waiting: list[bytes] | None = []
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._connect(port))

    async def _connect(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            self._client.emulator_closed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        waiting, self._waiting = self._waiting or [], None
        for data in waiting:
            super().write(data)
        if self._closed:
            super().close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        if not self._closed:
            self._client.emulator_closed()

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

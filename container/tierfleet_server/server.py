"""The listening socket, the connections and the way they end."""

import asyncio
import contextlib
import os
import socket

from .connection import Connection
from .contract import Contract
from .logs import logger
from .settings import Settings

_SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 1.0
_CLOSE_SECONDS = 0.05
_QUIET_SECONDS = 0.3
_SILENT_SECONDS = 5.0


class Server:
    """Serves the contract on one port until `drain` has let the last request finish."""

    idle_seconds = 900.0  # longer than any client in front of it keeps a connection: the client closes first

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self.contract = contract
        self.connections: set[Connection] = set()
        self.draining = False
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.last_data = 0.0  # when a client last connected or sent something while draining
        self.max_request_bytes = settings.max_request_bytes
        self.request_seconds = float(settings.request_timeout_seconds)
        self._settings = settings
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises OSError if the port is taken."""
        self._listener = await self.loop.create_server(
            lambda: Connection(self), self._settings.host, self._settings.port, backlog=1024
        )
        self._sweeper = self.loop.create_task(self._sweep())

    async def drain(self) -> None:
        """Stop without failing a request.

        For a second the health check fails and each reply closes its connection, so that clients go
        elsewhere; then no connection is taken, and requests under way get `drain_seconds` to finish.
        """
        self.draining = self.contract.draining = True
        end = self.now() + self._settings.drain_seconds
        await asyncio.sleep(min(_LINGER_SECONDS, self._settings.drain_seconds / 2))
        await self._stop_listening()
        # A client that has just connected may be about to send: wait until nothing has come for a while, and longer
        # while one has not said anything at all. It may have to wait for a processor.
        while self.now() < end and (self._busy() or self.now() - self.last_data < self._patience()):
            await asyncio.sleep(0.02)
        if self._busy():
            logger.error("%d requests were not finished in time", self._busy())
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper

    def _patience(self) -> float:
        return _SILENT_SECONDS if any(connection.silent for connection in self.connections) else _QUIET_SECONDS

    def _busy(self) -> int:
        return sum(connection.busy for connection in self.connections)

    async def _stop_listening(self) -> None:
        if self._listener is None:
            return
        # Closing resets the connections that wait to be accepted, and the loop closes its socket when it comes to it.
        # A copy stays open until the last look, with nothing between that look and its close. The backlog stays as it
        # is: a full one lets clients believe they are connected, and the close then resets them.
        with contextlib.ExitStack() as copies:
            listening = [
                copies.enter_context(socket.socket(fileno=os.dup(original.fileno())))
                for original in self._listener.sockets
            ]
            self._listener.close()
            await asyncio.sleep(_CLOSE_SECONDS)
            last = [connected for same in listening for connected in _accept_waiting(same)]
        for connected in last:
            await self.loop.connect_accepted_socket(lambda: Connection(self), connected)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.now()
            for connection in list(self.connections):
                if connection.deadline is not None and connection.deadline < now:
                    connection.expire()


def _accept_waiting(listening: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted, now."""
    listening.setblocking(False)
    accepted = []
    with contextlib.suppress(OSError):  # nothing waits any more, or one of them has gone
        while True:
            connected, _ = listening.accept()
            connected.setblocking(False)
            accepted.append(connected)
    return accepted

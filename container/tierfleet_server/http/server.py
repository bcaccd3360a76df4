"""The listening socket, the connections and the drain."""

import asyncio
import contextlib
import os
import socket
from email.utils import formatdate

from ..contract import Contract
from ..logs import logger
from ..request_memory import RequestMemory
from ..settings import Settings
from .connection import Connection
from .server_state import ServerState

_SWEEP_SECONDS = 0.5
_LINGER_SECONDS = 1.0
_CLOSE_SECONDS = 0.05
_QUIET_SECONDS = 0.3
_SILENT_SECONDS = 5.0
# The kernel's buffer of a connection, each way; the kernel doubles the value. The default grows to 6 MiB, which counts
# against the container's memory. Clients are on the same machine.
_SOCKET_BUFFER_BYTES = 64 * 1024


class Server:
    """Serves the contract on one port until `drain` has finished."""

    idle_seconds = 900.0  # longer than clients keep a connection, so the client closes first
    reply_seconds = 60.0  # SageMaker waits no longer for a reply

    def __init__(self, settings: Settings, contract: Contract, memory: RequestMemory) -> None:
        self.state = ServerState(
            contract=contract,
            loop=asyncio.get_running_loop(),
            memory=memory,
            max_request_bytes=settings.max_request_bytes,
            request_seconds=float(settings.request_timeout_seconds),
            reply_seconds=self.reply_seconds,
            idle_seconds=self.idle_seconds,
        )
        self._contract, self._settings = contract, settings
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises OSError if the port is taken."""
        self._tell_date()
        self._listener = await self.state.loop.create_server(
            lambda: Connection(self.state), self._settings.host, self._settings.port, backlog=1024, start_serving=False
        )
        for listening in self._listener.sockets:
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        await self._listener.start_serving()
        self._sweeper = self.state.loop.create_task(self._sweep())

    async def drain(self) -> None:
        """Stop without failing a request.

        For one second the health check fails and each reply closes its connection, so that clients go elsewhere. Then
        no connection is accepted, and running requests get `drain_seconds` to finish.
        """
        state = self.state
        state.draining = self._contract.draining = True
        end = state.now() + self._settings.drain_seconds
        await asyncio.sleep(min(_LINGER_SECONDS, self._settings.drain_seconds / 2))
        await self._stop_listening()
        # A client that has just connected may be about to send: wait until nothing has come for a while, and longer
        # while one has not said anything at all. It may have to wait for a processor.
        while state.now() < end and (self._busy() or state.now() - state.last_data < self._patience()):
            await asyncio.sleep(0.02)
        if self._busy():
            logger.error("%d requests were not finished in time", self._busy())
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper

    def _patience(self) -> float:
        return _SILENT_SECONDS if any(connection.silent for connection in self.state.connections) else _QUIET_SECONDS

    def _busy(self) -> int:
        return sum(connection.busy for connection in self.state.connections)

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
            await self.state.loop.connect_accepted_socket(lambda: Connection(self.state), connected)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._tell_date()
            now = self.state.now()
            for connection in list(self.state.connections):
                if connection.late(now):
                    connection.expire()

    def _tell_date(self) -> None:
        self.state.date = f"date: {formatdate(usegmt=True)}\r\n".encode()


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

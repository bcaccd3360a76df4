"""What goes to ministack and back: whole, in order, and no faster than the slower end takes it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from local_cloud.data_plane.asynchronous.queues import Queues
from local_cloud.data_plane.callers import Callers
from local_cloud.data_plane.front import ClientConnection, Front
from local_cloud.data_plane.invocations import Invocations

HEAD = b"PUT /bucket/models/m01/1.tar.gz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
# Much more than the kernel holds for a connection whose reader has a small buffer.
BODY = bytes(range(256)) * (24 * 1024 * 4)
SMALL_BUFFER_BYTES = 64 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def relayed(case: Callable[[Streams, Streams, ClientConnection], Awaitable[None]]) -> None:
    """Run a case with a client's streams, those of ministack, and the connection between them."""
    emulators: asyncio.Queue[Streams] = asyncio.Queue()
    opened: list[ClientConnection] = []

    def connection() -> ClientConnection:
        # Nothing here is an invocation, so nothing is asked to answer one.
        port = emulator.sockets[0].getsockname()[1]
        opened.append(ClientConnection(Front(cast(Invocations, None), cast(Queues, None), cast(Callers, None), port)))
        return opened[-1]

    listener, caller = small_socket(), small_socket()
    listener.bind(("127.0.0.1", 0))
    emulator = await asyncio.start_server(lambda *streams: emulators.put_nowait(streams), sock=listener)
    front = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    caller.connect(front.sockets[0].getsockname())
    client = await asyncio.open_connection(sock=caller)
    client[1].write(HEAD % len(BODY))
    async with asyncio.timeout(60):
        behind = await emulators.get()
        await behind[0].readuntil(b"\r\n\r\n")
        await case(client, behind, opened[0])
        for _, writer in (client, behind):
            writer.close()
            await writer.wait_closed()
        await until(lambda: opened[0]._transport is None)
    front.close()
    emulator.close()


def small_socket() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    return made


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", ["to ministack", "to the client"])
def test_a_peer_that_does_not_read_stops_the_other_and_nothing_is_lost(way: str) -> None:
    async def case(client: Streams, emulator: Streams, between: ClientConnection) -> None:
        sender, receiver = (client, emulator) if way == "to ministack" else (emulator, client)
        read_from: Any = between if sender is client else between._other
        sender[1].write(BODY)
        await until(lambda: not read_from._transport.is_reading())
        assert await receiver[0].readexactly(len(BODY)) == BODY
        assert read_from._transport.is_reading()

    asyncio.run(relayed(case))


@pytest.mark.parametrize("leaver", ["client", "emulator"])
def test_when_one_peer_leaves_the_other_is_left_too(leaver: str) -> None:
    async def case(client: Streams, emulator: Streams, _: ClientConnection) -> None:
        leaving, staying = (client, emulator) if leaver == "client" else (emulator, client)
        leaving[1].close()
        assert await staying[0].read() == b""

    asyncio.run(relayed(case))

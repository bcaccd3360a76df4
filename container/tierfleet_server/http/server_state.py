"""What the server and its connections share, and whose turn it is to read."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from ..contract import Answer, Request
from ..request_memory import RequestMemory

READ_BYTES = 16 * 1024  # at once, which is also the most that a connection keeps unparsed
_READ_BODY_BYTES = 64 * 1024  # of a long body at once


class Answers(Protocol):
    """The contract, as a connection sees it."""

    def answer(self, request: Request) -> Answer:
        """The reply to a request, or a coroutine for it. Never raises."""

    def work_bytes(self, request: Request) -> int:
        """The most that such a coroutine may take, its reply included."""


class OpenConnection(Protocol):
    """A connection, as the server and the others see it."""

    deadline: float | None
    silent: bool

    @property
    def busy(self) -> bool:
        """Whether it has work."""

    def go_on(self) -> None:
        """Read what comes next."""

    def late(self, now: float) -> bool:
        """Whether it must be closed."""

    def expire(self) -> None:
        """Close it."""


@dataclass(kw_only=True)
class ServerState:
    """What the server and its connections share."""

    contract: Answers
    loop: asyncio.AbstractEventLoop
    memory: RequestMemory
    max_request_bytes: int
    request_seconds: float  # for a client to send one whole request
    reply_seconds: float  # for a client to read one whole reply
    idle_seconds: float
    connections: set[OpenConnection] = field(default_factory=set)
    draining: bool = False
    last_data: float = 0.0  # when a client last connected or sent something while draining
    date: bytes = b""  # the Date header, with CRLF
    # Every connection reads into it and copies out what it keeps.
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(_READ_BODY_BYTES)))

    def __post_init__(self) -> None:
        self.now = self.loop.time
        self.head_buffer = self.buffer[:READ_BYTES]
        self._long_bodies: deque[OpenConnection] = deque()
        self._reads_in_turn = False

    def let_read_in_turn(self, connection: OpenConnection) -> None:
        """Resume a connection that has read a piece of a long body: one connection at a time.

        So a small request waits for one piece. Otherwise libuv reads up to 32 pieces of each connection in one turn of
        the loop, if the clients send fast enough.
        """
        self._long_bodies.append(connection)
        if not self._reads_in_turn:
            self._reads_in_turn = True
            self.loop.call_soon(self._read_next)

    def _read_next(self) -> None:
        self._long_bodies.popleft().go_on()
        self._reads_in_turn = bool(self._long_bodies)
        if self._reads_in_turn:
            self.loop.call_soon(self._read_next)

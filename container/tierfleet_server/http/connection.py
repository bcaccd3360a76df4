"""HTTP/1.1 on one connection: bytes in, one request after the other to the contract, replies out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..contract import Reply, Request, failed, is_invocation, memory_owner, refused
from ..model.refusal import Refusal
from ..request_memory import MAX_CONNECTIONS, Pool
from .reply_encoding import encoded, head_of
from .request_reader import BODY, WHOLE, RequestReader
from .server_state import READ_BYTES, ServerState

_JOINED_BYTES = 64 * 1024  # the longest body that is joined with its head
_UNSENT_BYTES = 16 * 1024  # of a reply, before it counts as unread
_REQUESTS_A_TURN = 16  # that one connection may ask for before others have their turn
_LINGER_SECONDS = 2.0
_WAIT_SECONDS = 20.0  # for memory; SageMaker gives up after 60
# While others wait for memory, a body must arrive at this rate after some seconds.
_PACE_BYTES_A_SECOND = 64 * 1024
_PACE_AFTER_SECONDS = 5.0
_PROBE_SECONDS = 0.5
_MANY_WAIT = "too many requests wait for memory already"

# What a connection does. It reads only in the first of them.
_READING, _SHORT_OF_MEMORY, _ANSWERING, _UNREAD, _CLOSING = range(5)


class Connection(asyncio.BufferedProtocol):
    """One client's connection.

    It receives and answers one request at a time. What a client sends meanwhile stays in the kernel, except
    `READ_BYTES`. `deadline` is when the server may close it because no whole request arrived, memory was short, or the
    client did not read. It is None while a request is answered. The connection closes after bytes that cannot be
    parsed.
    """

    __slots__ = (
        "_claims", "_counted", "_droppable", "_ended", "_granted_at", "_held", "_owner", "_paused", "_pending",
        "_reader", "_server", "_stage", "_task", "_timed", "_transport", "_unparsed", "_waits_for", "_writable",
        "deadline", "silent",
    )  # fmt: skip

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._reader = RequestReader(server.max_request_bytes)
        self._claims: list[tuple[Pool, int]] = []  # bytes counted for the request
        self._owner = b""  # whose memory that is: the model's
        self._counted = 0  # bytes of its body among them
        self._held = 0  # bytes of the small pool, for what is kept of later ones
        self._waits_for: Pool | None = None
        self._pending: tuple[Coroutine[Any, Any, Reply], Request] | None = None  # an answer that waits for memory
        self._granted_at = 0.0
        self._droppable = False  # the answer can be dropped if the client goes
        self._unparsed = b""
        self._timed = False  # the client has sent a part of a request
        self._paused = False
        self._writable = True
        self._ended = False  # the client sends no more
        self._stage = _READING
        self.deadline: float | None = None
        self.silent = True  # nothing has come yet

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered, or its reply waits for the client to read it."""
        if self._stage in (_SHORT_OF_MEMORY, _ANSWERING, _UNREAD) or self._unparsed:
            return True
        if self._stage == _READING and self._reader.begun:
            return True
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        server = self._server
        self._transport = transport  # type: ignore[assignment]
        server.connections.add(self)
        self.deadline = server.now() + server.idle_seconds
        transport.set_write_buffer_limits(_UNSENT_BYTES, 0)  # type: ignore[attr-defined]
        if server.draining:
            server.last_data = server.now()
        if len(server.connections) > MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """The client is gone: an invocation is cancelled, any other answer is finished and dropped."""
        self._transport = None
        self._server.connections.discard(self)
        if self._task is not None and self._droppable:
            self._task.cancel()
            self._task.add_done_callback(lambda _: self._forget())  # it may never have begun
        self._stage = _CLOSING
        self._let_go()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Where the next bytes go."""
        left = self._reader.left
        return self._server.buffer[: left + READ_BYTES] if left else self._server.head_buffer

    def buffer_updated(self, count: int) -> None:
        """Handle received bytes; after a refusal drop them until the client has read why."""
        if self._stage == _CLOSING:
            return
        server = self._server
        self.silent = False
        if server.draining:
            server.last_data = server.now()
        data = server.buffer[:count].tobytes()
        self._take(self._unparsed + data if self._unparsed else data)

    def eof_received(self) -> bool:
        """The client sends no more, but may still read what it asked for."""
        self._ended = True
        if self._stage == _READING and self._reader.begun:
            self._refuse(Refusal(400, "the request ends in the middle; send it whole"))
        self._probe()
        return self._stage in (_SHORT_OF_MEMORY, _ANSWERING, _UNREAD)

    def _probe(self) -> None:
        """Find out whether a client that closed its sending side still waits for its invocation.

        A client that has gone resets the connection when it is sent something. Others ignore this interim reply.
        HTTP/1.0 does not know it.
        """
        if self._transport is not None and self._task is not None and self._droppable and self._reader.knows_interim:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._server.loop.call_later(_PROBE_SECONDS, self._probe)

    def pause_writing(self) -> None:
        """The client does not read its reply, so start no further one."""
        self._writable = False

    def resume_writing(self) -> None:
        """The client has read everything."""
        self._writable = True
        if self._stage == _UNREAD:
            self._forget()
            self._stage = _READING
            self._timed = False
            self.deadline = self._server.now() + self._server.idle_seconds
            self.go_on()

    # Receiving:

    def _take(self, data: bytes) -> None:
        """Process received bytes for the client's turn, and keep the rest."""
        reader, server = self._reader, self._server
        at, end, requests = 0, len(data), 0
        self._unparsed = b""
        try:
            while at < end and self._stage == _READING:
                if requests == _REQUESTS_A_TURN:
                    server.loop.call_soon(self.go_on)
                    break
                at = reader.feed(data, at)
                if reader.stage == WHOLE:
                    requests += 1
                    self._answer(at < end)
                    continue
                if not self._timed and reader.begun:
                    self._timed = True
                    self.deadline = server.now() + server.request_seconds
                if reader.most > self._counted:
                    self._admit()
        except Refusal as refusal:
            self._refuse(refusal)
        if self._stage == _CLOSING:
            return
        if at < end:
            self._unparsed = data[at:]
        if self._unparsed or self._stage in (_SHORT_OF_MEMORY, _UNREAD):
            self._pause()
        elif end > READ_BYTES and reader.stage == BODY:
            self._pause()
            server.let_read_in_turn(self)
        if self._held or self._unparsed or reader.held_bytes:
            self._hold()

    def _admit(self) -> None:
        """Count the body before it arrives, or wait until it fits."""
        reader = self._reader
        self._counted = reader.most
        pool, size_bytes = self._server.memory.body(reader.most)
        if not self._claims:
            self._owner = memory_owner(reader.path)
        if pool.take(size_bytes, self._owner):
            self._claims.append((pool, size_bytes))
            self._let_body_come()
        elif not self._wait(pool, size_bytes):
            raise self._server.memory.refusal(_MANY_WAIT)

    def _let_body_come(self) -> None:
        self._granted_at = self._server.now()
        if self._reader.expects and self._transport is not None:
            self._reader.expects = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _wait(self, pool: Pool, size_bytes: int) -> bool:
        if not pool.wait(size_bytes, self._owner, self):
            return False
        self._stage = _SHORT_OF_MEMORY
        self._waits_for = pool
        self.deadline = self._server.now() + _WAIT_SECONDS
        return True

    def granted(self, pool: Pool, size_bytes: int) -> None:
        """There is memory: receive the body, or make the answer."""
        self._waits_for = None
        self._claims.append((pool, size_bytes))
        if self._pending is not None:
            self._start()
            return
        self._stage = _READING
        self.deadline = self._server.now() + self._server.request_seconds
        self._let_body_come()
        self._server.loop.call_soon(self.go_on)

    def _hold(self) -> None:
        """Count kept bytes of requests that have not begun."""
        held = self._reader.held_bytes + len(self._unparsed)
        pool = self._server.memory.small_bodies
        if held > self._held:
            pool.add(held - self._held)
        elif held < self._held:
            pool.give(self._held - held)
        self._held = held

    def go_on(self) -> None:
        """Read the next request, or the rest of this one."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._stage != _READING:
            return
        if self._unparsed:
            self._take(self._unparsed)
        if self._stage in (_READING, _ANSWERING):
            self._resume()

    def _resume(self) -> None:
        transport = self._transport
        if self._paused and not self._unparsed and transport is not None and not transport.is_closing():
            self._paused = False
            transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    # Answering:

    def _answer(self, more: bool) -> None:
        """The request is whole."""
        server = self._server
        request = self._reader.take()
        answer = server.contract.answer(request)
        if isinstance(answer, Reply):
            self._reply(answer, more)
            return
        self._pending = answer, request
        self._droppable = is_invocation(request)
        pool, size_bytes = server.memory.work(server.contract.work_bytes(request))
        if not self._claims:
            self._owner = memory_owner(request.path)
        if size_bytes == 0:
            self._start()
        elif pool.take(size_bytes, self._owner):
            self._claims.append((pool, size_bytes))
            self._start()
        elif not self._wait(pool, size_bytes):
            self._turn_away(_MANY_WAIT, more)

    def _start(self) -> None:
        assert self._pending is not None  # noqa: S101 - there is an answer to make
        pending, self._pending = self._pending, None
        self._stage = _ANSWERING
        self.deadline = None
        self._task = self._server.loop.create_task(self._finish(*pending))
        self._resume()  # to see whether the client goes

    async def _finish(self, answer: Coroutine[Any, Any, Reply], request: Request) -> None:
        try:
            reply = await answer
        except asyncio.CancelledError:
            self._forget()
            raise
        except Exception:
            reply = failed(request)
        self._task = None
        self._reply(reply, bool(self._unparsed))
        self.go_on()

    def _turn_away(self, why: str, more: bool) -> None:
        """Reply 503 instead of making the answer."""
        assert self._pending is not None  # noqa: S101 - there is an answer not to make
        (answer, request), self._pending = self._pending, None
        answer.close()
        self._reply(refused(self._server.memory.refusal(why), request), more)

    def _reply(self, reply: Reply, more: bool) -> None:
        transport, server, reader = self._transport, self._server, self._reader
        if transport is None:
            self._forget()
            return
        # Requests that already arrived are answered; the last reply announces the end.
        keep = reader.keep_alive and (more or not (server.draining or self._ended))
        closing = b"" if keep else b"connection: close\r\n"
        if len(reply.body) <= _JOINED_BYTES or reader.method == b"HEAD":
            transport.write(encoded(reply, reader.method, server.date, closing))
        else:  # joining 64 MiB with a head would take twice the memory, and 30 ms
            transport.write(head_of(reply, server.date, closing))
            transport.write(reply.body)
        if self._writable:
            if self._claims:
                self._forget()
            self._stage = _READING
            self._timed = False
            self.deadline = server.now() + server.idle_seconds
        else:
            self._count_unsent(transport)
            self._stage = _UNREAD
            self.deadline = server.now() + server.reply_seconds
        if not keep:
            self._stage = _CLOSING
            self._unparsed = b""
            transport.close()

    def _count_unsent(self, transport: asyncio.Transport) -> None:
        """Count the request as the unread part of its reply from now on."""
        claims, unsent = self._claims, transport.get_write_buffer_size()
        counted = sum(size_bytes for _, size_bytes in claims)
        pool = claims[-1][0] if claims else self._server.memory.small_bodies
        owner = self._owner if claims else b""
        pool.add(unsent, owner)
        self._forget()
        self._owner = owner
        self._claims = [(pool, unsent)]
        if unsent > counted and pool.in_use_bytes > pool.limit_bytes:
            transport.abort()  # it exceeds what was counted, and others need the memory

    def _forget(self) -> None:
        """Return the request's memory."""
        self._counted = 0
        if self._claims:
            claims, self._claims = self._claims, []
            for pool, size_bytes in claims:
                pool.give(size_bytes, self._owner)

    def _let_go(self) -> None:
        """Forget received and waiting requests, but not the one that is being answered."""
        waited_for, self._waits_for = self._waits_for, None
        pending, self._pending = self._pending, None
        self._unparsed = b""
        self._reader.drop()
        self._hold()
        if pending is not None:
            pending[0].close()
        if waited_for is not None:
            waited_for.leave(self)
        if self._task is None:
            self._forget()

    # Refusing and closing:

    def _refuse(self, refusal: Refusal) -> None:
        """Send a refusal as the last reply.

        The client may finish sending, which is dropped: closing earlier could lose the reply.
        """
        transport, server = self._transport, self._server
        if self._stage == _CLOSING or transport is None:
            return
        self._stage = _CLOSING
        reply = refused(refusal, Request(b"", b"", b"", self._reader.headers, b""))
        transport.write(encoded(reply, self._reader.method, server.date, b"connection: close\r\n"))
        self._let_go()
        self.deadline = server.now() + _LINGER_SECONDS
        if self._ended:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def _make_room(self) -> None:
        """Close the connection that has been idle longest, or refuse this one if none is idle."""
        server = self._server
        idle = [other for other in server.connections if other is not self and not other.busy]
        if idle:
            min(idle, key=lambda other: other.deadline or 0.0).expire()
        else:
            self._refuse(server.memory.refusal(f"all {MAX_CONNECTIONS} connections are in use"))

    def late(self, now: float) -> bool:
        """Whether the deadline has passed, or the client sends too slowly while others wait for memory."""
        if self.deadline is not None and self.deadline < now:
            return True
        if self._stage != _READING or self._reader.stage != BODY or not any(pool.waiting for pool, _ in self._claims):
            return False
        seconds = now - self._granted_at
        return seconds > _PACE_AFTER_SECONDS and self._reader.received < seconds * _PACE_BYTES_A_SECOND

    def expire(self) -> None:
        """Close the connection, with a reason for a client that sent half a request or waits for memory."""
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing() or self._stage in (_CLOSING, _UNREAD):
            transport.abort()
        elif self._stage == _SHORT_OF_MEMORY:
            why = f"there was no memory for {_WAIT_SECONDS:g} s"
            if self._pending is None:
                self._refuse(self._server.memory.refusal(why))
                return
            if self._waits_for is not None:
                self._waits_for.leave(self)
                self._waits_for = None
            self._turn_away(why, bool(self._unparsed))
            self.go_on()
        elif self._reader.begun:
            self._refuse(Refusal(408, "the request did not arrive in time; send it whole"))
        else:
            self._stage = _CLOSING
            transport.close()
            self.deadline = self._server.now() + _LINGER_SECONDS

"""Requests as the churn fleet makes them, and a client that costs little.

The order is that of the planner's trace, made with a seed. What came before the counted requests is sent in short: the
models by their last use, oldest first, which leaves least-recently-used caches as the whole history would.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.cache.models import ROW, Models
from tierfleet.planning.traffic.sessions import INDEPENDENT, Sessions
from tierfleet.planning.traffic.shapes import SHAPES, Shape
from tierfleet.planning.traffic.synthesize import synthesize

SHAPE: Shape = SHAPES["churn"].without_rhythm()
BURSTINESS = {"independent": INDEPENDENT, "sessions of 3": Sessions(3.0, 600.0)}
_HISTORY_REQUESTS, _LATER_REQUESTS = 240_000, 40_000
_AUTHORISATION = "AWS4-HMAC-SHA256 Credential={account}/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host"

Progress = Callable[[int], None]
"""Called with the number of requests that were answered since the last call."""


@dataclass(frozen=True)
class Sequences:
    """`before`: each model once, by its last use in the history, the most recent last. `counted`: the requests.

    `later`: many more, which are never sent; what a simulation makes of them shows how lucky the counted ones are.
    """

    before: list[str]
    counted: list[str]
    later: list[str]

    def last_before(self, models: int) -> list[str]:
        """The history of a cache that holds so many models at most."""
        return self.before[-models:]


def sequences(burstiness: str, *, requests: int, seed: int) -> Sequences:
    """The same arguments give the same requests."""
    days = (_HISTORY_REQUESTS + requests + _LATER_REQUESTS) / SHAPE.requests_per_day
    trace = synthesize(SHAPE, days=days, seed=seed, sessions=BURSTINESS[burstiness])
    names = np.array(trace.tenants)[trace.tenant].tolist()
    history, rest = names[:_HISTORY_REQUESTS], names[_HISTORY_REQUESTS:]
    by_last_use = list(dict.fromkeys(reversed(history)))
    return Sequences(by_last_use[::-1], rest[:requests], rest[requests:])


def authorisation(account: str, service: str) -> str:
    """Of a request to the local emulator, which reads whose it is and checks no signature."""
    return _AUTHORISATION.format(account=account, service=service)


@dataclass
class Sent:
    """`seconds[n]` is how long the n-th request took, seen by the client."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Client:
    """InvokeEndpoint over raw connections that are kept."""

    def __init__(self, port: int, account: str, models: Models) -> None:
        self._port, self._models = port, models
        self._head = (
            f"authorization: {authorisation(account, 'sagemaker')}, Signature=0\r\n"
            f"host: 127.0.0.1\r\ncontent-type: text/csv\r\ncontent-length: {len(ROW)}\r\n\r\n"
        ).encode() + ROW

    async def send(
        self, endpoint: str, tenants: Sequence[str], *, connections: int = 1, progress: Progress | None = None
    ) -> Sent:
        """Each request once, in this order; with one connection, each after the answer to the last.

        With several, a connection that is free takes the next, so neighbours overlap. An answer that is none, or not
        the score of the tenant's own model, is wrong.
        """
        sent = Sent([0.0] * len(tenants))
        queue = iter(enumerate(tenants))
        await asyncio.gather(*(self._send(endpoint, queue, sent, progress) for _ in range(connections)))
        return sent

    async def _send(self, endpoint, queue, sent: Sent, progress: Progress | None) -> None:  # type: ignore[no-untyped-def]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        start = f"POST /endpoints/{endpoint}/invocations HTTP/1.1\r\n".encode()
        try:
            for number, tenant in queue:
                began = time.perf_counter()
                writer.write(start + f"x-amzn-sagemaker-target-model: {tenant}.tar.gz\r\n".encode() + self._head)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                sent.seconds[number] = time.perf_counter() - began
                if not head.startswith(b"http/1.1 200 ") or abs(float(body) - self._models.of(tenant).score) > 1e-5:
                    sent.wrong.append(f"{tenant}: {head.split(b' ', 2)[1].decode()} {body[:200]!r}")
                if progress is not None:
                    progress(1)
        finally:
            writer.close()

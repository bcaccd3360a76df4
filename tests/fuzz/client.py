"""Hostile pointers, route documents, scores, error bodies and HTTP replies for FleetClient, seeded and without end.

`cases(seed)` yields (label, case). `check(case)` raises AssertionError, or whatever got through, where the case does
more than it may: each ends in a value of its type, or in the one error that is documented for it.
"""

import functools
import io
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import boto3

from tierfleet.runtime.catalog import CatalogError, read_pointer
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.reply import parse_scores
from tierfleet.runtime.clients import calling_clients
from tierfleet.runtime.error_bodies import readable
from tierfleet.runtime.route_document import RoutesError
from tierfleet.runtime.route_parsing import parse_routes

POINTER: Final = {"tenant": "m37", "version": "v1", "target_model": "m37/v1.tar.gz"}
ROUTES: Final = {
    "version": 1,
    "fleet": "fraud",
    "environment": "prod",
    "default_tier": "tail",
    "models_bucket": "fraud--prod--models--111122223333--eu-west-1",
    "ttl_seconds": 60,
    "tiers": {"tail": {"hosting": "multi-model", "endpoint": "tail-endpoint"}, "whale": {"hosting": "dedicated"}},
    "tenants": {"m01": {"tier": "whale", "endpoint": "whale-endpoint", "model_version": "v1"}},
    "warm_up": {
        "probe": {"content_type": "text/csv", "body": "0,0"},
        "tiers": {"tail": {"tenants": ["m02"], "concurrency": 8, "deadline_seconds": 780}},
    },
}
ERROR: Final = {"message": "m", "OriginalStatusCode": 400, "OriginalMessage": "o", "LogStreamArn": "a"}
SCORES: Final = {"predictions": [{"score": 0.5}, {"score": "0.25"}, [0.5]]}
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 6\r\nx-amzn-RequestId: 1\r\n\r\n"
BODY: Final = b"[38.5]"
SCORE: Final = 38.5
DEADLINE_SECONDS: Final = 0.5
# A machine under a fuzzer is busy; the chaos bench measures the promise of 0.25 s.
LATEST_SECONDS: Final = DEADLINE_SECONDS + 2.0

# Texts of JSON that no writer of Python would produce.
ODD: Final = (
    *("null", "true", "-1", "0", "1e999", "-1e999", "NaN", "9" * 5000, "1" + "0" * 400, '""', '"nan"', "[]", "{}"),
    *('"\ud800"', '"\u0000"', '"a\r\nb: c"', '"../m38/v1"', '"m38/v1.tar.gz"', "01", "'a'", "0.1e-400"),
    *("[" * 2000 + "]" * 2000, "[" * 10_000, '{"a":' * 3000 + "1" + "}" * 3000, '"' + "x" * 100_000 + '"'),
    *("2147483648", "-2147483648"),
)


@dataclass(frozen=True)
class Case:
    """kind: a key of _CHECKS; content: the bytes it is given."""

    kind: str
    content: bytes


def cases(seed: int) -> Iterator[tuple[str, Case]]:
    """Without end; the same seed gives the same cases."""
    rng = random.Random(seed)  # noqa: S311 - it repeats a run
    documents = {"pointer": POINTER, "routes": ROUTES, "error": ERROR, "scores": SCORES}
    for number in range(sys.maxsize):
        kind = rng.choice([*documents, *documents, "http"])
        if kind == "http":
            change = rng.choice([_cut, _flipped, _inserted, _repeated])
            content, how = change(rng, HEAD + BODY), change.__name__
        else:
            change = rng.choice([_odd_value, _odd_value, _odd_value, _without_a_field, _odd_bytes, _alone])
            content, how = change(rng, documents[kind]), change.__name__
        yield f"{seed}/{number} {kind}{how}", Case(kind, content)


def check(case: Case) -> None:
    """Raises what is wrong with how the client takes the case."""
    _CHECKS[case.kind](case.content)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from _places(value[name], (*path, name))
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _places(one, (*path, index))


def _odd_value(rng: random.Random, document: Any) -> bytes:
    """One value of the document, at any depth, is another."""
    mark = f"@{rng.randrange(10**9)}@"
    changed = json.loads(json.dumps(document))
    path = rng.choice([place for place in _places(changed) if place])
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = mark
    return json.dumps(changed).replace(f'"{mark}"', rng.choice(ODD)).encode("utf-8", "surrogatepass")


def _without_a_field(rng: random.Random, document: Any) -> bytes:
    changed = json.loads(json.dumps(document))
    path = rng.choice([place for place in _places(changed) if place])
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return json.dumps(changed).encode()


def _alone(rng: random.Random, _document: Any) -> bytes:
    return rng.choice(ODD).encode("utf-8", "surrogatepass")


def _odd_bytes(rng: random.Random, document: Any) -> bytes:
    return rng.choice([_cut, _flipped, _inserted, _repeated])(rng, json.dumps(document).encode())


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _flipped(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _inserted(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    odd = [b"\x00", b"\r\n", b"\xff\xfe", b"\r\n\r\n", b": ", b"9" * 30]
    odd += [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n"]
    return content[:place] + rng.choice([*odd, rng.randbytes(rng.randrange(1, 20))]) + content[place:]


def _repeated(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content + content[start:]


def _check_sentence(error: Exception) -> None:
    assert len(str(error)) < 1000


def _check_pointer(content: bytes) -> None:
    class S3:
        def get_object(self, **_: Any) -> Any:
            return {"Body": io.BytesIO(content)}

    try:
        pointer = read_pointer(S3(), bucket="b", tenant="m37")  # type: ignore[arg-type]
    except CatalogError as error:
        _check_sentence(error)
    else:
        folder, _, name = pointer.target_model.partition("/")
        assert pointer.tenant == folder == "m37"
        assert name.isascii()
        assert name.isprintable()
        assert "/" not in name
        assert name not in {"", ".", ".."}


def _check_routes(content: bytes) -> None:
    try:
        routes = parse_routes(content)
    except RoutesError as error:
        _check_sentence(error)
        return
    for tenant in ("m01", "m02", "nobody"):
        try:
            route = routes.route_of(tenant)
        except RoutesError:
            continue
        assert isinstance(route.endpoint, str)
    assert routes.ttl_seconds is None or time.monotonic() + routes.ttl_seconds > 0
    routes.default_route()


def _check_scores(content: bytes) -> None:
    try:
        scores = parse_scores(content)
    except ValueError:
        return
    assert all(isinstance(score, float) for score in scores)


def _check_error(content: bytes) -> None:
    fields = json.loads(readable(content))
    assert all(isinstance(value, int if name == "OriginalStatusCode" else str) for name, value in fields.items())


class _Server:
    """Answers InvokeEndpoint with the bytes of the case, then closes."""

    def __init__(self) -> None:
        self.content = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        session = boto3.Session("test", "test", region_name="eu-west-1")
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        aws = calling_clients(
            session=session,
            region=None,
            read_timeout_seconds=70,
            connections=2,
            with_appconfigdata=False,
            endpoint_url=url,
        )
        # A dedicated endpoint needs no pointer.
        routes = parse_routes(json.dumps({**ROUTES, "warm_up": {}}))
        self.client = FleetClient("fraud", "prod", aws=aws, routes=routes, sleep=lambda _seconds: None)

    def _accept(self) -> None:
        while True:
            connection = self._listener.accept()[0]
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as request:
            length = 0
            while (line := request.readline()) not in {b"", b"\r\n"}:
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            request.read(length)
            connection.sendall(self.content)


@functools.cache
def _server() -> _Server:
    return _Server()


def _check_http(content: bytes) -> None:
    server = _server()
    server.content = content
    started = time.monotonic()
    try:
        reply = server.client.invoke("m01", b"1", deadline_seconds=DEADLINE_SECONDS)
    except CallError:
        pass
    else:
        # The server closes after it: a body that was read whole is what the content ends with.
        whole = bool(reply.body) and content.endswith(reply.body)
        assert whole or b"chunked" in content.lower(), reply.body[:80]
    assert time.monotonic() - started < LATEST_SECONDS


_CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    "pointer": _check_pointer,
    "routes": _check_routes,
    "scores": _check_scores,
    "error": _check_error,
    "http": _check_http,
}

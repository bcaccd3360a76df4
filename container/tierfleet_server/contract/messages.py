"""Requests and replies, and what all paths need: a model's name, JSON replies, refusals, internal errors."""

import json
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from ..logs import logger
from ..model.refusal import Refusal

_usual_name = lru_cache(maxsize=8192)(lambda path: unquote(path.decode("ascii", "replace")))
_USUAL_NAME_BYTES = 256


@dataclass(slots=True)
class Request:
    """One HTTP request; header names are lower case."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Reply:
    """One HTTP reply; `headers` are further lines, each with CRLF, without the body's type and length."""

    status: int
    content_type: str
    body: bytes | bytearray
    headers: bytes = b""


Answer = Reply | Coroutine[Any, Any, Reply]


def json_reply(status: int, body: dict[str, Any]) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, "application/json", json.dumps(body).encode())


def refused(refusal: Refusal, request: Request, name: str | None = None, url: str | None = None) -> Reply:
    """Log a refusal and return the reply to it."""
    extra = {"model": name, "url": url, "status": refusal.status, "request_id": request_id(request)}
    logger.warning(refusal.message, extra=extra)
    body = {"code": refusal.status, "type": refusal.kind, "message": refusal.message}
    reply = json_reply(refusal.status, body)
    if refusal.headers:
        reply.headers = "".join(f"{header}: {value}\r\n" for header, value in refusal.headers.items()).encode()
    return reply


def failed(request: Request, name: str | None = None, error: BaseException | None = None) -> Reply:
    """Log an internal error with its traceback and return a reply with the request's id.

    error: the error that is being handled if it is not given.
    """
    own_id = request_id(request)
    extra = {"model": name, "status": 500, "request_id": own_id}
    logger.error("internal error", exc_info=error or True, extra=extra)
    message = f"internal error; look for request {own_id} in the log"
    return json_reply(500, {"code": 500, "type": "InternalServerError", "message": message})


def allow(request: Request, *methods: bytes) -> None:
    """Raise Refusal (405) for any other method."""
    if request.method not in methods:
        names = [method.decode() for method in methods]
        raise Refusal(
            405, f"{request.method.decode('ascii', 'replace')} is not possible here; use {' or '.join(names)}",
            headers={"allow": ", ".join(names)},
        )  # fmt: skip


def request_id(request: Request) -> str:
    """The id that the caller or the platform gave the request, or a new one."""
    for header in (b"x-amzn-sagemaker-inference-id", b"x-amzn-requestid", b"x-request-id"):
        value = request.headers.get(header)
        if value:
            return value[:128].decode("latin-1")
    return str(uuid.uuid4())


def model_name(path: bytes) -> str:
    """The decoded name. Names that callers use again and again are decoded once."""
    if len(path) <= _USUAL_NAME_BYTES:
        name: str = _usual_name(path)
        return name
    return unquote(path.decode("ascii", "replace"))  # such names would fill the cache with megabytes

"""SageMaker's container contract: which request does what, on a multi-model and on a dedicated endpoint."""

import json
import os
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np

from .cost import is_inline
from .explanation import explain
from .logs import logger
from .metrics import Metrics
from .model.booster import Explainable, Model
from .model.flat_forest import ForestModel
from .model.refusal import Refusal, shown
from .payloads.accept import JSON, Wanted, wanted
from .payloads.payload import media_type, one_plain_csv_row
from .payloads.reply import bytes_a_row, render
from .prediction import Steps, predict
from .reply_size import MAX_REPLY_BYTES
from .request_memory import RequestMemory
from .scheduler import Scheduler
from .settings import Settings
from .store import Loaded, Store

DEDICATED_MODEL = "model"
ALLOWED = "GET, HEAD, POST, DELETE, OPTIONS"  # by at least one path
# What exists between a body and its reply: texts, rows and scores, by the body's bytes and scores, and at most a block.
_TEXT_BYTES, _SCORE_BYTES, _BLOCK_BYTES = 64, 64, 3 * 1024 * 1024
_MAX_QUERY_FIELDS = 16
_INLINE_SECONDS = 0.0002
_MAX_LOAD_BODY_BYTES = 64 * 1024  # a name and a path, with room for every character as \\uXXXX
_media_type = lru_cache(maxsize=256)(media_type)
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


class Contract:
    """Answers requests. While `draining`, the health check fails so that the platform sends no new ones."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, memory: RequestMemory) -> None:
        self.draining = False
        self._settings, self._store, self._metrics, self._memory = settings, store, metrics, memory
        threads, most = settings.predict_threads, settings.max_waiting_per_model
        self._scheduler = Scheduler(threads, most_per_owner=most)
        # A step of an explanation cannot be interrupted and may take seconds, so predictions have separate threads.
        self._explainer = self._scheduler.companion("explain", max(1, threads // 2))

    def answer(self, request: Request) -> Answer:
        """The reply, or a coroutine for it if that takes long. Never raises."""
        path = request.path
        try:
            if self._settings.multi_model:
                if path.endswith(b"/invoke") and path.startswith(b"/models/") and self._is_invocation(request):
                    return self._invoke(request, _model_name(path[8:-7]))
            elif path == b"/invocations":
                return self._invoke(request, DEDICATED_MODEL)
            return self._manage(request)
        except Refusal as refusal:
            return refused(refusal, request)
        except Exception:
            return failed(request)

    def work_bytes(self, request: Request) -> int:
        """The most memory that a request needs besides its body, with its reply."""
        if not is_invocation(request) or request.method != b"POST":
            return 0
        name = _model_name(request.path[8:-7]) if self._settings.multi_model else DEDICATED_MODEL
        loaded = self._store.models.get(name)
        if loaded is None:
            return 0
        model = loaded.model
        try:
            contribs = self._wanted(request).contribs
        except Refusal:
            return 0  # the request will be refused
        least = 2 if b"libsvm" in request.headers.get(b"content-type", b"").lower() else max(1, model.features)
        rows = len(request.body) // least + 1
        built = len(request.body) * _TEXT_BYTES + rows * (model.features * 8 + model.outputs * _SCORE_BYTES)
        if contribs and isinstance(model, Explainable) and not model.explaining.refusal:
            cost = model.explaining
            reply = cost.names_bytes + rows * cost.reply_bytes_a_row
            # The model keeps its names after the first explanation.
            return min(built, _BLOCK_BYTES) + min(reply, MAX_REPLY_BYTES) + cost.work_bytes + cost.names_bytes
        reply = rows * bytes_a_row(model.outputs)
        return min(built, _BLOCK_BYTES) + min(reply, MAX_REPLY_BYTES)

    def _wanted(self, request: Request) -> Wanted:
        """The reply format that Accept asks for; raises Refusal (406)."""
        return wanted(request.headers.get(b"accept", b"").decode("latin-1"), self._settings.default_accept)

    def _is_invocation(self, request: Request) -> bool:
        """Whether /models/.../invoke invokes a model rather than names a model that ends in `/invoke`.

        `/models/invoke` is the model `invoke`; GET and DELETE of `/models/x/invoke` are for a model of the name
        `x/invoke` if it exists. `/models/x%2Finvoke` is that model for every method.
        """
        if len(request.path) <= len(b"/models/invoke"):
            return False
        return request.method == b"POST" or _model_name(request.path[8:]) not in self._store.models

    def _manage(self, request: Request) -> Answer:
        path = request.path
        if path == b"*":
            return Reply(200, "text/plain", b"", b"allow: %s\r\n" % ALLOWED.encode())
        if path == b"/ping":
            _allow(request, b"GET", b"HEAD")
            return self._ping()
        if path == b"/metrics":
            _allow(request, b"GET", b"HEAD")
            return self._scrape()
        if self._settings.multi_model and path == b"/models":
            if request.method == b"POST":
                return self._load(request)
            _allow(request, b"GET", b"HEAD", b"POST")
            return self._list(request)
        if self._settings.multi_model and path.startswith(b"/models/"):
            name = _model_name(path[8:])
            if request.method == b"DELETE":
                return self._unload(name, request)
            _allow(request, b"GET", b"HEAD", b"DELETE")
            return _json(200, _described(self._store.get(name)))
        paths = (
            "/ping, /metrics, /models, /models/{name}, /models/{name}/invoke"
            if self._settings.multi_model
            else "/ping, /metrics, /invocations"
        )
        raise Refusal(404, f"no such path {shown(path.decode('ascii', 'replace'))}; there are {paths}")

    def _ping(self) -> Reply:
        if self.draining:
            return _json(503, {"status": "Draining"})
        if not self._settings.multi_model and DEDICATED_MODEL not in self._store.models:
            return _json(503, {"status": "Loading"})
        return _json(200, {"status": "Healthy"})

    def _scrape(self) -> Reply:
        store = self._store
        text = self._metrics.render(
            models=store.by_form(),
            used_bytes=store.used_bytes(),
            budget_bytes=store.budget_bytes,
            full=store.full,
            requests=self._memory,
            scheduler=self._scheduler,
            explainer=self._explainer,
        )
        return Reply(200, "text/plain; version=0.0.4; charset=utf-8", text)

    def _list(self, request: Request) -> Reply:
        try:
            query = parse_qs(request.query.decode("ascii", "replace"), max_num_fields=_MAX_QUERY_FIELDS)
        except ValueError:
            raise Refusal(
                400, f"the query has more than {_MAX_QUERY_FIELDS} fields; send limit and next_page_token"
            ) from None
        limit = query.get("limit", ["100"])[0]
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= 10_000:
            raise Refusal(400, f"limit is {shown(limit)}; it must be a whole number from 1 to 10000")
        page, following = self._store.page(query.get("next_page_token", [""])[0], int(limit))
        listed: dict[str, object] = {"models": [{"modelName": loaded.name, "modelUrl": loaded.url} for loaded in page]}
        if following is not None:
            listed["nextPageToken"] = following
        return _json(200, listed)

    async def _load(self, request: Request) -> Reply:
        name = url = None
        try:
            name, url = _load_request(request.body)
            await self._store.load(name, url)
            reply = _json(200, {"status": f"Model {name} loaded"})
        except Refusal as refusal:
            reply = refused(refusal, request, name, url)
        except Exception:
            reply = failed(request, name)
        self._metrics.loads[reply.status] += 1
        return reply

    async def _unload(self, name: str, request: Request) -> Reply:
        try:
            await self._store.unload(name)
        except Refusal as refusal:
            return refused(refusal, request, name)
        except Exception:
            return failed(request, name)
        self._metrics.unloads += 1
        logger.info("unloaded", extra={"model": name, "request_id": _request_id(request)})
        return _json(200, {"status": f"Model {name} unloaded"})

    def _invoke(self, request: Request, name: str) -> Answer:
        started = time.perf_counter()
        end = time.monotonic() + float(self._settings.invocation_timeout_seconds)
        try:
            _allow(request, b"POST")
            model = self._model(name)
            body = request.body
            accept, contribs = self._wanted(request)
            content_type = _media_type(request.headers.get(b"content-type", b""))
            if contribs:
                return self._explain(request, name, model, content_type, started, end)
            if is_inline(body, content_type, model):
                result = _plain_csv_row(body, content_type, accept, model)
                if result is None:
                    steps = predict(body, content_type, accept, model, end=end, now=True)
                    with np.errstate(over="ignore"):
                        result = _begin(steps)
                if result is not None:
                    self._scheduler.reserve_a_processor()
                    return self._count(Reply(200, accept, result), request, name, started)
                return self._invoke_in_turn(request, name, accept, steps, started)
        except Refusal as refusal:
            return self._count(refused(refusal, request, name), request, name, started)
        except MemoryError:
            return self._count(refused(_no_memory(), request, name), request, name, started)
        except Exception:
            return self._count(failed(request, name), request, name, started)
        steps = predict(body, content_type, accept, model, end=end)
        return self._invoke_in_turn(request, name, accept, steps, started)

    def _explain(
        self, request: Request, name: str, model: Model, content_type: str, started: float, end: float
    ) -> Answer:
        try:
            steps = explain(request.body, content_type, _explainable(model), end=end)
        except Refusal as refusal:
            return self._count_explained(refused(refusal, request, name), request, name, started)
        return self._explain_in_turn(request, name, steps, started)

    async def _explain_in_turn(self, request: Request, name: str, steps: Steps, started: float) -> Reply:
        reply = await self._in_turn(self._explainer, request, name, JSON, steps)
        return self._count_explained(reply, request, name, started)

    def _count_explained(self, reply: Reply, request: Request, name: str, started: float) -> Reply:
        self._metrics.explained(reply.status, time.perf_counter() - started)
        return self._count(reply, request, name, started)

    async def _invoke_in_turn(self, request: Request, name: str, accept: str, steps: Steps, started: float) -> Reply:
        return self._count(await self._in_turn(self._scheduler, request, name, accept, steps), request, name, started)

    async def _in_turn(self, scheduler: Scheduler, request: Request, name: str, accept: str, steps: Steps) -> Reply:
        outcome = await scheduler.run(name, steps, float(self._settings.invocation_timeout_seconds))
        if isinstance(outcome, Refusal):
            return refused(outcome, request, name)
        if isinstance(outcome, MemoryError):
            return refused(_no_memory(), request, name)
        if isinstance(outcome, BaseException):
            return failed(request, name, outcome)
        return Reply(200, accept, outcome)

    def _model(self, name: str) -> Model:
        if not self._settings.multi_model and DEDICATED_MODEL not in self._store.models:
            raise Refusal(503, "the model is still loading; wait until /ping answers 200")
        return self._store.get(name).model

    def _count(self, reply: Reply, request: Request, name: str, started: float) -> Reply:
        seconds = time.perf_counter() - started
        self._metrics.invoked(reply.status, seconds)
        if self._settings.access_log:
            extra = {"model": name, "status": reply.status, "seconds": round(seconds, 6)}
            logger.info("invoked", extra={**extra, "request_id": _request_id(request)})
        return reply


def is_invocation(request: Request) -> bool:
    """Whether the answer can be dropped when the client has gone: true for predictions, false for loads."""
    return request.path == b"/invocations" or request.path.endswith(b"/invoke")


def memory_owner(path: bytes) -> bytes:
    """The owner of a request's memory: requests to one model share it; `b""` if there is nothing to share."""
    return path if path.endswith(b"/invoke") else b""


def _model_name(path: bytes) -> str:
    if len(path) <= _USUAL_NAME_BYTES:
        name: str = _usual_name(path)
        return name
    return unquote(path.decode("ascii", "replace"))  # such names would fill the cache with megabytes


def _explainable(model: Model) -> Explainable:
    """The model if it has contributions; raises Refusal (406)."""
    if not isinstance(model, Explainable):
        raise Refusal(406, f"a model of this kind has no contributions; ask for {JSON} without contribs")
    if model.explaining.refusal:
        raise Refusal(406, model.explaining.refusal)
    return model


def _no_memory() -> Refusal:
    return Refusal(507, "no memory for this request; send a smaller batch")


def _plain_csv_row(body: bytes, content_type: str, accept: str, model: Model) -> bytes | bytearray | None:
    """The reply to one plain csv row; None for any other request."""
    if content_type != "text/csv" or model.preprocessing:
        return None
    if accept == "text/csv" and isinstance(model, ForestModel):
        reply = model.predict_csv(body)
        if reply is not None:
            return reply
    rows = one_plain_csv_row(body, model)
    return None if rows is None else render(model.predict_now(rows), 1, accept)


def _begin(steps: Steps) -> bytes | bytearray | None:
    """Do steps for as long as a small request takes: their result, or None if steps remain.

    A body's size does not say what it holds besides rows, so a thread does the rest of an unusual one.
    """
    scores, end = None, time.perf_counter() + _INLINE_SECONDS
    try:
        while True:
            call = steps.send(scores)
            scores = call() if call is not None else None
            if call is None and time.perf_counter() > end:
                return None
    except StopIteration as done:
        result: bytes | bytearray = done.value
        return result


def refused(refusal: Refusal, request: Request, name: str | None = None, url: str | None = None) -> Reply:
    """Log a refusal and return the reply to it."""
    extra = {"model": name, "url": url, "status": refusal.status, "request_id": _request_id(request)}
    logger.warning(refusal.message, extra=extra)
    body = {"code": refusal.status, "type": refusal.kind, "message": refusal.message}
    reply = _json(refusal.status, body)
    if refusal.headers:
        reply.headers = "".join(f"{header}: {value}\r\n" for header, value in refusal.headers.items()).encode()
    return reply


def failed(request: Request, name: str | None = None, error: BaseException | None = None) -> Reply:
    """Log an internal error with its traceback and return a reply with the request's id.

    error: the error that is being handled if it is not given.
    """
    request_id = _request_id(request)
    extra = {"model": name, "status": 500, "request_id": request_id}
    logger.error("internal error", exc_info=error or True, extra=extra)
    message = f"internal error; look for request {request_id} in the log"
    return _json(500, {"code": 500, "type": "InternalServerError", "message": message})


def _load_request(body: bytes) -> tuple[str, str]:
    try:
        asked = json.loads(body) if len(body) <= _MAX_LOAD_BODY_BYTES else None
    except (ValueError, RecursionError):
        asked = None
    if isinstance(asked, dict):
        name, url = asked.get("model_name"), asked.get("url")
        named = isinstance(name, str) and 0 < len(name) <= 1024 and name.isprintable()
        if named and isinstance(url, str) and _is_path(url):
            return str(name), url
    raise Refusal(
        400, f'the load request is {shown(body)}; send {{"model_name": "...", "url": "/opt/ml/models/..."}}'
        ", the name printable and at most 1024 characters long",
    )  # fmt: skip


def _is_path(url: str) -> bool:
    try:
        return b"\0" not in os.fsencode(url) and url != ""
    except UnicodeEncodeError:
        return False


def _described(loaded: Loaded) -> dict[str, object]:
    return {
        "modelName": loaded.name,
        "modelUrl": loaded.url,
        "features": loaded.model.features,
        "form": loaded.model.form,
        "sizeBytes": loaded.size_bytes,
        "loadSeconds": round(loaded.load_seconds, 4),
        "outputs": loaded.model.outputs,
        "contribs": _contribs_described(loaded.model),
    }


def _contribs_described(model: Model) -> dict[str, object]:
    try:
        cost = _explainable(model).explaining
    except Refusal as refusal:
        return {"available": False, "why": refusal.message}
    return {"available": True, "secondsPerRow": float(f"{cost.seconds_a_row:.2g}")}


def _allow(request: Request, *methods: bytes) -> None:
    if request.method not in methods:
        names = [method.decode() for method in methods]
        raise Refusal(
            405, f"{request.method.decode('ascii', 'replace')} is not possible here; use {' or '.join(names)}",
            headers={"allow": ", ".join(names)},
        )  # fmt: skip


def _request_id(request: Request) -> str:
    for header in (b"x-amzn-sagemaker-inference-id", b"x-amzn-requestid", b"x-request-id"):
        value = request.headers.get(header)
        if value:
            return value[:128].decode("latin-1")
    return str(uuid.uuid4())


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(status, "application/json", json.dumps(body).encode())

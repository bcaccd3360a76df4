"""Invocations: one row at once in the event loop, everything else in turn in threads."""

import time
from functools import lru_cache

import numpy as np

from ..cost import is_inline
from ..explanation import explain
from ..logs import logger
from ..metrics import Metrics
from ..model.booster import Explainable, Model
from ..model.flat_forest import ForestModel
from ..model.refusal import Refusal
from ..payloads.accept import JSON, Wanted, wanted
from ..payloads.payload import media_type, one_plain_csv_row
from ..payloads.reply import bytes_a_row, render
from ..prediction import Steps, predict
from ..reply_size import MAX_REPLY_BYTES
from ..scheduler import Scheduler
from ..settings import Settings
from ..store import Store
from .messages import Answer, Reply, Request, allow, failed, refused, request_id

DEDICATED_MODEL = "model"
# What exists between a body and its reply: texts, rows and scores, by the body's bytes and scores, and at most a block.
_TEXT_BYTES, _SCORE_BYTES, _BLOCK_BYTES = 64, 64, 3 * 1024 * 1024
_INLINE_SECONDS = 0.0002
_media_type = lru_cache(maxsize=256)(media_type)


class Invocations:
    """Predictions and explanations, with separate threads: a step of an explanation may take seconds."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        threads, most = settings.predict_threads, settings.max_waiting_per_model
        self.scheduler = Scheduler(threads, most_per_owner=most)
        # A step cannot be interrupted.
        self.explainer = self.scheduler.companion("explain", max(1, threads // 2))

    def invoke(self, request: Request, name: str) -> Answer:
        """The reply, or a coroutine for it if that takes long. Never raises."""
        started = time.perf_counter()
        end = time.monotonic() + float(self._settings.invocation_timeout_seconds)
        try:
            allow(request, b"POST")
            model = self._model(name)
            body = request.body
            accept, contribs = self._wanted(request)
            content_type = _media_type(request.headers.get(b"content-type", b""))
            if contribs:
                return self._explain(request, name, model, content_type, started, end)
            # A hand-over to a thread takes longer than a small prediction.
            if is_inline(body, content_type, model):
                result = _plain_csv_row(body, content_type, accept, model)
                if result is None:
                    steps = predict(body, content_type, accept, model, end=end, now=True)
                    with np.errstate(over="ignore"):
                        result = _begin(steps)
                if result is not None:
                    self.scheduler.reserve_a_processor()
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

    def work_bytes(self, request: Request, name: str) -> int:
        """The most memory that a request needs besides its body, with its reply."""
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
        # Rows exist block by block, while the whole reply exists at its end.
        reply = rows * bytes_a_row(model.outputs)
        return min(built, _BLOCK_BYTES) + min(reply, MAX_REPLY_BYTES)

    def _wanted(self, request: Request) -> Wanted:
        """The reply format that Accept asks for; raises Refusal (406)."""
        return wanted(request.headers.get(b"accept", b"").decode("latin-1"), self._settings.default_accept)

    def _explain(
        self, request: Request, name: str, model: Model, content_type: str, started: float, end: float
    ) -> Answer:
        try:
            steps = explain(request.body, content_type, explainable(model), end=end)
        except Refusal as refusal:
            return self._count_explained(refused(refusal, request, name), request, name, started)
        return self._explain_in_turn(request, name, steps, started)

    async def _explain_in_turn(self, request: Request, name: str, steps: Steps, started: float) -> Reply:
        reply = await self._in_turn(self.explainer, request, name, JSON, steps)
        return self._count_explained(reply, request, name, started)

    def _count_explained(self, reply: Reply, request: Request, name: str, started: float) -> Reply:
        self._metrics.explained(reply.status, time.perf_counter() - started)
        return self._count(reply, request, name, started)

    async def _invoke_in_turn(self, request: Request, name: str, accept: str, steps: Steps, started: float) -> Reply:
        return self._count(await self._in_turn(self.scheduler, request, name, accept, steps), request, name, started)

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
            logger.info("invoked", extra={**extra, "request_id": request_id(request)})
        return reply


def explainable(model: Model) -> Explainable:
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

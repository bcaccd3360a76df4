"""Health, metrics, and the models of a multi-model endpoint: list, describe, load, unload."""

import json
import os
from urllib.parse import parse_qs

from ..logs import logger
from ..metrics import Metrics
from ..model.booster import Model
from ..model.refusal import Refusal, shown
from ..request_memory import RequestMemory
from ..settings import Settings
from ..store import Loaded, Store
from .invocations import DEDICATED_MODEL, Invocations, explainable
from .messages import Answer, Reply, Request, allow, failed, json_reply, model_name, refused, request_id

ALLOWED = "GET, HEAD, POST, DELETE, OPTIONS"  # by at least one path
_MAX_QUERY_FIELDS = 16
_MAX_LOAD_BODY_BYTES = 64 * 1024  # a name and a path, with room for every character as \\uXXXX


class Management:
    """Answers every path but those of invocations. While `draining`, the health check fails."""

    def __init__(
        self, settings: Settings, store: Store, metrics: Metrics, memory: RequestMemory, invocations: Invocations
    ) -> None:
        self.draining = False
        self._settings, self._store, self._metrics, self._memory = settings, store, metrics, memory
        self._invocations = invocations

    def answer(self, request: Request) -> Answer:
        """The reply, or a coroutine for it. Raises Refusal."""
        path = request.path
        if path == b"*":
            return Reply(200, "text/plain", b"", b"allow: %s\r\n" % ALLOWED.encode())
        if path == b"/ping":
            allow(request, b"GET", b"HEAD")
            return self._ping()
        if path == b"/metrics":
            allow(request, b"GET", b"HEAD")
            return self._scrape()
        if self._settings.multi_model and path == b"/models":
            if request.method == b"POST":
                return self._load(request)
            allow(request, b"GET", b"HEAD", b"POST")
            return self._list(request)
        if self._settings.multi_model and path.startswith(b"/models/"):
            name = model_name(path[8:])
            if request.method == b"DELETE":
                return self._unload(name, request)
            allow(request, b"GET", b"HEAD", b"DELETE")
            return json_reply(200, _described(self._store.get(name)))
        paths = (
            "/ping, /metrics, /models, /models/{name}, /models/{name}/invoke"
            if self._settings.multi_model
            else "/ping, /metrics, /invocations"
        )
        raise Refusal(404, f"no such path {shown(path.decode('ascii', 'replace'))}; there are {paths}")

    def _ping(self) -> Reply:
        if self.draining:
            return json_reply(503, {"status": "Draining"})
        if not self._settings.multi_model and DEDICATED_MODEL not in self._store.models:
            return json_reply(503, {"status": "Loading"})
        return json_reply(200, {"status": "Healthy"})

    def _scrape(self) -> Reply:
        store = self._store
        text = self._metrics.render(
            models=store.by_form(),
            used_bytes=store.used_bytes(),
            budget_bytes=store.budget_bytes,
            full=store.full,
            requests=self._memory,
            scheduler=self._invocations.scheduler,
            explainer=self._invocations.explainer,
        )
        return Reply(200, "text/plain; version=0.0.4; charset=utf-8", text)

    def _list(self, request: Request) -> Reply:
        try:
            query = parse_qs(request.query.decode("ascii", "replace"), max_num_fields=_MAX_QUERY_FIELDS)
        except ValueError:
            raise Refusal(
                400, f"the query has more than {_MAX_QUERY_FIELDS} fields; send limit and next_page_token"
            ) from None
        # 100 is the default of Multi Model Server, whose API SageMaker expects.
        limit = query.get("limit", ["100"])[0]
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= 10_000:
            raise Refusal(400, f"limit is {shown(limit)}; it must be a whole number from 1 to 10000")
        page, following = self._store.page(query.get("next_page_token", [""])[0], int(limit))
        listed: dict[str, object] = {"models": [{"modelName": loaded.name, "modelUrl": loaded.url} for loaded in page]}
        if following is not None:
            listed["nextPageToken"] = following
        return json_reply(200, listed)

    async def _load(self, request: Request) -> Reply:
        name = url = None
        try:
            name, url = _load_request(request.body)
            await self._store.load(name, url)
            reply = json_reply(200, {"status": f"Model {name} loaded"})
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
        logger.info("unloaded", extra={"model": name, "request_id": request_id(request)})
        return json_reply(200, {"status": f"Model {name} unloaded"})


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
        cost = explainable(model).explaining
    except Refusal as refusal:
        return {"available": False, "why": refusal.message}
    return {"available": True, "secondsPerRow": float(f"{cost.seconds_a_row:.2g}")}

"""Explains one call: its route, the model it named, how long each step took, and whether the model was in memory."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from tierfleet.runtime.client.api_trace import ApiTrace, TracedRequest
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.reply import Reply
from tierfleet.runtime.hosting import SHAPES, HostingShape
from tierfleet.runtime.route_document import RouteDocument, RoutesError

# The stock XGBoost image loads a small model in 1.9 s, the dense server a 44 MB model in 0.1 s (docs/container.md). A
# first call also opens a connection.
COLD_FROM_SECONDS: Final = 0.5
WARM_TO_SECONDS: Final = 0.1

INVOKE: Final = "InvokeEndpoint"
_TARGET_MODEL_HEADER: Final = "X-Amzn-SageMaker-Target-Model"


class CacheState(StrEnum):
    """Whether the model was in the memory of the instance that answered."""

    IN_MEMORY = "in memory"
    LOADED = "loaded for this call"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A call and, if it was answered, a second one right after it."""

    tenant: str

    why: str
    """The route, in one sentence."""

    target_model: str | None
    """The key that the call named; None on a dedicated endpoint."""

    cache: CacheState
    """A guess from the times of both calls, unless the platform knows it."""

    cache_why: str

    requests: tuple[TracedRequest, ...]
    """The requests of the first call."""

    first: Reply | None
    """None if the call failed."""

    repeat: Reply | None
    """None if a call failed."""

    error: CallError | None
    """Why the first call failed."""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, ready for json.dumps; times in seconds."""
        return {
            "tenant": self.tenant,
            "why": self.why,
            "target_model": self.target_model,
            "cache": {"state": self.cache.value, "why": self.cache_why},
            "requests": [asdict(request) for request in self.requests],
            "first": reply_json(self.first) if self.first else None,
            "repeat": reply_json(self.repeat) if self.repeat else None,
            "error": str(self.error) if self.error else None,
        }


def reply_json(reply: Reply) -> dict[str, Any]:
    """A reply as plain data: its predictions, or its body as text if it has no readable predictions."""
    try:
        content: dict[str, Any] = {"predictions": reply.predictions}
    except ValueError:
        content = {"body": reply.body.decode("utf-8", "replace")}
    return {**content, **where_json(reply)}


def where_json(reply: Reply) -> dict[str, Any]:
    """The route, attempts and timings of a reply, as plain data."""
    return {
        "content_type": reply.content_type,
        "tenant": reply.tenant,
        "tier": reply.tier,
        "endpoint": reply.endpoint,
        **({"container": reply.container} if reply.container else {}),
        "fell_back": reply.fell_back,
        "model_version": reply.model_version,
        "pointer": reply.pointer.value if reply.pointer else None,
        "attempts": reply.attempts,
        "timings": asdict(reply.timings),
    }


def explain(
    invoke: Callable[[], Reply],
    *,
    tenant: str,
    routes: RouteDocument,
    trace: ApiTrace,
    in_memory: Callable[[str, str], bool | None] = lambda _endpoint, _target_model: None,
) -> Explanation:
    """Call twice and explain the first call.

    invoke: makes one call of the tenant with a client that `trace` watches. routes: the deployed ones.
    in_memory: whether an instance of (endpoint, target model) had the model before the call; None if unknown.
    """
    trace.take()
    first, error = _attempt(invoke)
    requests = tuple(trace.take())
    # SageMaker does not say whether a call loaded its model: only a second one, which finds it loaded, can tell.
    repeat = _attempt(invoke)[0] if first else None
    target_model = next(
        (request.sent.get(_TARGET_MODEL_HEADER) for request in reversed(requests) if request.operation == INVOKE), None
    )
    cache, cache_why = _cache_state(first, repeat, requests, target_model, in_memory, _shape(first, routes))
    return Explanation(
        tenant=tenant,
        why=_why(tenant, routes, first),
        target_model=target_model,
        cache=cache,
        cache_why=cache_why,
        requests=requests,
        first=first,
        repeat=repeat,
        error=error,
    )


def _attempt(invoke: Callable[[], Reply]) -> tuple[Reply | None, CallError | None]:
    try:
        return invoke(), None
    except CallError as error:
        return None, error


def _why(tenant: str, routes: RouteDocument, reply: Reply | None) -> str:
    listed = routes.tenants.get(tenant)
    tier = routes.tier_of(tenant)
    if listed is None:
        sentence = f"{tenant} is not listed in the routes, so it is on the default tier {tier}"
    else:
        sentence = f"{tenant} is listed in the routes on tier {tier}"
    try:
        route = routes.route_of(tenant)
    except RoutesError as error:
        return f"{sentence}: {error}"
    hosting = route.shape.hosting
    sentence += f", with {'an' if hosting[0] in 'aeiou' else 'a'} {hosting} endpoint"
    if reply is not None and reply.fell_back:
        return f"{sentence}; that endpoint does not exist, so the default tier answered"
    if reply is not None and reply.endpoint != route.endpoint:
        return f"{sentence}; the routes changed in the meantime"
    return sentence


def _shape(reply: Reply | None, routes: RouteDocument) -> HostingShape | None:
    """How the endpoint that answered is hosted, as far as these routes know it."""
    tier = routes.tiers.get(reply.tier) if reply is not None else None
    if tier is None:
        return None
    shape = SHAPES[tier.hosting]
    # A pipeline that all tenants of its tier share loads models when they are called.
    return replace(shape, always_in_memory=False) if tier.shared else shape


def _cache_state(
    first: Reply | None,
    repeat: Reply | None,
    requests: Sequence[TracedRequest],
    target_model: str | None,
    in_memory: Callable[[str, str], bool | None],
    shape: HostingShape | None,
) -> tuple[CacheState, str]:
    if first is None:
        return CacheState.UNKNOWN, "the call was not answered"
    if shape is not None and shape.always_in_memory:
        return CacheState.IN_MEMORY, f"a {shape.hosting} endpoint always has its model in memory"
    said = in_memory(first.endpoint, target_model) if target_model is not None else None
    if said is not None:
        state = CacheState.IN_MEMORY if said else CacheState.LOADED
        return state, f"before the call {'an' if said else 'no'} instance had it in memory, as the local emulator knows"
    if any(request.operation == INVOKE and request.status == 429 for request in requests):
        return CacheState.LOADED, "SageMaker answered an attempt with: the model is still loading"
    if repeat is None:
        return CacheState.UNKNOWN, "there is no second reply to compare with"
    slower = first.timings.calling_seconds - repeat.timings.calling_seconds
    times = f"{first.timings.calling_seconds * 1000:.0f} ms, then {repeat.timings.calling_seconds * 1000:.0f} ms"
    if slower >= COLD_FROM_SECONDS:
        return CacheState.LOADED, f"a guess from the times of two calls: {times}"
    if slower <= WARM_TO_SECONDS:
        return CacheState.IN_MEMORY, f"a guess from the times of two calls: {times}; a very fast load looks the same"
    return CacheState.UNKNOWN, f"two calls took {times}: a fast load, or a new connection"

"""Checks the arguments of a call before it asks AWS."""

import difflib
import math
import re
from typing import Final

from tierfleet.runtime import names
from tierfleet.runtime.client.errors import RequestInvalidError
from tierfleet.runtime.hosting import HostingShape
from tierfleet.runtime.hosting.multi_container import PRIMARY, is_hostname
from tierfleet.runtime.route_document import Route

TENANT: Final = re.compile(names.WORD_PATTERN)
# A larger integer does not fit a float.
MOST_SECONDS: Final = 10**300
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# InvokeEndpoint's own limit of ContentType and Accept, which travel as HTTP headers.
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")


def check_request(
    tenant: object,
    body: object,
    content_type: object,
    accept: object,
    seconds: object,
    container: object = None,
) -> None:
    """Raises RequestInvalidError if the arguments are invalid, whatever the fleet has deployed."""
    wrong = []
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        wrong.append(f"{_shown(tenant)} is not a tenant id, allowed: {names.WORD_PATTERN}")
    if not isinstance(body, bytes | bytearray | str):
        wrong.append(f"the body is a {type(body).__name__}, allowed: bytes")
    elif isinstance(body, str) and _LONE_SURROGATE.search(body):
        wrong.append("the body is a text with half of a surrogate pair, which UTF-8 does not have, allowed: bytes")
    for name, value in (("content_type", content_type), ("accept", accept)):
        if name == "content_type" and value is None:
            continue
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            wrong.append(f"{name} is {_shown(value)}, allowed: 1 to 1,024 printable ASCII characters")
    if container is not None and not is_hostname(container):
        wrong.append(f"container is {_shown(container)}, allowed: the hostname of a container, or {PRIMARY}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds <= math.inf:
        wrong.append(f"deadline_seconds is {_shown(seconds)}, allowed: a number")
    elif isinstance(seconds, int) and abs(seconds) > MOST_SECONDS:
        wrong.append(f"deadline_seconds is too large, allowed: at most {MOST_SECONDS:g}")
    if wrong:
        who = tenant if isinstance(tenant, str) else _shown(tenant)
        raise RequestInvalidError(f"{'; '.join(wrong)}; correct the request", tenant=who[:80])


def check_answers_calls(route: Route, *, tenant: str) -> None:
    """Raises RequestInvalidError for a tenant whose endpoint only takes requests into a queue."""
    if not route.shape.request_response:
        raise RequestInvalidError(
            f"tenant {tenant} on endpoint {route.endpoint}: an asynchronous endpoint answers no calls; use submit and "
            "result (docs/async.md), or host the tenant on another tier",
            tenant=tenant,
            endpoint=route.endpoint,
        )


def container_to_call(route: Route, named: str | None, *, tenant: str) -> str | None:
    """The hostname that a call sends, None to an endpoint that takes none.

    Raises RequestInvalidError where a multi-container endpoint's call names no container or an unknown one, and where
    another endpoint's call names one. `primary` is allowed everywhere: it is the only model of the other endpoints.
    """
    if not route.shape.names_container:
        if named in (None, PRIMARY):
            return None
        raise RequestInvalidError(
            f"tenant {tenant}: its {route.shape.hosting} endpoint has no containers, and the call names "
            f"{_shown(named)}; leave container out, or give {PRIMARY!r}, which works before and after a move",
            tenant=tenant,
            endpoint=route.endpoint,
        )
    if named in route.containers:
        return named
    if named == PRIMARY:
        return route.primary
    containers = list(route.containers)
    allowed = f"allowed: {', '.join(containers)}, or {PRIMARY} for {route.primary}"
    if named is None:
        message = f"its endpoint has {len(containers)} containers, and the call names none, {allowed}; give container="
    else:
        near = difflib.get_close_matches(named, containers, n=1)
        remedy = f"did you mean {near[0]}?" if near else "correct container="
        message = f"its endpoint has no container {_shown(named)}, {allowed}; {remedy}"
    raise RequestInvalidError(f"tenant {tenant}: {message}", tenant=tenant, endpoint=route.endpoint)


def check_body_size(body: bytes | str, shape: HostingShape, *, tenant: str) -> None:
    """Raises RequestInvalidError for a body that the hosting shape cannot take."""
    most = shape.max_body_bytes
    if most is None:
        return
    size = len(body.encode()) if isinstance(body, str) else len(body)
    if size > most:
        raise RequestInvalidError(
            f"tenant {tenant}: the body has {size:,} bytes, a {shape.hosting} endpoint takes {most:,} "
            f"({most // 2**20} MB); send fewer rows a call, or host the tenant on a dedicated or multi-model tier",
            tenant=tenant,
        )


def _shown(value: object) -> str:
    """The start of a value, for a message."""
    try:
        return repr(value)[:80]
    except Exception:
        return f"a {type(value).__name__}"

"""Checks the arguments of a call before it asks AWS."""

import math
import re
from collections.abc import Sequence
from typing import Final

from tierfleet.runtime import names
from tierfleet.runtime.client.errors import RequestInvalidError
from tierfleet.runtime.client.submission import Submission
from tierfleet.runtime.hosting import HostingShape
from tierfleet.runtime.route_document import Route

TENANT: Final = re.compile(names.WORD_PATTERN)
# A larger integer does not fit a float.
_MOST_SECONDS: Final = 10**300
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")


def check_request(tenant: object, body: object, content_type: object, accept: object, seconds: object) -> None:
    """Raises RequestInvalidError if the arguments are invalid, whatever the fleet has deployed."""
    wrong = []
    if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
        wrong.append(f"{_shown(tenant)} is not a tenant id, allowed: {names.WORD_PATTERN}")
    if not isinstance(body, bytes | bytearray | str):
        wrong.append(f"the body is a {type(body).__name__}, allowed: bytes")
    for name, value in (("content_type", content_type), ("accept", accept)):
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            wrong.append(f"{name} is {_shown(value)}, allowed: 1 to 1,024 printable ASCII characters")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds <= math.inf:
        wrong.append(f"deadline_seconds is {_shown(seconds)}, allowed: a number")
    elif isinstance(seconds, int) and abs(seconds) > _MOST_SECONDS:
        wrong.append(f"deadline_seconds is too large, allowed: at most {_MOST_SECONDS:g}")
    if wrong:
        who = tenant if isinstance(tenant, str) else _shown(tenant)
        raise RequestInvalidError(f"{'; '.join(wrong)}; correct the request", tenant=who[:80])


def check_submissions(submissions: object, timeout_seconds: object) -> None:
    """Raises RequestInvalidError for anything but a sequence of submissions and a number of seconds."""
    wrong = []
    if not isinstance(submissions, Sequence) or not all(isinstance(item, Submission) for item in submissions):
        wrong.append(f"submissions is {_shown(submissions)}, allowed: what submit returned")
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float) or not timeout_seconds > 0:
        wrong.append(f"timeout_seconds is {_shown(timeout_seconds)}, allowed: a number above 0")
    if wrong:
        raise RequestInvalidError(f"{'; '.join(wrong)}; correct the request", tenant="-")


def check_answers_calls(route: Route, *, tenant: str) -> None:
    """Raises RequestInvalidError for a tenant whose endpoint only takes requests into a queue."""
    if not route.shape.request_response:
        raise RequestInvalidError(
            f"tenant {tenant} on endpoint {route.endpoint}: an asynchronous endpoint answers no calls; use submit and "
            "result (docs/async.md), or host the tenant on another tier",
            tenant=tenant,
            endpoint=route.endpoint,
        )


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

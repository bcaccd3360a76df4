"""The local emulator's own paths, under /_tierfleet/: its clock, its event log, its faults."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import router

from local_cloud import emulator, ticker
from local_cloud.core import early_start, event_log
from local_cloud.core.clock import clock
from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.link import DataPlaneError
from local_cloud.services import lambda_functions
from local_cloud.services.cloudwatch import alarm_evaluation
from local_cloud.services.sagemaker import events as sagemaker_events
from local_cloud.services.sagemaker import resource_types, serving
from local_cloud.services.sagemaker.model_servers import ModelServers
from local_cloud.services.stacks import cancel as stack_cancel
from local_cloud.services.stacks import early_start as stack_early_start

_PREFIX = "/_tierfleet/"
_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024
_AWS_JSON = b"application/x-amz-json-1.1"
_MOST_SECONDS = 10 * 365 * 86_400.0
_MOST_EVENTS = 100
_MOST_DELAY_SECONDS = 3600.0
_DATA_PLANE_FAULTS = ("s3_failing", "disk_full", "slow_model_server", "failing_model_server", "throttled")
Answer = dict[str, Any] | list[dict[str, Any]]


def application(stop: asyncio.Event) -> Callable[..., Any]:
    """The ASGI application: our few paths, and ministack for everything else."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app.app(scope, receive, send)
        elif scope["path"].startswith(_PREFIX):
            status, answer = await _admin(scope, receive, stop)
            await _send(send, status, answer, b"application/json")
        elif problem := _problem(dict(scope["headers"])):
            await _send(send, problem.status, {"__type": problem.code, "message": problem.message}, _AWS_JSON)
        else:
            await app.app(scope, receive, send)

    return serve


async def _admin(scope: Any, receive: Any, stop: asyncio.Event) -> tuple[int, Answer]:
    """Answer a request to one of our own paths. An invalid request is answered with a sentence."""
    try:
        body = await _body(receive)
        query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
        request = json.loads(body or b"{}")
        if not isinstance(request, dict):
            return 400, {"message": f"the body must be a JSON object, got {type(request).__name__}"}
        return await _answer(scope["path"].removeprefix(_PREFIX), scope["method"], query, request, stop)
    except (ValueError, TypeError, RecursionError) as error:
        return 400, {"message": f"{error}"[:1000]}
    except Exception as error:
        app.logger.exception("%s failed", scope["path"])
        return 500, {"message": f"{type(error).__name__}: {error}"[:1000]}


async def _body(receive: Any) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > _LARGEST_REQUEST_BYTES:
            raise ValueError(f"the body is larger than {_LARGEST_REQUEST_BYTES} bytes")
        if not message.get("more_body"):
            break
    return body


def _problem(headers: dict[bytes, bytes]) -> ServiceError | None:
    """The error for a request in AWS's JSON protocol that is too large, or for a service that is not emulated."""
    target = headers.get(b"x-amz-target", b"").decode("latin-1")
    if not target:
        return None
    if int(headers.get(b"content-length", b"0")) > _LARGEST_REQUEST_BYTES:
        return ServiceError("RequestEntityTooLargeException", f"more than {_LARGEST_REQUEST_BYTES} bytes", status=413)
    known = [prefix for patterns in router.SERVICE_PATTERNS.values() for prefix in patterns.get("target_prefixes", [])]
    if target.startswith(tuple(known)):
        return None
    return ServiceError(
        "UnknownOperationException", f"the local emulator has no service with the operation {target[:200]!r}"
    )


async def _send(send: Any, status: int, answer: Answer, content_type: bytes) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(
    name: str, method: str, query: dict[str, str], request: dict[str, Any], stop: asyncio.Event
) -> tuple[int, Answer]:
    match method, name:
        case "GET", "health":
            return 200, {"pid": os.getpid()}
        case "GET", "clock":
            return 200, _clock()
        case "POST", "clock":
            return 200, await asyncio.to_thread(_move_clock, request)
        case "GET", "cloudformation":
            return 200, _cloudformation()
        case "POST", "cloudformation":
            return 200, _set_cloudformation(request)
        case "GET", "events":
            return 200, event_log.entries(account=query.get("account"), since=int(query.get("since", 0)))
        case "GET", "functions":
            return 200, {"events_under_way": lambda_functions.events_under_way()}
        case "GET", "invocations":
            return 200, _constant_server().invocations
        case "GET", "instances":
            server = serving.server
            return 200, await asyncio.to_thread(server.instances) if isinstance(server, ModelServers) else []
        case "GET", "errors":
            server = serving.server
            return 200, await asyncio.to_thread(server.errors) if isinstance(server, ModelServers) else []
        case "POST", "faults":
            try:
                return 200, await asyncio.to_thread(_set_faults, request)
            except (DataPlaneError, TypeError, KeyError, ValueError, AttributeError) as error:
                return 400, {"message": f"faults not set: {error}"}
        case "POST", "reset":
            async with app._get_reset_lock():
                await asyncio.to_thread(emulator.reset)
            return 200, {"reset": True}
        case "POST", "stop":
            stop.set()
            return 200, {"stopping": True}
    return 404, {"message": f"unknown: {method} {_PREFIX}{name}"}


def _move_clock(request: dict[str, Any]) -> dict[str, Any]:
    """Set the mode and move the clock. Raises ValueError, and changes nothing, if either is wrong."""
    seconds = float(request.get("advance_seconds", 0))
    if not -_MOST_SECONDS <= seconds <= _MOST_SECONDS:
        raise ValueError(f"advance_seconds must be between {-_MOST_SECONDS:g} and {_MOST_SECONDS:g}, got {seconds:g}")
    if "mode" in request:
        clock.set_mode(request["mode"])
    if seconds:
        ticker.advance(seconds)
    return _clock()


def _clock() -> dict[str, Any]:
    return {"now": clock.now(), "mode": clock.mode, "ahead_seconds": clock.ahead_seconds}


def _cloudformation() -> dict[str, Any]:
    return {
        "early_start": stack_early_start.mode,
        "cancel_waits_for_the_resource": stack_cancel.waits_for_the_resource,
    }


def _set_cloudformation(request: dict[str, Any]) -> dict[str, Any]:
    """Set how CloudFormation behaves where AWS leaves it open. Settings that are not named stay. Raises ValueError."""
    mode = early_start.check(request.get("early_start", stack_early_start.mode))
    waits = request.get("cancel_waits_for_the_resource", stack_cancel.waits_for_the_resource)
    if not isinstance(waits, bool):
        raise ValueError(f"cancel_waits_for_the_resource must be true or false; got {waits!r}")
    if unknown := sorted(request.keys() - {"early_start", "cancel_waits_for_the_resource"}):
        raise ValueError(f"no such setting: {', '.join(unknown)}")
    stack_early_start.mode, stack_cancel.waits_for_the_resource = mode, waits
    return _cloudformation()


def _set_faults(request: dict[str, Any]) -> dict[str, Any]:
    """Replace the injected faults; {} means none. `kill_instance` happens once."""
    server = serving.server
    unhealthy = request.get("unhealthy_model_data", [])
    if not isinstance(unhealthy, list) or not all(isinstance(fragment, str) for fragment in unhealthy):
        raise TypeError("unhealthy_model_data is a list of fragments of ModelDataUrl")
    events = int(request.get("events_per_in_service", sagemaker_events.EVENTS_PER_IN_SERVICE))
    if not 0 <= events <= _MOST_EVENTS:
        raise ValueError(f"events_per_in_service must be between 0 and {_MOST_EVENTS}, got {events}")
    delay = float(request.get("metric_delay_seconds", 0))
    if not 0 <= delay <= _MOST_DELAY_SECONDS:
        raise ValueError(f"metric_delay_seconds must be between 0 and {_MOST_DELAY_SECONDS:g}, got {delay:g}")
    server.unhealthy_model_data = set(unhealthy)
    alarm_evaluation.metric_delay_seconds = delay
    resource_types.guardrail_rollback_fails_the_resource = bool(
        request.get("guardrail_rollback_fails_the_resource", False)
    )
    sagemaker_events.events_per_in_service = events
    answer: dict[str, Any] = {"unhealthy_model_data": sorted(server.unhealthy_model_data)}
    if isinstance(server, ModelServers):
        server.set_faults({name: request[name] for name in _DATA_PLANE_FAULTS if name in request})
        if "kill_instance" in request:
            answer["killed"] = server.kill_instance(request["kill_instance"])
    return answer


def _constant_server() -> serving.ConstantServer:
    if not isinstance(serving.server, serving.ConstantServer):
        raise TypeError("only the constant server keeps what was asked")
    return serving.server

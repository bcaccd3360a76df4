"""What only a stand-in has: its clock, its event log, its faults. Under /_tierfleet/ on the same port."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ministack import app

from local_cloud import cloudformation_sagemaker, emulator, event_log, sagemaker_events, serving, ticker
from local_cloud.clock import clock
from local_cloud.data_plane_link import DataPlaneError
from local_cloud.model_servers import ModelServers

_PREFIX = "/_tierfleet/"
_DATA_PLANE_FAULTS = ("s3_failing", "disk_full", "slow_model_server", "throttled")
Answer = dict[str, Any] | list[dict[str, Any]]


def application(stop: asyncio.Event) -> Callable[..., Any]:
    """The ASGI application: our few paths, and the emulator for everything else."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await app.app(scope, receive, send)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
        name = scope["path"].removeprefix(_PREFIX)
        status, answer = await _answer(name, scope["method"], query, json.loads(body or b"{}"), stop)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return serve


async def _answer(
    name: str, method: str, query: dict[str, str], request: dict[str, Any], stop: asyncio.Event
) -> tuple[int, Answer]:
    match method, name:
        case "GET", "health":
            return 200, {"pid": os.getpid()}
        case "GET", "clock":
            return 200, {"now": clock.now(), "mode": clock.mode}
        case "POST", "clock":
            return 200, await asyncio.to_thread(_move_clock, request)
        case "GET", "events":
            return 200, event_log.entries(account=query.get("account"), since=int(query.get("since", 0)))
        case "GET", "invocations":
            return 200, _constant_server().invocations
        case "GET", "instances":
            server = serving.server
            return 200, await asyncio.to_thread(server.instances) if isinstance(server, ModelServers) else []
        case "POST", "faults":
            try:
                return 200, await asyncio.to_thread(_set_faults, request)
            except (DataPlaneError, TypeError, KeyError) as error:
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
    if "mode" in request:
        clock.set_mode(request["mode"])
    if "advance_seconds" in request:
        ticker.advance(float(request["advance_seconds"]))
    return {"now": clock.now(), "mode": clock.mode}


def _set_faults(request: dict[str, Any]) -> dict[str, Any]:
    """Replace the injected faults; {} means none. `kill_instance` happens once."""
    server = serving.server
    server.unhealthy_model_data = set(request.get("unhealthy_model_data", []))
    cloudformation_sagemaker.guardrail_rollback_fails_the_resource = bool(
        request.get("guardrail_rollback_fails_the_resource", False)
    )
    sagemaker_events.events_per_in_service = int(
        request.get("events_per_in_service", sagemaker_events.EVENTS_PER_IN_SERVICE)
    )
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

"""What the control plane may ask, one JSON line each, answered in order."""

import asyncio
import json
from typing import Any

from local_cloud.data_plane.asynchronous.queues import Queues
from local_cloud.data_plane.desired import read_endpoint
from local_cloud.data_plane.faults import FailingModelServer, SlowModelServer, Throttled
from local_cloud.data_plane.fleets import Fleets
from local_cloud.data_plane.gauges import Gauges
from local_cloud.data_plane.instances.artefacts import Artefacts
from local_cloud.data_plane.invocations import Invocations

_MOST_MILLISECONDS = 3_600_000.0
# asyncio's own limit, 64 KiB, is too short for an endpoint with many variables and containers.
LONGEST_LINE_BYTES = 64 * 1024 * 1024


async def serve_control(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    fleets: Fleets,
    invocations: Invocations,
    artefacts: Artefacts,
    gauges: Gauges,
    queues: Queues,
) -> None:
    """Answer until the control plane is gone."""
    while line := await reader.readline():
        request = json.loads(line)
        try:
            answer = {"result": _answer(request, fleets, invocations, artefacts, gauges, queues)}
        except ValueError as error:
            answer = {"error": str(error)}
        except Exception as error:
            # Invalid faults, given by hand, must not end the data plane; nor may an error of one endpoint.
            answer = {"error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")


def _answer(
    request: dict[str, Any],
    fleets: Fleets,
    invocations: Invocations,
    artefacts: Artefacts,
    gauges: Gauges,
    queues: Queues,
) -> Any:
    match request["ask"]:
        case "follow":
            return fleets.follow(read_endpoint(request["endpoint"]))
        case "instances":
            return [{**row, **gauges.of(row["instance"])} for row in fleets.described()]
        case "errors":
            return invocations.errors_by_class()
        case "forget_errors":
            return invocations.errors.clear()
        case "observations":
            return fleets.take_observations()
        case "lines":
            return fleets.take_lines()
        case "gauges":
            return gauges.rows()
        case "queues":
            return queues.rows()
        case "faults":
            return _set_faults(request["faults"], fleets, invocations, artefacts)
        case "kill_instance":
            return _kill(fleets, **request["instance"])
    raise ValueError(f"the data plane does not know {request['ask']!r}")


def _set_faults(
    faults: dict[str, Any], fleets: Fleets, invocations: Invocations, artefacts: Artefacts
) -> dict[str, Any]:
    """Replace all injected faults, or none if one is invalid."""
    slow = [
        SlowModelServer(fault["endpoint"], fault.get("config"), _between(0, fault["milliseconds"], _MOST_MILLISECONDS))
        for fault in faults.get("slow_model_server", [])
    ]
    failing = [
        FailingModelServer(fault["endpoint"], fault.get("config"), _names("models", fault.get("models")))
        for fault in faults.get("failing_model_server", [])
    ]
    throttled = [
        Throttled(fault["endpoint"], int(_between(0, fault["refused_of_ten"], 10)))
        for fault in faults.get("throttled", [])
    ]
    disk_full = faults.get("disk_full", [])
    if not isinstance(disk_full, list) or not all(isinstance(name, str) for name in disk_full):
        raise ValueError(f"disk_full is a list of endpoint names, got {disk_full!r}")
    artefacts.failing = bool(faults.get("s3_failing", False))
    invocations.slow, invocations.failing, invocations.throttled = slow, failing, throttled
    fleets.disk_full_endpoints = set(disk_full)
    for endpoint, _, instance, _ in fleets.everything():
        instance.disk_is_full = endpoint.name in disk_full
    return {}


def _names(what: str, given: Any) -> frozenset[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{what} is a list of names, got {given!r}")
    return frozenset(given)


def _between(least: float, given: Any, most: float) -> float:
    value = float(given)
    if not least <= value <= most:
        raise ValueError(f"got {given!r}, allowed: {least:g} to {most:g}")
    return value


def _kill(fleets: Fleets, endpoint: str, instance: str | None = None) -> dict[str, Any]:
    """Send SIGKILL to the container of one instance: the one named, else the first that is in service."""
    for spec, _, candidate, _ in fleets.everything():
        if spec.name == endpoint and candidate.process and instance in (None, candidate.id):
            pid = candidate.process.pid
            candidate.kill()
            return {"instance": candidate.id, "pid": pid}
    raise ValueError(f"endpoint {endpoint} has no running instance{f' {instance}' if instance else ''}")

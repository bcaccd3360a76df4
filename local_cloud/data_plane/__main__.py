"""`python -m local_cloud.data_plane`: started by the local emulator's process, not by hand.

It is given the listening socket of the public port and a socket to the control plane, and ends with either.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from local_cloud.data_plane import serverless
from local_cloud.data_plane.asynchronous.objects import Objects
from local_cloud.data_plane.asynchronous.queues import Queues
from local_cloud.data_plane.callers import Callers
from local_cloud.data_plane.control import LONGEST_LINE_BYTES, serve_control
from local_cloud.data_plane.fleets import Fleets
from local_cloud.data_plane.front import ClientConnection, Front
from local_cloud.data_plane.gauges import Gauges
from local_cloud.data_plane.instances.artefacts import Artefacts
from local_cloud.data_plane.instances.container_client import ContainerClient
from local_cloud.data_plane.invocations import Invocations
from local_cloud.data_plane.settings import DataPlaneSettings

# How often a thread that unpacks an artefact yields to requests.
_SWITCH_SECONDS = 0.0005


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listener", type=int, required=True, help="file descriptor")
    parser.add_argument("--control", type=int, required=True, help="file descriptor")
    parser.add_argument("--ministack-port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--settings", type=DataPlaneSettings.from_json, required=True)
    parser.add_argument("--enforce-iam", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(_SWITCH_SECONDS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the local emulator, which ends this
    uvloop.run(_serve(arguments))
    sys.stdout.flush()
    os._exit(0)  # running downloads must not delay it


def _inherited(descriptor: int) -> socket.socket:
    """A socket that this process inherited. Its children, the containers, do not inherit it."""
    os.set_inheritable(descriptor, False)
    given = socket.socket(fileno=descriptor)
    given.setblocking(False)
    return given


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    artefacts = Artefacts(f"http://127.0.0.1:{arguments.ministack_port}", arguments.settings)
    fleets = Fleets(arguments.settings, artefacts, arguments.directory)
    invocations = Invocations(fleets, arguments.settings)
    callers = Callers(ContainerClient(arguments.ministack_port), enforce_iam=arguments.enforce_iam)
    queues = Queues(fleets, invocations, Objects(artefacts.ministack_url))
    front = Front(invocations, queues, callers, arguments.ministack_port)
    gauges = Gauges(fleets)
    listener = _inherited(arguments.listener)
    control = _inherited(arguments.control)
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=LONGEST_LINE_BYTES)
    control_ended = loop.create_task(serve_control(reader, writer, fleets, invocations, artefacts, gauges, queues))
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, control_ended.cancel)
    await loop.create_server(lambda: ClientConnection(front), sock=listener, backlog=1024)
    measuring = loop.create_task(gauges.measure_forever())
    stopping_idle = loop.create_task(serverless.stop_idle_forever(fleets.stop_idle))
    working = loop.create_task(queues.run_forever())
    gc.freeze()  # what was imported is never looked through again: collections stay short
    await asyncio.wait([control_ended])
    measuring.cancel()
    stopping_idle.cancel()
    working.cancel()
    fleets.kill()


if __name__ == "__main__":
    main()

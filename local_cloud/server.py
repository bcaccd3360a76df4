"""The local emulator's process: `python -m local_cloud.server`. Started by `host.start`, not by hand.

It binds 127.0.0.1 only, says on standard output that it is ready, and ends when its parent does. With real models
the data plane, a process of its own, has the port; ministack then listens behind it on an unpublished one.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from local_cloud.core import early_start
from local_cloud.core.disk_problems import DiskError, disk_problems_named
from local_cloud.core.guarded import guard
from local_cloud.core.patching import PatchError
from local_cloud.core.state_file import State
from local_cloud.data_plane.launch import DataPlaneProcess
from local_cloud.data_plane.settings import DataPlaneSettings

# Of the control plane and its Lambda functions: on SageMaker they share no processor with the instances.
_NICENESS = 10
_guardians: list[object] = []  # kept: they are not waited for


def main() -> None:
    arguments = _arguments()
    if os.getpgrp() == os.getpid():
        _guardians.append(guard(os.getpid(), parent=None if arguments.detached else arguments.parent))
    listener = _listen(arguments.port)
    try:
        with disk_problems_named(arguments.state_dir):
            _run(arguments, listener)
    except DiskError as error:
        # Its log may be what the disk has no room for; the process that starts it reads this instead.
        print(json.dumps({"failed": str(error)}), flush=True)
        os._exit(1)
    except PatchError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        os._exit(1)


def _run(arguments: argparse.Namespace, listener: socket.socket) -> None:
    _configure_ministack(arguments, listener.getsockname()[1])
    data_plane = None
    if arguments.data_plane is not None:
        public, listener = listener, _listen(0)
        data_plane = DataPlaneProcess.start(
            public,
            ministack_port=listener.getsockname()[1],
            directory=arguments.state_dir / "scratch" / "instances",
            settings=arguments.data_plane,
            enforce_iam=arguments.enforce_iam,
        )
        os.nice(_NICENESS)
    # asyncio.run would wait for the threads of what is under way, a function that runs for minutes for example.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_serve(listener, data_plane, arguments))
    finally:
        if data_plane is not None:
            data_plane.stop()
        # Lambda workers are our children; nothing outlives the local emulator.
        if os.getpgrp() == os.getpid():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.killpg(os.getpgrp(), signal.SIGTERM)
    os._exit(0)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # The port of an emulator that has just ended can be used again at once.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    return listener


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--account", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--enforce-iam", action="store_true")
    parser.add_argument("--early-start", type=early_start.check, default=early_start.DEFAULT)
    parser.add_argument("--data-plane", type=DataPlaneSettings.from_json, help="serve real models, with these settings")
    parser.add_argument("--parent", type=int, required=True, help="the process that starts it")
    parser.add_argument("--detached", action="store_true", help="outlive the process that started it")
    return parser.parse_args()


def _configure_ministack(arguments: argparse.Namespace, port: int) -> None:
    """ministack reads its environment on import, so this comes first."""
    scratch = arguments.state_dir / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith(("AWS_", "MINISTACK_", "LAMBDA_", "LOCALSTACK_"))]:
        del os.environ[name]
    os.environ |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": arguments.region,
        "MINISTACK_ACCOUNT_ID": arguments.account,
        "AWS_ACCESS_KEY_ID": arguments.account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": arguments.region,
        "AUTH": "true" if arguments.enforce_iam else "false",
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",
        "TMPDIR": str(scratch),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        # Lambda workers run this interpreter, and nothing of the machine's own configuration.
        "AWS_EC2_METADATA_DISABLED": "true",
    }


async def _serve(listener: socket.socket, data_plane: DataPlaneProcess | None, arguments: argparse.Namespace) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from local_cloud import admin, emulator
    from local_cloud.services.stacks import early_start as stack_early_start

    stack_early_start.mode = arguments.early_start
    if data_plane is not None:
        from local_cloud.services.sagemaker import serving
        from local_cloud.services.sagemaker.model_servers import ModelServers

        serving.server = ModelServers(data_plane.link, data_plane.settings)
    emulator.install()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if data_plane is not None:
        data_plane.when_it_ends(lambda: loop.call_soon_threadsafe(stop.set))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    config.graceful_timeout = 0.5
    application = admin.application(stop)
    failures: list[OSError] = []

    async def announced(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return

        async def announce(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                try:
                    _announce(arguments, stop)
                except OSError as error:  # the server would only log it, and wait
                    failures.append(error)
                    stop.set()

        await application(scope, receive, announce)

    answering = loop.create_task(serve(announced, config, shutdown_trigger=stop.wait))
    stopped = loop.create_task(stop.wait())
    await asyncio.wait((answering, stopped), return_when=asyncio.FIRST_COMPLETED)
    # From Python 3.12 on hypercorn's shutdown waits for open requests as long as they take (Server.wait_closed).
    await asyncio.wait((answering,), timeout=2 * config.graceful_timeout)
    if failures:
        raise failures[0]
    if answering.done():
        answering.result()


def _announce(arguments: argparse.Namespace, stop: asyncio.Event) -> None:
    """Write down where it answers, then say so to the process that starts it; without that one, end."""
    port = int(os.environ["GATEWAY_PORT"])
    state = State(f"http://127.0.0.1:{port}", arguments.region, arguments.account, os.getpid())
    state.write(arguments.state_dir)
    try:
        print(json.dumps({"ready": True, "port": port}), flush=True)
    except OSError:  # the parent was killed while it waited, so this process is unknown
        state.remove(arguments.state_dir)
        stop.set()


if __name__ == "__main__":
    main()

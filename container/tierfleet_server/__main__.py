"""`python -m tierfleet_server [serve]`: SageMaker runs an image with the argument `serve`."""

import asyncio
import os
import signal
import sys
from functools import partial
from typing import Any

from .model import heap

heap.use_one_arena()
os.environ["OMP_NUM_THREADS"] = "1"  # read by XGBoost's library when it is loaded

import tierfleet_forest  # noqa: E402

from . import __version__  # noqa: E402
from .checker import Checker  # noqa: E402
from .contract import DEDICATED_MODEL, Contract  # noqa: E402
from .http.server import Server  # noqa: E402
from .logs import logger, start_logging  # noqa: E402
from .memory_limit import MIB, budget_bytes, memory_limit_bytes, requests_bytes, resident_bytes  # noqa: E402
from .metrics import Metrics  # noqa: E402
from .model import native  # noqa: E402
from .model.loading import load_model, size_on_disk  # noqa: E402
from .model.refusal import Refusal  # noqa: E402
from .request_memory import RequestMemory  # noqa: E402
from .settings import Settings, SettingsError  # noqa: E402
from .store import Store  # noqa: E402
from .thread_priority import come_first  # noqa: E402

# After so long a thread that reads a large request in Python hands the interpreter to the event loop.
_SWITCH_SECONDS = 0.00003


def _log(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.error(context["message"], exc_info=context.get("exception"))


async def _serve(settings: Settings, metrics: Metrics) -> int:
    limit = memory_limit_bytes()
    budget = budget_bytes(limit, budget_mib=settings.memory_budget_mib, reserve_mib=settings.memory_reserve_mib)
    checker = Checker(native.version())
    checker.start()
    store = Store(budget, size_on_disk=size_on_disk, load_model=partial(load_model, prepare=checker.prepare))
    memory = RequestMemory(requests_bytes(limit, budget, own_bytes=resident_bytes()))
    contract = Contract(settings, store, metrics, memory)
    server = Server(settings, contract, memory)
    asyncio.get_running_loop().set_exception_handler(_log)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    trimming = asyncio.get_running_loop().create_task(store.trim_when_idle())
    mode = "multi-model" if settings.multi_model else "dedicated"
    logger.info(
        "tierfleet server %s, XGBoost %s, %s, port %d, model memory %d MiB, request memory %d MiB",
        __version__, ".".join(map(str, native.version())), mode, settings.port, budget // MIB,
        memory.limit_bytes // MIB,
    )  # fmt: skip
    if not tierfleet_forest.available:
        logger.warning("XGBoost serves every model: %s", tierfleet_forest.unavailable_reason)
    stopping = asyncio.get_running_loop().create_task(stop.wait())
    if not settings.multi_model:
        loading = asyncio.get_running_loop().create_task(store.load(DEDICATED_MODEL, str(settings.model_directory)))
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        try:
            if loading.done():
                await loading
        except Refusal as refusal:
            logger.error(refusal.message, extra={"url": str(settings.model_directory)})
            return 1
    await stopping
    logger.info("draining")
    await server.drain()
    trimming.cancel()
    logger.info("stopped")
    return 0


def main() -> int:
    """Serve until SIGTERM; the exit code is 0, 1 if the one model cannot be served, 2 for a bad setting."""
    import uvloop

    if sys.argv[1:] not in ([], ["serve"]):
        print(f"tierfleet server: arguments {sys.argv[1:]!r} are not known; give none or serve", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"tierfleet server: {error}", file=sys.stderr)
        return 2
    sys.setswitchinterval(_SWITCH_SECONDS)
    come_first()
    metrics = Metrics()
    finish_logging = start_logging(settings.log_level, metrics)
    try:
        return uvloop.run(_serve(settings, metrics))
    except (OSError, ValueError, Refusal) as error:
        logger.error("cannot start: %s", error)
        return 2
    finally:
        finish_logging()


if __name__ == "__main__":
    # Do not wait for threads: the clients of loads and batches that outlasted the drain are gone.
    os._exit(main())

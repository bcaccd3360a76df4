"""One instance: a container that is started, watched and restarted, with its models."""

import asyncio
import contextlib
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud.core.disk_problems import disk_problem, is_disk_problem
from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.desired import VariantSpec
from local_cloud.data_plane.instances import process_memory
from local_cloud.data_plane.instances.artefacts import Artefacts
from local_cloud.data_plane.instances.container_client import ContainerClient, ContainerGoneError
from local_cloud.data_plane.instances.counters import Counters
from local_cloud.data_plane.instances.disk_cache import DiskCache
from local_cloud.data_plane.instances.log_tail import LogTail
from local_cloud.data_plane.instances.model_cache import ModelCache, Observe
from local_cloud.data_plane.instances.process import ContainerProcess
from local_cloud.data_plane.settings import DataPlaneSettings

# SageMaker's own limit. docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_PING_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.02
# A fleet has failed once one of its containers ended this often before it was healthy.
_STARTS_BEFORE_FAILURE = 3
# A cache at work would fill the log with loads, unless the Model's own environment asks for that.
_WARNING = "30"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
# A container that ran this long before it ended restarts after a short pause.
_STEADY_SECONDS = 60.0


class _StartError(Exception):
    """Why the container did not become healthy."""


class Instance:
    """`status` is Starting, InService, Restarting, Failed (never healthy, given up) or Stopped."""

    def __init__(
        self,
        instance_id: str,
        spec: VariantSpec,
        *,
        scope: tuple[str, str],
        directory: Path,
        settings: DataPlaneSettings,
        artefacts: Artefacts,
        observe: Observe,
        starting: asyncio.Semaphore,
        ended: Callable[["Instance"], None] = lambda _: None,
    ) -> None:
        self.id, self.spec, self.status, self.reason = instance_id, spec, "Starting", ""
        self.was_healthy = False
        self.counters = Counters()
        self.in_flight: Counter[str] = Counter()  # requests by TargetModel; "" on a dedicated endpoint
        self.cache: ModelCache | None = None
        self.client: ContainerClient | None = None
        self.process: ContainerProcess | None = None
        self.disk_is_full = False  # a fault
        size = settings.size_of(spec)
        self.memory_budget_mib, self.disk_budget_bytes, self.vcpus = size.memory_mib, size.disk_bytes, size.vcpus
        self.idle_since = time.monotonic()
        self._reader, self._directory, self._settings = (scope, spec.credentials), directory, settings
        self._command = settings.command_of(spec.image)
        self._artefacts, self._observe, self._starting, self._ended = artefacts, observe, starting, ended
        self._log = directory / "container.log"
        self.printed = LogTail(self._log)
        self._starts = 0
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def in_service(self) -> bool:
        return self.status == "InService" and not self._stopping.is_set()

    @property
    def requests_in_flight(self) -> int:
        return sum(self.in_flight.values())

    def enter(self, model: str) -> None:
        self.in_flight[model] += 1
        self._idle.clear()

    def leave(self, model: str) -> None:
        self.in_flight[model] -= 1
        if self.in_flight[model] <= 0:
            del self.in_flight[model]
        if not self.in_flight:
            self.idle_since = time.monotonic()
            self._idle.set()

    def kill(self) -> None:
        """Send SIGKILL to the container: for the fault, and at the end."""
        if self.process is not None:
            self.process.kill()

    async def retire(self) -> None:
        """End for good: after the requests that it has, which get the time a request may take at most."""
        self._stopping.set()
        await self._task

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while not self._stopping.is_set():
                started = time.monotonic()
                try:
                    await self._start()
                    await self._until_it_ends()
                except _StartError as error:
                    self.reason = str(error)
                except Exception as error:  # whatever the error is, the instance must end visibly
                    if isinstance(error, OSError) and is_disk_problem(error):
                        self.reason = disk_problem(error, self._directory)
                    else:
                        self.reason = f"{type(error).__name__}: {error}"
                        with contextlib.suppress(OSError):  # the disk has no room for the log
                            traceback.print_exc()
                await self._forget()
                if self._stopping.is_set():
                    break
                self._starts += 1
                if not self.was_healthy and self._starts >= _STARTS_BEFORE_FAILURE:
                    self.status = "Failed"
                    await self._stopping.wait()
                    break
                self.counters.restarts += 1
                self.status = "Restarting"
                pause = _FIRST_PAUSE_SECONDS if time.monotonic() - started > _STEADY_SECONDS else pause * 2
                await self._pause(min(pause, _LONGEST_PAUSE_SECONDS))
        finally:
            self.status = "Stopped"
            await self._forget()
            self._ended(self)
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _start(self) -> None:
        """Start with an empty disk and memory, until the container is healthy. Raises _StartError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        disk = DiskCache(self._directory / f"disk-{self._starts}", self.disk_budget_bytes)
        environment = {"SAGEMAKER_CONTAINER_LOG_LEVEL": _WARNING, **self.spec.environment}
        if self.spec.multi_model:
            # As SageMaker does for Mode MultiModel: the stock image starts another server then.
            environment["SAGEMAKER_MULTI_MODEL"] = "true"
            environment["TIERFLEET_MEMORY_BUDGET_MIB"] = str(self.memory_budget_mib)
        else:
            model = await self._dedicated_model(disk)
            environment |= {"TIERFLEET_MODEL_DIRECTORY": model, "SM_MODEL_DIR": model}
        async with self._starting:
            self.process = await ContainerProcess.start(self._command, environment, self._log)
            self.client = ContainerClient(self.process.port)
            await self._until_healthy(self.process, self.client)
        self.cache = ModelCache(
            self.client,
            disk,
            fetch=self._fetch,
            observe=self._observe,
            counters=self.counters,
            # AWS: the vCPUs limit how many models load at once.
            # docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoint-instance.html
            loads_at_a_time=self.vcpus,
            max_loading_seconds=self._settings.max_loading_seconds,
            over_budget=self._over_budget if self._command else None,
        )
        self.status, self.was_healthy, self.reason = "InService", True, ""

    async def _dedicated_model(self, disk: DiskCache) -> str:
        directory = disk.new_directory()
        if self.spec.model_data_url is None:
            directory.mkdir(parents=True)
            return str(directory)
        try:
            await self._artefacts.fetch(
                self._reader, self.spec.model_data_url, directory, max_bytes=self.disk_budget_bytes
            )
        except ServiceError as error:
            raise _StartError(error.message) from None
        return str(directory)

    async def _until_healthy(self, process: ContainerProcess, client: ContainerClient) -> None:
        deadline = time.monotonic() + self._settings.start_seconds
        answer = "nothing"
        while not self._stopping.is_set():
            try:
                reply = await client.ask(b"GET", b"/ping", timeout_seconds=_PING_SECONDS)
                if reply.status == 200:
                    return
                answer = str(reply.status)
            except (ContainerGoneError, TimeoutError):
                pass
            if not process.running:
                raise _StartError(f"the container ended with {await process.wait()}: {process.tail()}")
            if time.monotonic() > deadline:
                self._starts = _STARTS_BEFORE_FAILURE
                raise _StartError(
                    f"/ping answered {answer}, not 200, for {self._settings.start_seconds:g} s: {process.tail()}"
                )
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _until_it_ends(self) -> None:
        """Wait until the container ends, or is retired and has answered its last request."""
        if self.process is None:
            return
        ended = asyncio.ensure_future(self.process.wait())
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            idle = asyncio.ensure_future(self._idle.wait())
            await asyncio.wait(
                [ended, idle], timeout=self._settings.max_response_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            idle.cancel()
            await self.process.terminate()
        stopped.cancel()
        self.reason = f"the container ended with {await ended}: {self.process.tail()}"

    async def _forget(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
        if self.cache is not None:
            self.cache.close()
        if self.client is not None:
            self.client.close()
        self.cache, self.client, self.process = None, None, None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _over_budget(self) -> bool:
        """Whether a container of one's own uses more memory than its budget; the dense model server counts itself."""
        if self.process is None:
            return False
        used = await asyncio.to_thread(process_memory.tree_bytes, self.process.pid)
        return used is not None and used > self.memory_budget_mib * 1024 * 1024

    async def _fetch(self, model: str, directory: Path, max_bytes: int) -> int:
        url = f"{self.spec.model_data_url}{model}"
        return await self._artefacts.fetch(
            self._reader, url, directory, max_bytes=0 if self.disk_is_full else max_bytes
        )

    def described(self) -> dict[str, Any]:
        """For people and tests."""
        cache = self.cache
        disk = cache.disk if cache else None
        return {
            "instance": self.id,
            "container": self.spec.hostname,
            "multi_model": self.spec.multi_model,
            "status": self.status,
            "reason": self.reason,
            "pid": self.process.pid if self.process else None,
            "port": self.process.port if self.process else None,
            "log": str(self._log),
            "in_flight": self.requests_in_flight,
            "loaded_models": list(cache.memory) if cache and self.spec.multi_model else [],
            "loading_models": list(cache.loading) if cache else [],
            "disk_models": list(disk.models) if disk else [],
            "memory_budget_mib": self.memory_budget_mib,
            "disk_used_bytes": disk.used_bytes if disk else 0,
            "disk_budget_bytes": self.disk_budget_bytes,
            "counters": self.counters.to_json(),
        }

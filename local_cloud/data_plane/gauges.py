"""How full and how busy each instance is, measured once a second."""

import asyncio
import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from local_cloud.data_plane.fleets import Fleets
from local_cloud.data_plane.instances import process_memory
from local_cloud.data_plane.instances.container_client import ContainerGoneError
from local_cloud.data_plane.instances.instance import Instance

_EVERY_SECONDS = 1.0
_ASK_SECONDS = 1.0
_MIB = 1024 * 1024
_USED = re.compile(rb"^tierfleet_memory_used_bytes (\S+)$", re.MULTILINE)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Gauges:
    """Memory is what the dense model server reports for its models; for any other container, that of its processes."""

    def __init__(self, fleets: Fleets) -> None:
        self._fleets = fleets
        self._memory_bytes: dict[str, float] = {}
        self._cpu_percent: dict[str, float] = {}
        self._cpu_before: dict[str, tuple[int, float, float]] = {}  # pid, CPU seconds, moment
        self._count_themselves: set[str] = set()

    async def measure_forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            instances = [instance for *_, instance, _ in self._fleets.everything()]
            for instance in instances:
                await self._measure(instance)
            alive = {instance.id for instance in instances}
            for gone in (self._memory_bytes.keys() | self._cpu_before.keys()) - alive:
                self._memory_bytes.pop(gone, None)
                self._cpu_percent.pop(gone, None)
                self._cpu_before.pop(gone, None)
                self._count_themselves.discard(gone)

    def of(self, instance_id: str) -> dict[str, Any]:
        """The part of an instance's description that is measured."""
        used = self._memory_bytes.get(instance_id)
        return {
            "memory_used_mib": None if used is None else round(used / _MIB, 2),
            "cpu_percent": round(self._cpu_percent.get(instance_id, 0.0), 1),
        }

    def rows(self) -> list[Any]:
        """[account, region, endpoint, variant, config, instance, container, {metric: value}] of what is in service.

        Where instances run several containers, the row of the instance, with the container "", is the sum over them.
        Each container of a multi-container endpoint has a row too; AWS publishes none of a pipeline's.
        """
        rows: dict[tuple[str, ...], dict[str, float]] = {}
        for endpoint, fleet, instance, retiring in self._fleets.everything():
            if not instance.in_service or retiring:
                continue
            values, container = self._values(instance), instance.spec.hostname or ""
            machine = instance.id.partition("/")[0]
            variant = (*endpoint.scope, endpoint.name, instance.spec.name, fleet.config_name, machine)
            if container and instance.spec.execution_mode == "Direct":
                own = {name: values[name] for name in ("CPUUtilization", "MemoryUtilization")}
                rows[*variant, container] = own
            whole = rows.setdefault((*variant, ""), {})
            for name, value in values.items():
                whole[name] = whole.get(name, 0.0) + value
        return [[*names, values] for names, values in rows.items()]

    def _values(self, instance: Instance) -> dict[str, float]:
        cache = instance.cache
        used_mib = self._memory_bytes.get(instance.id, 0.0) / _MIB
        memory = min(100.0, 100 * used_mib / instance.memory_budget_mib)
        if instance.spec.serverless is not None:
            return {"MemoryUtilization": memory}
        values = {
            "MemoryUtilization": memory,
            "DiskUtilization": 100 * (cache.disk.used_bytes if cache else 0) / max(1, instance.disk_budget_bytes),
            "CPUUtilization": self._cpu_percent.get(instance.id, 0.0),
        }
        if instance.spec.multi_model and cache is not None:
            values["LoadedModelCount"] = float(len(cache.memory))
        return values

    async def _measure(self, instance: Instance) -> None:
        process, client = instance.process, instance.client
        if process is None or client is None or not instance.in_service:
            return
        self._measure_cpu(instance.id, process.pid)
        with contextlib.suppress(ContainerGoneError, TimeoutError):
            reply = await client.ask(b"GET", b"/metrics", timeout_seconds=_ASK_SECONDS)
            if counted := _USED.search(reply.body):
                self._memory_bytes[instance.id] = float(counted[1])
                self._count_themselves.add(instance.id)
        if instance.id in self._count_themselves:
            return  # a server that was too busy to answer keeps its last figure
        used = await asyncio.to_thread(process_memory.tree_bytes, process.pid)
        if used is not None:
            self._memory_bytes[instance.id] = used

    def _measure_cpu(self, instance_id: str, pid: int) -> None:
        seconds, now = _cpu_seconds(pid), time.monotonic()
        before = self._cpu_before.get(instance_id)
        if seconds is None:
            return
        if before is not None and before[0] == pid and now > before[2]:
            self._cpu_percent[instance_id] = 100 * (seconds - before[1]) / (now - before[2])
        self._cpu_before[instance_id] = (pid, seconds, now)


def _cpu_seconds(pid: int) -> float | None:
    """CPU time of a process so far, user and system; None if the system does not tell (only Linux does)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

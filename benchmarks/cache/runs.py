"""The runs: endpoints are made, filled, asked, and compared with what the simulation and the planner say."""

import asyncio
import time
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks.cache import fleet
from benchmarks.cache.models import Models, usable_bytes
from benchmarks.cache.results import PERCENTILES, Latency, Measured
from benchmarks.cache.simulation import (
    FROM_S3,
    HIT,
    OUTCOMES,
    outcomes,
    plain_lru_hit_ratio,
    shares,
)
from benchmarks.cache.traffic import BURSTINESS, SHAPE, Client, Sequences, sequences
from tierfleet.planning.search.tail_cache import LevelShares, TailCache
from tierfleet.planning.traffic.rates import steady_rates
from tierfleet.planning.traffic.workload import workload_from_rates

SEED = 1
INJECTED = {"s3_mb_per_second": 75.0, "network_milliseconds": 20.0}
# With injected latencies requests overlap, as callers' do.
INJECTED_CONNECTIONS = 8
LATENCY_SIZE = 500


class Bench:
    """The models, the sequences, and what was measured so far."""

    def __init__(
        self,
        models: Models,
        *,
        requests: int,
        latency_requests: int,
        sizes: list[int],
        memory_of: Models | None = None,
    ) -> None:
        """`memory_of`: the models that the instances' memory is sized for, where they are not `models`."""
        self.memory_of = memory_of or models
        self.models, self.requests, self.latency_requests = models, requests, latency_requests
        self.sizes = [size for size in fleet.SIZES if size.models in sizes]
        self.traffic = {
            name: sequences(name, requests=requests + latency_requests, seed=SEED) for name in BURSTINESS
        }  # fmt: skip
        self.sizes_of = models.sizes(SHAPE.tenants)
        self.measured: list[Measured] = []
        self.latencies: list[Latency] = []

    def before(self, traffic: Sequences, size: fleet.Size) -> list[str]:
        """The history, as far back as it matters to caches of this size; models differ, so a little further."""
        share = fleet.mean_resident_bytes(self.memory_of) / fleet.mean_resident_bytes(self.models)
        on_disk = size.models * share * fleet.DISK_TO_MEMORY
        return traffic.last_before(round(on_disk + on_disk**0.5))

    def tenants(self) -> list[str]:
        """Everybody who is asked for."""
        largest = max(self.sizes, key=lambda size: size.models)
        asked = (self.before(traffic, largest) + traffic.counted for traffic in self.traffic.values())
        return sorted(set().union(*asked))

    @property
    def mean_resident_mib(self) -> float:
        return fleet.mean_resident_bytes(self.models) / 2**20

    def usable_mib(self, budget_mib: float) -> float:
        """The capacity of a plain cache that holds as much as the server does on average."""
        return usable_bytes(self.models, budget_mib * 2**20) / 2**20

    def predicted(self, burstiness: str, row: dict[str, Any], instances: int) -> LevelShares:
        """By the planner: from each tenant's rate, the burstiness and the sizes, without the sequence."""
        daily = SHAPE.requests_per_day * SHAPE.tenant_shares()
        rates = steady_rates(SHAPE.tenants, daily, sessions=BURSTINESS[burstiness])
        sizes = [self.sizes_of[tenant] for tenant in SHAPE.tenants]
        resident = np.array([size.resident_bytes for size in sizes]) / 2**20
        file = np.array([size.file_bytes for size in sizes]) / 2**20
        return TailCache(workload_from_rates(rates, file * 2**20 / 1e6)).shares(
            resident,
            file,
            memory_mib=self.usable_mib(row["memory_budget_mib"]),
            disk_room_mib=row["disk_budget_bytes"] / 2**20,
            instances=instances,
        )

    async def endpoint(
        self,
        stand: fleet.Stand,
        size: fleet.Size,
        instances: int,
        burstiness: str,
        progress: Progress,
        *,
        injected: bool,
    ) -> None:
        """Fill one endpoint's caches, send the counted requests, read what was counted."""
        name = f"{burstiness.replace(' ', '-')}-{size.models}-{instances}"
        connections = INJECTED_CONNECTIONS if injected else 1
        traffic = self.traffic[burstiness]
        before, counted = self.before(traffic, size), traffic.counted[: self.requests]
        task = progress.add_task(name + (" injected" if injected else ""), total=len(before) + len(counted))

        def advance(count: int) -> None:
            progress.advance(task, count)

        client = Client(stand.port, fleet.ACCOUNT, self.models)
        filled = await client.send(name, before, connections=connections, progress=advance)
        at_start = await asyncio.to_thread(stand.counted, name, len(before))
        started = time.monotonic()
        sent = await client.send(name, counted, connections=connections, progress=advance)
        seconds = time.monotonic() - started
        at_end = await asyncio.to_thread(stand.counted, name, len(before) + len(counted))
        run = at_end.since(at_start)
        rows = stand.rows(name)
        instances_then = stand.simulated(name)
        outcomes(instances_then, before, self.sizes_of)
        results = outcomes(instances_then, counted, self.sizes_of)
        simulated = shares(results)
        plain = plain_lru_hit_ratio(
            traffic.last_before(4000),
            counted,
            {tenant: size_of.resident_bytes for tenant, size_of in self.sizes_of.items()},
            sum(self.usable_mib(row["memory_budget_mib"]) for row in rows) * 2**20,
        )
        long_run = await asyncio.to_thread(
            lambda: shares(
                outcomes(stand.simulated(name), before + counted + traffic.later, self.sizes_of)[len(before) :]
            )
        )
        predicted = self.predicted(burstiness, rows[0], instances)
        same = (run.hits, run.from_s3) == (results.count(HIT), results.count(FROM_S3)) and [
            set(row["loaded_models"]) for row in rows
        ] == [{f"{model}.tar.gz" for model in instance.memory} for instance in instances_then]
        self.measured.append(
            Measured(
                models=size.models,
                instances=instances,
                burstiness=burstiness,
                injected=injected,
                requests=len(counted),
                wrong=len(filled.wrong) + len(sent.wrong),
                seconds=seconds,
                hit_ratio=run.hits / run.requests,
                metric_hit_ratio=run.metric_hits / max(1.0, run.metric_requests),
                s3_share=run.from_s3 / run.requests,
                simulated_hit_ratio=simulated[HIT],
                simulated_s3_share=simulated[FROM_S3],
                plain_lru_hit_ratio=plain,
                predicted_hit_ratio=predicted.memory,
                predicted_s3_share=predicted.s3,
                long_run_hit_ratio=long_run[HIT],
                long_run_s3_share=long_run[FROM_S3],
                capacity_models=len(rows) * self.usable_mib(rows[0]["memory_budget_mib"]) / self.mean_resident_mib,
                memory_mib=float(sum(row["memory_budget_mib"] for row in rows)),
                loaded_models=sum(len(row["loaded_models"]) for row in rows),
                same_outcomes=same,
            )
        )
        progress.remove_task(task)
        progress.print(self.measured[-1].line(), highlight=False, soft_wrap=True)
        for problem in (filled.wrong + sent.wrong)[:3]:
            progress.print(f"  {problem}")
        if run.requests != len(counted):
            progress.print(f"  {run.requests} requests were counted, {len(counted)} were sent")

    async def latency(self, stand: fleet.Stand, size: fleet.Size, *, injected: bool) -> None:
        """Go on with the independent requests, alone and one after the other; the simulation says which were loads."""
        name = f"independent-{size.models}-1"
        traffic = self.traffic["independent"]
        instances = stand.simulated(name)
        earlier = self.before(traffic, size) + traffic.counted[: self.requests]
        outcomes(instances, earlier, self.sizes_of)
        counted = traffic.counted[self.requests :]
        results = outcomes(instances, counted, self.sizes_of)
        sent = await Client(stand.port, fleet.ACCOUNT, self.models).send(name, counted)
        for outcome in OUTCOMES:
            milliseconds = [
                1000 * seconds for seconds, was in zip(sent.seconds, results, strict=True) if was == outcome
            ]  # fmt: skip
            if milliseconds:
                percentiles = tuple(round(float(p), 2) for p in np.percentile(milliseconds, PERCENTILES))
                self.latencies.append(Latency(injected, outcome, len(milliseconds), percentiles))

    async def run(
        self, sizes: list[int], instance_counts: tuple[int, ...], progress: Progress, *, injected: bool
    ) -> None:
        """Every endpoint of each size at the same time; latencies when they have ended."""
        settings: dict[str, Any] = dict(INJECTED) if injected else {}
        scale = fleet.scale(self.memory_of)
        with fleet.stand(self.models, self.tenants(), scale=scale, **settings) as stand:
            for size in [size for size in self.sizes if size.models in sizes]:
                runs = [(count, name) for count in instance_counts for name in BURSTINESS]
                names = [f"{name.replace(' ', '-')}-{size.models}-{count}" for count, name in runs]
                for endpoint, (count, _) in zip(names, runs, strict=True):
                    stand.create(endpoint, size.types(count), count)
                for endpoint in names:
                    stand.wait(endpoint)
                await asyncio.gather(
                    *(self.endpoint(stand, size, count, name, progress, injected=injected) for count, name in runs)
                )
                if size.models == LATENCY_SIZE:
                    await self.latency(stand, size, injected=injected)
                for endpoint in names:
                    stand.delete(endpoint)

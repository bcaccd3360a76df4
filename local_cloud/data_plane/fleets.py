"""The endpoints that run here. Their fleets of instances follow what the control plane wants."""

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from local_cloud.data_plane import serverless
from local_cloud.data_plane.desired import EndpointSpec, FleetSpec, Scope, VariantSpec
from local_cloud.data_plane.instances.artefacts import Artefacts
from local_cloud.data_plane.instances.instance import Instance
from local_cloud.data_plane.settings import DataPlaneSettings

Line = tuple[str, str, str, str, int, str]
"""account, region, endpoint, log stream, milliseconds since the epoch, line"""
Observed = tuple[str, str, str, str, str, str, str, float]
"""account, region, endpoint, variant, config, container ("" for the whole variant), metric, value"""


# A container imports NumPy and XGBoost at its start, a second of one processor. Half of them stay free for requests.
_STARTS_AT_A_TIME = max(1, (os.cpu_count() or 2) // 2)
# The control plane may be stopped in a debugger while calls go on: the oldest are dropped before memory runs out.
_OBSERVATIONS_KEPT = 500_000
_LINES_KEPT = 100_000


@dataclass
class Variant:
    """The containers of one variant, in the order they were started. Those of one instance follow each other."""

    spec: VariantSpec
    instances: list[Instance] = field(default_factory=list)
    served_weight: float = 0.0  # requests per weight, so that the shares come out exactly
    began: bool = False  # of a serverless variant: the container that proves its image and model has been started
    calls: serverless.Calls = field(default_factory=serverless.Calls)

    def groups(self) -> list[list[Instance]]:
        """The containers instance by instance."""
        size = max(1, len(self.spec.containers))
        return [self.instances[start : start + size] for start in range(0, len(self.instances), size)]


@dataclass
class Fleet:
    """One deployment of an endpoint configuration."""

    spec: FleetSpec
    variants: dict[str, Variant] = field(default_factory=dict)

    def instances(self) -> list[Instance]:
        return [instance for variant in self.variants.values() for instance in variant.instances]

    def next_variant(self) -> Variant:
        """The variant of the next request, by weight."""
        variant = min(self.variants.values(), key=lambda v: (v.served_weight + 1) / max(v.spec.weight, 1e-9))
        variant.served_weight += 1
        return variant

    def state(self) -> tuple[str, str]:
        """healthy, failed or starting, and why."""
        instances = self.instances()
        for instance in instances:
            if instance.status == "Failed":
                return "failed", instance.reason
        healthy = all(instance.was_healthy for instance in instances)
        return ("healthy" if healthy else "starting"), ""


@dataclass
class Endpoint:
    spec: EndpointSpec
    fleets: dict[int, Fleet] = field(default_factory=dict)
    requests: int = 0

    def next_fleet(self) -> Fleet | None:
        """The fleet of the next request: each gets its share of 100 requests, evenly spread."""
        self.requests += 1
        fleets = [self.fleets[spec.generation] for spec in self.spec.fleets]
        for fleet in fleets[1:]:
            share = fleet.spec.traffic_percent
            if self.requests * share // 100 > (self.requests - 1) * share // 100:
                return fleet
        return fleets[0] if fleets else None


class Fleets:
    """All endpoints of all accounts and regions."""

    def __init__(self, settings: DataPlaneSettings, artefacts: Artefacts, directory: Path) -> None:
        self.endpoints: dict[tuple[Scope, str], Endpoint] = {}
        self.observations: deque[Observed] = deque(maxlen=_OBSERVATIONS_KEPT)
        self.lines: deque[Line] = deque(maxlen=_LINES_KEPT)
        self.disk_full_endpoints: set[str] = set()
        self._settings, self._artefacts, self._directory = settings, artefacts, directory
        self._numbers = itertools.count(1)
        self._starting = asyncio.Semaphore(_STARTS_AT_A_TIME)
        self._announced: set[str] = set()  # instances whose log streams exist
        self._retiring: dict[Instance, tuple[EndpointSpec, FleetSpec, asyncio.Task[None]]] = {}

    def follow(self, spec: EndpointSpec) -> dict[int, dict[str, str]]:
        """Start and retire instances so that the endpoint becomes this; each fleet's state by generation.

        Raises ValueError for an instance type that cannot be sized.
        """
        key = (spec.scope, spec.name)
        endpoint = self.endpoints.setdefault(key, Endpoint(spec))
        endpoint.spec = spec
        wanted = {fleet.generation: fleet for fleet in spec.fleets}
        for generation in [g for g in endpoint.fleets if g not in wanted]:
            fleet = endpoint.fleets.pop(generation)
            for instance in fleet.instances():
                self._retire(endpoint, fleet, instance)
        for generation, fleet_spec in wanted.items():
            fleet = endpoint.fleets.setdefault(generation, Fleet(fleet_spec))
            fleet.spec = fleet_spec
            for variant_spec in fleet_spec.variants:
                variant = fleet.variants.setdefault(variant_spec.name, Variant(variant_spec))
                variant.spec = variant_spec
                self._resize(endpoint, fleet, variant)
        if not wanted:
            del self.endpoints[key]
        return self.states(spec)

    def states(self, spec: EndpointSpec) -> dict[int, dict[str, str]]:
        endpoint = self.endpoints.get((spec.scope, spec.name))
        fleets = endpoint.fleets.items() if endpoint else ()
        return {generation: dict(zip(("state", "reason"), fleet.state(), strict=True)) for generation, fleet in fleets}

    def take_observations(self) -> list[Observed]:
        taken = list(self.observations)
        self.observations.clear()
        return taken

    def take_lines(self) -> list[Line]:
        """What containers have printed since the last call, and an empty line for each new instance."""
        for endpoint, _, instance, _ in self.everything():
            self._take_lines(endpoint, instance)
        taken = list(self.lines)
        self.lines.clear()
        return taken

    def _take_lines(self, endpoint: EndpointSpec, instance: Instance) -> None:
        names = (*endpoint.scope, endpoint.name, f"{instance.spec.name}/{instance.id}")
        if instance.id not in self._announced:
            self._announced.add(instance.id)
            self.lines.append((*names, 0, ""))
        self.lines.extend((*names, milliseconds, line) for milliseconds, line in instance.printed.take())

    def everything(self) -> list[tuple[EndpointSpec, FleetSpec, Instance, bool]]:
        """Every instance with its endpoint and fleet, and whether it is retiring."""
        running = [
            (endpoint.spec, fleet.spec, instance, False)
            for endpoint in self.endpoints.values()
            for fleet in endpoint.fleets.values()
            for instance in fleet.instances()
        ]
        return running + [(endpoint, fleet, i, True) for i, (endpoint, fleet, _) in self._retiring.items()]

    def described(self) -> list[dict[str, Any]]:
        """Every instance for people and tests, in the order of starting."""
        return sorted(
            (
                {
                    "account": endpoint.scope[0],
                    "region": endpoint.scope[1],
                    "endpoint": endpoint.name,
                    "config": fleet.config_name,
                    "generation": fleet.generation,
                    "traffic_percent": 0 if retiring else fleet.traffic_percent,
                    "variant": instance.spec.name,
                    "retiring": retiring,
                    **instance.described(),
                }
                for endpoint, fleet, instance, retiring in self.everything()
            ),
            key=lambda row: int(row["instance"].removeprefix("i-").partition("/")[0]),
        )

    def kill(self) -> None:
        """SIGKILL to every container."""
        for *_, instance, _retiring in self.everything():
            instance.kill()

    def start_one(self, endpoint: Endpoint, fleet: Fleet, variant: Variant) -> Instance:
        """One more instance of a variant, or one more container of a serverless one; its first container."""
        number = next(self._numbers)
        started = []
        for spec in variant.spec.of_containers():
            # As SageMaker names the log stream of each.
            instance_id = f"i-{number}/{spec.hostname}" if spec.hostname else f"i-{number}"
            instance = Instance(
                instance_id,
                spec,
                scope=endpoint.spec.scope,
                directory=self._directory / instance_id,
                settings=self._settings,
                artefacts=self._artefacts,
                observe=self.observer(endpoint.spec, fleet.spec, variant.spec.name),
                starting=self._starting,
                ended=partial(self._take_lines, endpoint.spec),
            )
            instance.disk_is_full = endpoint.spec.name in self.disk_full_endpoints
            started.append(instance)
        variant.instances += started
        return started[0]

    def stop_idle(self) -> None:
        """Stop the containers of serverless variants that had no call for a while."""
        for endpoint in self.endpoints.values():
            for fleet in endpoint.fleets.values():
                for variant in fleet.variants.values():
                    spec, seconds = variant.spec.serverless, self._settings.serverless_idle_seconds
                    idle = serverless.idle_containers(spec, variant.instances, seconds) if spec else []
                    for instance in idle:
                        variant.instances.remove(instance)
                        self._retire(endpoint, fleet, instance)

    def _resize(self, endpoint: Endpoint, fleet: Fleet, variant: Variant) -> None:
        if variant.spec.serverless is not None:
            spec, instances = variant.spec.serverless, variant.instances
            for _ in range(serverless.containers_to_start(spec, instances, began=variant.began)):
                self.start_one(endpoint, fleet, variant)
            variant.began = True
            return
        for _ in range(len(variant.groups()), variant.spec.count):
            self.start_one(endpoint, fleet, variant)
        for surplus in variant.groups()[variant.spec.count :]:
            for instance in surplus:
                variant.instances.remove(instance)
                self._retire(endpoint, fleet, instance)

    def observer(
        self, endpoint: EndpointSpec, fleet: FleetSpec, variant_name: str, container: str = ""
    ) -> Callable[[str, float], None]:
        """Notes values of the metrics of one variant, or of one of its containers."""
        names = (*endpoint.scope, endpoint.name, variant_name, fleet.config_name, container)

        def observe(metric: str, value: float) -> None:
            self.observations.append((*names, metric, value))

        return observe

    def _retire(self, endpoint: Endpoint, fleet: Fleet, instance: Instance) -> None:
        task = asyncio.get_running_loop().create_task(instance.retire())
        self._retiring[instance] = (replace(endpoint.spec, fleets=()), fleet.spec, task)
        task.add_done_callback(lambda _: self._retiring.pop(instance, None))

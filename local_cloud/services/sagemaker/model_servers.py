"""Endpoints served by real instances: tells the data plane what to run, and reports what became of it."""

import hashlib
from dataclasses import asdict, replace
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id, get_region, set_request_account_id, set_request_region
from ministack.services import sts

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.desired import ContainerSpec, EndpointSpec, FleetSpec, VariantSpec
from local_cloud.data_plane.link import DataPlaneLink
from local_cloud.data_plane.settings import DataPlaneSettings
from local_cloud.services.cloudwatch import endpoint_logs
from local_cloud.services.sagemaker import (
    asynchronous,
    endpoint_configs,
    models,
    observations,
    serverless,
)
from local_cloud.services.sagemaker.endpoint import Change, Endpoint, Variant
from local_cloud.services.sagemaker.serving import Containers, Started, injected_failure, never_healthy

_ACCEPTING = ("InService", "Updating", "RollingBack")
_ENDED = ("Failed", "Deleting")
Key = tuple[str, str, str]
"""Account, region, endpoint name."""


class ModelServers:
    """Implements `serving.Server`. Its callers hold the lock of `endpoint_states`."""

    def __init__(self, link: DataPlaneLink, settings: DataPlaneSettings) -> None:
        self.unhealthy_model_data: set[str] = set()
        self._link, self._settings = link, settings
        self._sent: dict[Key, EndpointSpec] = {}
        # What a generation runs: its configuration may be deleted while it serves.
        self._variants: dict[Key, dict[int, dict[str, VariantSpec]]] = {}
        self._problems: dict[Key, dict[int, str]] = {}

    def follow(self, endpoint: Endpoint) -> None:
        """Tell the data plane what to run now, if it has changed."""
        key = (get_account_id(), get_region(), endpoint.name)
        fleets = self._fleets(key, endpoint)
        spec = EndpointSpec(key[:2], endpoint.name, endpoint.status in _ACCEPTING, fleets)
        if fleets and self._sent.get(key) != spec:
            self._sent[key] = spec
            self._link.ask("follow", endpoint=asdict(spec))
        if endpoint.status in _ENDED:
            if self._sent.pop(key, None):
                self._link.ask("follow", endpoint=asdict(spec))
            self._variants.pop(key, None)
            self._problems.pop(key, None)

    def started(self, endpoint: Endpoint, change: Change, containers: Containers) -> Started | None:
        """Whether every instance of the change has been healthy; a new fleet's failure is known early."""
        if failure := injected_failure(containers, self.unhealthy_model_data):
            return Started(failure)
        key = (get_account_id(), get_region(), endpoint.name)
        if problem := self._problems.get(key, {}).get(change.generation):
            return Started(problem)
        if key not in self._sent:
            return None
        states = self._link.ask("follow", endpoint=asdict(self._sent[key]))
        state = states.get(str(change.generation), {"state": "starting", "reason": ""})
        if state["state"] == "failed":
            return Started(never_healthy(state["reason"]))
        return Started() if state["state"] == "healthy" else None

    def collect(self) -> None:
        """What the instances did since the last call, in the account and region that they belong to."""
        for account, region, endpoint, variant, config, container, metric, value in self._link.ask("observations"):
            set_request_account_id(account)
            set_request_region(region)
            observations.record(endpoint, variant, config, metric, value, container)
        endpoint_logs.store(self._link.ask("lines"))

    def clear(self) -> None:
        self._problems.clear()
        self.unhealthy_model_data.clear()
        self.set_faults({})
        self._link.ask("observations")
        self._link.ask("lines")
        self._link.ask("forget_errors")

    def gauges(self) -> list[tuple[str, str, str, str, str, dict[str, float]]]:
        """(endpoint, variant, config, instance, container, {metric: value}) of each instance in service here.

        Here is the current account and region. container: "" for the whole instance. MemoryUtilization and
        DiskUtilization are 0 to 100, CPUUtilization is 0 to 100 a vCPU; LoadedModelCount is a multi-model endpoint's.
        """
        scope = [get_account_id(), get_region()]
        rows = [row[2:] for row in self._link.ask("gauges") if row[:2] == scope]
        return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]

    def queues(self) -> list[tuple[str, int, float, int]]:
        """(endpoint, requests, age of the oldest in seconds, instances) of each queue of this account and region."""
        scope = [get_account_id(), get_region()]
        return [(row[2], row[3], row[4], row[5]) for row in self._link.ask("queues") if row[:2] == scope]

    def instances(self) -> list[dict[str, Any]]:
        """Every instance of every account, as GET /_tierfleet/instances shows it."""
        rows: list[dict[str, Any]] = self._link.ask("instances")
        return rows

    def errors(self) -> list[dict[str, Any]]:
        """What callers were told, by endpoint and class, as GET /_tierfleet/errors shows it."""
        rows: list[dict[str, Any]] = self._link.ask("errors")
        return rows

    def set_faults(self, faults: dict[str, Any]) -> None:
        """Replace the data plane's injected faults; raises DataPlaneError."""
        self._link.ask("faults", faults=faults)

    def kill_instance(self, which: dict[str, Any]) -> dict[str, Any]:
        """SIGKILL to one container; raises DataPlaneError if there is none."""
        killed: dict[str, Any] = self._link.ask("kill_instance", instance=which)
        return killed

    def _fleets(self, key: Key, endpoint: Endpoint) -> tuple[FleetSpec, ...]:
        if endpoint.status in _ENDED:
            return ()
        change = endpoint.change
        if change is None:
            return self._fleet(key, endpoint.generation, endpoint.config_name, endpoint.variants, 100)
        if change.generation != endpoint.generation:
            share = endpoint.new_fleet_traffic_percent()
            return (
                *self._fleet(key, endpoint.generation, endpoint.config_name, endpoint.variants, 100 - share),
                *self._fleet(key, change.generation, change.config_name, change.variants, share),
            )
        # A change of capacity: instances come at once and go at its end.
        running = {variant.name: variant.instance_count for variant in endpoint.variants}
        variants = [replace(v, instance_count=max(v.instance_count, running[v.name])) for v in change.variants]
        return self._fleet(key, endpoint.generation, endpoint.config_name, variants, 100)

    def _fleet(
        self, key: Key, generation: int, config_name: str, variants: list[Variant], traffic_percent: int
    ) -> tuple[FleetSpec, ...]:
        """One fleet, or none where it cannot be run, for a reason that `started` tells."""
        known = self._variants.setdefault(key, {})
        if generation not in known:
            try:
                known[generation] = self._read(config_name)
            except ValueError as problem:
                self._problems.setdefault(key, {})[generation] = str(problem)
                known[generation] = {}
        specs = tuple(
            replace(
                known[generation][v.name],
                count=v.instance_count,
                weight=v.weight,
                serverless=serverless.spec_of(v.serverless),
            )
            for v in variants
            if v.name in known[generation]
        )
        return (FleetSpec(generation, config_name, traffic_percent, specs),) if specs else ()

    def _read(self, config_name: str) -> dict[str, VariantSpec]:
        """What each variant of a configuration runs. Raises ValueError for what the data plane cannot run."""
        try:
            config = endpoint_configs.describe_endpoint_config({"EndpointConfigName": config_name})
            queue = asynchronous.spec_of(config)
            return {v["VariantName"]: replace(self._variant(v), queue=queue) for v in config["ProductionVariants"]}
        except ServiceError as error:
            raise ValueError(error.message) from None

    def _variant(self, variant: dict[str, Any]) -> VariantSpec:
        model = models.describe_model({"ModelName": variant["ModelName"]})
        containers = [_container(*numbered) for numbered in enumerate(models.containers_of(model), 1)]
        if not containers:
            raise ValueError(f"model {variant['ModelName']} has no container")
        several, first = len(containers) > 1, containers[0]
        mode = model.get("InferenceExecutionConfig", {}).get("Mode", "Serial")
        spec = VariantSpec(
            name=variant["VariantName"],
            count=0,
            weight=1.0,
            instance_type=variant.get("InstanceType"),
            serverless=serverless.spec_of(variant.get("ServerlessConfig")),
            volume_gib=variant.get("VolumeSizeInGB"),
            multi_model=any(container.multi_model for container in containers),
            model_data_url=None if several else first.model_data_url,
            environment={} if several else first.environment,
            cache_disabled=any(container.cache_disabled for container in containers),
            credentials=_credentials(model["ExecutionRoleArn"]),
            image=None if several else first.image,
            execution_mode=mode if several else None,
            containers=tuple(containers) if several else (),
        )
        self._settings.size_of(spec)  # raises for a type without a size
        return spec


def _container(position: int, container: dict[str, Any]) -> ContainerSpec:
    return ContainerSpec(
        hostname=container.get("ContainerHostname", f"container-{position}"),
        image=container.get("Image", ""),
        multi_model=container.get("Mode") == "MultiModel",
        model_data_url=container.get("ModelDataUrl"),
        environment={str(k): str(v) for k, v in container.get("Environment", {}).items()},
        cache_disabled=container.get("MultiModelConfig", {}).get("ModelCacheSetting") == "Disabled",
    )


def _credentials(role_arn: str) -> tuple[str, str, str] | None:
    """Access key, secret key and session token of a model's execution role; None where IAM is not enforced.

    Its trust policy is not evaluated.
    """
    if not app.AUTH:
        return None
    digest = hashlib.sha256(f"sagemaker:{role_arn}".encode()).hexdigest()
    access_key, secret_key, token = f"ASIA{digest[:16].upper()}", f"secret{digest}", f"token{digest}"
    account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    sts.register_session(
        access_key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/SageMaker",
            "UserId": f"{role_name}:SageMaker",
            "SecretAccessKey": secret_key,
            "SessionToken": token,
        },
    )
    return access_key, secret_key, token

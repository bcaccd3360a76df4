"""The small fleet of the tests as synthesised, deployed into an account of the local emulator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud.host import assembly as cloud_assembly
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import fleet
from tierfleet.config import FleetConfig
from tierfleet.config.generation import generation
from tierfleet.models.publish import publish
from tierfleet.runtime import names

MODELS, FLEET = "shop-test-Models", "shop-test-Fleet"
TAIL = "shop--test--tail--all--mme-m5-xlarge"


def whale(tenant: str, instance_type: str = "m5-large") -> str:
    return f"shop--test--whale--{tenant}--dedicated-{instance_type}"


class Fleet:
    """The small fleet of the tests in an account of its own, its models published."""

    def __init__(
        self, account: Account, synth: Callable[..., Path], archive_of: Callable[[str], bytes] = str.encode
    ) -> None:
        """archive_of: what is published as `<tenant>/<version>`."""
        self.account = account
        self._synth, self._archive_of = synth, archive_of
        self.most_guard_seconds = 1
        self.first_models: tuple[str, ...] = ("t1/1", "t2/1", "t3/1", "w1/2027-01-01")
        self._synthesised: dict[str, dict[str, cloud_assembly.AssembledStack]] = {}
        self._first_generation: str | None = None
        self.config = self.changed()

    def changed(self, **changes: Any) -> FleetConfig:
        """The small fleet with these changes. Its multi-model endpoint keeps the generation it was created with."""
        config = fleet(account=self.account.id, **changes)
        if self._first_generation is None:
            return config
        document = config.model_dump(mode="json", exclude_none=True)
        document["tiers"]["tail"]["first_generation"] = self._first_generation
        return FleetConfig.model_validate_json(json.dumps(document))

    def synthesise(self, **changes: Any) -> dict[str, cloud_assembly.AssembledStack]:
        """The stacks by name, their assets published."""
        self.config = self.changed(**changes)
        key = self.config.model_dump_json()
        if key not in self._synthesised:
            (stage,) = self._synth(self.config).glob("assembly-*")
            cloud_assembly.publish_assets(self.account.cloud, stage, self.account.id, self.config.region)
            self._synthesised[key] = {stack.name: stack for stack in cloud_assembly.stacks(stage)}
        return self._synthesised[key]

    def start(self, **changes: Any) -> None:
        """Begin the update and do not wait for its end."""
        self.account.start_deploy(self.template(self.synthesise(**changes)[FLEET]), FLEET)

    def deploy(self, stack: cloud_assembly.AssembledStack) -> str:
        return self.account.deploy(self.template(stack), stack.name)

    def template(self, stack: cloud_assembly.AssembledStack) -> dict[str, Any]:
        """As synthesised, but for the minutes that a rollback gives callers to let go of the routes taken back."""
        template: dict[str, Any] = json.loads(stack.template_file.read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == "Custom::RouteGuard":
                given = int(resource["Properties"]["WaitSeconds"])
                resource["Properties"]["WaitSeconds"] = str(min(given, self.most_guard_seconds))
        return template

    def publish(self, *versions: str) -> None:
        s3, bucket = self.account.client("s3"), names.models_bucket("shop", "test", self.account.id, "eu-west-1")
        for item in versions:
            tenant, _, version = item.partition("/")
            publish(s3, bucket=bucket, tenant=tenant, version=version, archive=self._archive_of(item))

    def create(self, **changes: Any) -> None:
        """The first deployment's order: bucket, models, endpoints."""
        config = self.changed(**changes)
        self._first_generation = generation(config, config.multi_model_tiers["tail"])
        stacks = self.synthesise(**changes)
        assert self.deploy(stacks[MODELS]) == "CREATE_COMPLETE"
        self.publish(*self.first_models)
        assert self.deploy(stacks[FLEET]) == "CREATE_COMPLETE", self.reasons()

    def update(self, **changes: Any) -> str:
        return self.deploy(self.synthesise(**changes)[FLEET])

    def reasons(self) -> str:
        return "\n".join(map(str, self.account.stack_events(FLEET)))

    def served_routes(self) -> dict[str, Any]:
        data = self.account.client("appconfigdata")
        token = data.start_configuration_session(
            ApplicationIdentifier=names.routes_application("shop", "test"),
            EnvironmentIdentifier="test",
            ConfigurationProfileIdentifier=names.ROUTES_PROFILE,
        )["InitialConfigurationToken"]
        document: dict[str, Any] = json.loads(
            data.get_latest_configuration(ConfigurationToken=token)["Configuration"].read()
        )
        return document

    def live_endpoints(self) -> set[str]:
        pages = self.account.client("sagemaker").get_paginator("list_endpoints").paginate()
        return {endpoint["EndpointName"] for page in pages for endpoint in page["Endpoints"]}

    def routes_name_live_endpoints(self) -> bool:
        """Each in service, and the configuration it serves still exists."""
        document, sagemaker = self.served_routes(), self.account.client("sagemaker")
        named = {tier["endpoint"] for tier in document["tiers"].values() if "endpoint" in tier}
        named |= {route["endpoint"] for route in document["tenants"].values()}
        for name in named & self.live_endpoints():
            endpoint = sagemaker.describe_endpoint(EndpointName=name)
            assert endpoint["EndpointStatus"] == "InService", name
            sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        return named <= self.live_endpoints()

    def warmed(self, endpoint: str) -> list[str]:
        calls = self.account.cloud.admin("invocations")
        return [call["target_model"] for call in calls if call["endpoint"] == endpoint]

    def last_deployment(self) -> str:
        return self.account.log("ConfigurationDeploying")[-1][1]


def promoted(*tenants: str, **whale_tier: Any) -> dict[str, Any]:
    pins = {tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in tenants}
    return {"tiers": {"whale": {"tenants": pins, **whale_tier}}}

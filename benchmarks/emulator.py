"""How long the local emulator takes to deploy 150 dedicated endpoints by boto3, and fraud-dev by the CDK CLI.

`--quick` means 10 dedicated endpoints and no CLI.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from benchmarks.deployed_fleet import ROOT, bucket_of, synthesise
from local_cloud import LocalCloud, start
from local_cloud.host import assembly, cdk_cli
from local_cloud.testing.fleets import fleet
from tierfleet.config import FleetConfig, load
from tierfleet.local.deployment import deploy_fleet
from tierfleet.models.publish import publish

PINNED = "m04 = {"
Times = dict[str, float]
Result = TypeVar("Result")


def main() -> None:
    """Print a table, or JSON; wall times only, there is no bar to pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 whales, no CDK CLI")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    whales = 10 if arguments.quick else 150
    with tempfile.TemporaryDirectory() as directory:
        times = {f"{whales} whales, by boto3": by_boto3(Path(directory), whales)}
        if not arguments.quick:
            times["fraud-dev, by the CDK CLI"] = by_cli(Path(directory))
    if arguments.json:
        print(json.dumps(times))
        return
    for title, steps in times.items():
        print(title)
        for step, seconds in steps.items():
            print(f"  {step:<40} {seconds:6.1f} s")


def by_boto3(directory: Path, count: int) -> Times:
    """The tests' small fleet with `count` whales: deployed, one more, one less, all removed."""
    times: Times = {}
    with start(directory / "boto3", account=fleet().account) as cloud:
        names = [f"w{number:03}" for number in range(1, count + 2)]

        def deploy(step: str, tenants: list[str], *, first: bool = False) -> None:
            config = with_whales(tenants)
            folder = timed(times, f"synthesise: {step}", lambda: synthesise(config, directory / step))
            assembly.publish_assets(cloud, folder, config.account, config.region)
            models_stack, fleet_stack = assembly.stacks(folder)
            if first:
                assembly.deploy(cloud, models_stack)
                publish_models(cloud, config, ["t1/1", *(f"{name}/1" for name in names)])
            timed(times, step, lambda: assembly.deploy(cloud, fleet_stack))
            pages = cloud.client("sagemaker", config.account).get_paginator("list_endpoints").paginate()
            endpoints = [endpoint for page in pages for endpoint in page["Endpoints"]]
            assert len(endpoints) == len(tenants) + 1, f"{step}: {len(endpoints)} endpoints"

        deploy("deploy", names[:-1], first=True)
        deploy("promote one", names)
        deploy("demote one", names[:-1])
        deploy("remove every whale but one", names[:1])
        *_, fleet_stack = assembly.stacks(next((directory / "deploy").glob("assembly-*")))
        timed(times, "destroy the fleet", lambda: assembly.destroy(cloud, fleet_stack))
    return times


def with_whales(tenants: list[str]) -> FleetConfig:
    """The small fleet with these whales instead of its own."""
    pins: dict[str, Any] = {tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in tenants}
    document = fleet().model_dump(mode="json", exclude_none=True)
    document["tiers"]["whale"]["tenants"] = pins
    return FleetConfig.model_validate_json(json.dumps(document))


def by_cli(directory: Path) -> Times:
    """bootstrap, deploy, promote, the same again, a broken promotion and its rollback, destroy."""
    times: Times = {}
    file = Path(shutil.copy(ROOT / "config" / "fraud-dev.toml", directory))
    config = load(file)
    stage = f"{config.fleet}-{config.environment}"
    with start(directory / "cli", account=config.account, region=config.region) as cloud:

        def deploy() -> None:
            list(deploy_fleet(cloud, config, file, None))

        timed(times, "bootstrap", lambda: cdk_cli.bootstrap(cloud, config.account, config.region))
        timed(times, "deploy Models", lambda: cdk_cli.deploy(cloud, config.account, [f"{stage}/Models"], file))
        publish_models(cloud, config, [f"{tenant}/2026-11-14" for tenant in ("m01", "m04", "m07")])
        timed(times, "deploy Fleet", lambda: cdk_cli.deploy(cloud, config.account, [f"{stage}/Fleet"], file))
        edit(file, PINNED, f'm07 = {{ model = "m07/2026-11-14.tar.gz" }}\n{PINNED}')
        timed(times, "promote one (both stacks)", deploy)
        timed(times, "nothing changed (both stacks)", deploy)
        edit(file, PINNED, f'm08 = {{ model = "m08/never.tar.gz" }}\n{PINNED}')

        def fail() -> None:
            try:
                deploy()
            except cdk_cli.CdkError:
                return
            sys.exit("a version that was never published was deployed")

        timed(times, "failing update, rolled back", fail)
        destroy = ["destroy", "--force", f"{stage}/Fleet", "--exclusively", "--context", f"config={file}"]
        timed(times, "destroy Fleet", lambda: cdk_cli.run(cloud, config.account, destroy))
    return times


def edit(file: Path, old: str, new: str) -> None:
    """Replace the one occurrence of a text in the fleet file."""
    file.write_text(file.read_text().replace(old, new, 1))


def publish_models(cloud: LocalCloud, config: FleetConfig, versions: list[str]) -> None:
    """A few bytes as each version: no model runs here."""
    s3, bucket = cloud.client("s3", config.account, region=config.region), bucket_of(config)
    for item in versions:
        tenant, _, version = item.partition("/")
        publish(s3, bucket=bucket, tenant=tenant, version=version, archive=item.encode())


def timed(times: Times, step: str, call: Callable[[], Result]) -> Result:
    """Run a step and note its wall time."""
    started = time.monotonic()
    result = call()
    times[step] = round(time.monotonic() - started, 2)
    return result


if __name__ == "__main__":
    main()

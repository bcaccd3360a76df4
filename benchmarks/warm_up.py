"""What the nightly warm-up is worth: the first call of the day against any later one, on 500 real models.

    python -m benchmarks.warm_up [--quick] [--json]

The first 500 of churn-prod on the local emulator, two instances, artefacts at 75 MB/s and 20 ms. Every container starts
empty. The clock is moved to the hour of the schedule, the deployed function runs under its own settings, and then
callers come. Bars: every tenant on the list is warmed within the deadline; the p95 of a warmed tenant's first
InvokeEndpoint is at most 1.2 of that of its next ones. Tenants that are not on the list show what a cold call takes.
`--quick` warms 60. Exits 1 if a bar is missed.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

import numpy as np
import xgboost

from benchmarks.deployed_fleet import ROOT, caller, deploy, publish_models, synthesise
from local_cloud import LocalCloud, start
from local_cloud.host import assembly
from tierfleet.config import FleetConfig, load
from tierfleet.runtime.client import FleetClient

MOST_FIRST_OVER_LATER: Final = 1.2
FEATURES: Final = 30
COLD_TENANTS: Final = 40
LATER_CALLS: Final = 3
# Callers of one block come together, so that a busy moment of the machine meets first and later calls alike.
BLOCK: Final = 25
POINTER_TTL_SECONDS: Final = 1.0
POINTERS_EXPIRE_SECONDS: Final = 1.05
LIMIT_SECONDS: Final = 900.0
VERSION: Final = "2027-09-14"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a list of 60 tenants")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    config = fleet(listed=60 if arguments.quick else 500)
    with tempfile.TemporaryDirectory() as directory:
        result = run(Path(directory), config)
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


def fleet(*, listed: int) -> FleetConfig:
    """churn-prod with the first so many of its warm-up list."""
    document = load(ROOT / "config" / "churn-prod.toml").model_dump(mode="json", exclude_none=True)
    warm_up = document["tiers"]["tail"]["warm_up"]
    warm_up["tenants"] = warm_up["tenants"][:listed]
    return FleetConfig.model_validate_json(json.dumps(document))


def run(directory: Path, config: FleetConfig) -> dict[str, Any]:
    warm_up = config.multi_model_tiers["tail"].warm_up
    assert warm_up is not None
    cold = [f"cold-{number:02d}" for number in range(COLD_TENANTS)]
    say("synthesising, training")
    folder = synthesise(config, directory / "assembly")
    train(directory / "models", [*warm_up.tenants, *cold])
    with start(
        directory / "cloud",
        account=config.account,
        region=config.region,
        serving="models",
        s3_mb_per_second=75,
        s3_first_byte_milliseconds=20,
    ) as cloud:
        assembly.publish_assets(cloud, folder, config.account, config.region)
        deploy(cloud, folder, "Models")
        publish_models(cloud, config, directory / "models")
        say("deploying")
        deploy(cloud, folder, "Fleet")
        say("the night: every container ends")
        end_every_container(cloud)
        say("the hour of the schedule")
        report = scheduled_run(cloud, config)
        say(f"{report}; callers come")
        with caller(cloud, config, pointer_ttl_seconds=POINTER_TTL_SECONDS) as client:
            first, later, first_total = call(client, warm_up.tenants)
            cold_first, *_ = call(client, cold)
    return evaluated(config, report, first, later, first_total, cold_first)


def train(directory: Path, tenants: Sequence[str]) -> None:
    for seed, tenant in enumerate(tenants):
        draw = np.random.default_rng(seed)
        rows = draw.standard_normal((200, FEATURES)).astype(np.float32)
        data = xgboost.DMatrix(rows, label=(rows @ draw.standard_normal(FEATURES) > 1).astype(np.float32))
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 20)
        file = directory / tenant / f"{VERSION}.ubj"
        file.parent.mkdir(parents=True)
        booster.save_model(file)


def end_every_container(cloud: LocalCloud) -> None:
    """SIGKILL to each; returns when all are healthy again, their memories and disks empty."""
    for row in cloud.admin("instances"):
        cloud.admin("faults", {"kill_instance": {"endpoint": row["endpoint"], "instance": row["instance"]}})
    cloud.admin("faults", {})
    until(
        lambda: all(
            row["status"] == "InService" and row["counters"]["restarts"] and not row["loaded_models"]
            for row in cloud.admin("instances")
        ),
        "the containers came back",
    )


def scheduled_run(cloud: LocalCloud, config: FleetConfig) -> dict[str, Any]:
    """The counts of the run that the schedule starts at its next hour, as the function's log has them."""
    seen = len(runs(cloud, config))
    now = datetime.fromtimestamp(cloud.admin("clock")["now"], UTC)
    due = (now + timedelta(days=1)).replace(hour=0, minute=15, second=1, microsecond=0)
    cloud.admin("clock", {"mode": "real"})
    cloud.admin("clock", {"advance_seconds": due.timestamp() - now.timestamp()})
    until(lambda: len(runs(cloud, config)) > seen, "the scheduled run ended")
    return runs(cloud, config)[-1]


def runs(cloud: LocalCloud, config: FleetConfig) -> list[dict[str, Any]]:
    """The `warm-up ended` lines of the scheduled function, oldest first."""
    logs = cloud.client("logs", config.account, region=config.region)
    events = []
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            lines = [event["message"] for event in page["events"] if event["message"].startswith('{"message"')]
            events += [line for line in map(json.loads, lines) if line["message"] == "warm-up ended"]
    return events


def call(client: FleetClient, tenants: Sequence[str]) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of InvokeEndpoint of each tenant's first call and of its later ones; and of the first, all of it.

    A tenant's first call follows a read of its pointer from S3, which runs on the same two processors here. The
    client's pointers expire before each round of later calls, so that these differ in nothing else.
    """
    body = ",".join(["0.5"] * FEATURES).encode()
    first, later, total = [], [], []
    for begin in range(0, len(tenants), BLOCK):
        block = tenants[begin : begin + BLOCK]
        time.sleep(POINTERS_EXPIRE_SECONDS)
        for tenant in block:
            timings = client.invoke(tenant, body).timings
            first.append(timings.calling_seconds * 1000)
            total.append(timings.total_seconds * 1000)
        for _ in range(LATER_CALLS):
            time.sleep(POINTERS_EXPIRE_SECONDS)
            later += [client.invoke(tenant, body).timings.calling_seconds * 1000 for tenant in block]
    return first, later, total


def evaluated(
    config: FleetConfig,
    report: dict[str, Any],
    first: list[float],
    later: list[float],
    first_total: list[float],
    cold: list[float],
) -> dict[str, Any]:
    warm_up = config.multi_model_tiers["tail"].warm_up
    assert warm_up is not None
    over = rank(first, 0.95) / rank(later, 0.95)
    listed, deadline = len(warm_up.tenants), warm_up.deadline_seconds
    bars = [
        {"bar": "tenants warmed", "measured": report["warmed"], "limit": listed, "met": report["warmed"] == listed},
        {"bar": "seconds", "measured": report["seconds"], "limit": deadline, "met": report["seconds"] <= deadline},
        {
            "bar": "p95 of first over later calls",
            "measured": round(over, 2),
            "limit": MOST_FIRST_OVER_LATER,
            "met": over <= MOST_FIRST_OVER_LATER,
        },
    ]
    groups = {
        "first call, warmed": first,
        "later calls": later,
        "first call, warmed, with look-ups": first_total,
        "first call, not on the list": cold,
    }
    return {
        "bars": bars,
        "report": report,
        "milliseconds": times_of(groups),
        "load_average_5_minutes": os.getloadavg()[1],
    }


def times_of(groups: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """The table's figures of each group of calls."""
    return {
        name: {"calls": len(values), "p50": rank(values, 0.5), "p95": rank(values, 0.95), "max": max(values)}
        for name, values in groups.items()
    }


def rank(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def table(result: dict[str, Any]) -> str:
    about = f"the run: {result['report']}; load average {result['load_average_5_minutes']:.1f}"
    return times_and_bars("milliseconds", about, result)


def times_and_bars(title: str, about: str, result: dict[str, Any]) -> str:
    """Times by group, a line about the run, and each bar with what was measured."""
    lines = [f"{title:<36}{'calls':>7}{'p50':>8}{'p95':>8}{'max':>8}"]
    for name, part in result["milliseconds"].items():
        lines.append(f"{name:<36}{part['calls']:7}{part['p50']:8.1f}{part['p95']:8.1f}{part['max']:8.1f}")
    lines.append(about)
    for bar in result["bars"]:
        lines.append(f"{'ok  ' if bar['met'] else 'MISS'} {bar['bar']}: {bar['measured']} (limit {bar['limit']})")
    return "\n".join(lines)


def until(condition: Any, what: str) -> None:
    give_up = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"never: {what}")
        time.sleep(0.5)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

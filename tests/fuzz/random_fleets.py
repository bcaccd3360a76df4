"""Random sound fleets: of every option, near the limits of names, counts and lists, and their templates within AWS's.

python -m tests.fuzz.random_fleets --fleets 200 --seed 1
"""

# Seeded numbers are no secrets.
# ruff: noqa: S311

import argparse
import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fuzz.fleet_files import synthesise_and_check
from tests.fuzz.toml_mutations import toml_of
from tierfleet.config import FleetConfig, load
from tierfleet.config.guardrail_time import BAKE_SECONDS
from tierfleet.config.hosting.serverless import REGIONS as SERVERLESS_REGIONS

ROOT = Path(__file__).resolve().parents[2]

_SCHEDULES = (
    *(
        "cron(45 7 ? * MON-FRI *)",
        "cron(0/15 8-18 ? JAN-JUN,DEC 2 2027-2030)",
        "cron(0 9 L * ? *)",
        "cron(0 9 15W * ? *)",
    ),
    *("cron(0 9 ? * 6#3 *)", "cron(*/20 * * * ? *)", "rate(6 hours)", "at(2027-09-14T07:45:00)"),
)
_ZONES = ("UTC", "Europe/London", "America/Argentina/ComodRivadavia", "Asia/Kolkata")
_REGIONS = ("eu-west-1", "us-east-1", "ap-southeast-1", "cn-north-1", "us-gov-west-1")


def random_document(chosen: random.Random) -> dict[str, Any]:
    """A sound fleet file as data; the same for the same state of `chosen`."""
    region = chosen.choice(_REGIONS)
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    key = f"arn:{partition}:kms:{region}:123456789012:key/11111111-2222-3333-4444-555555555555"
    image: dict[str, Any] = chosen.choice(
        (
            {"image": "sagemaker-xgboost", "version": chosen.choice(("1.7-1", "3.0-5"))},
            {"image": "tierfleet"},
            {"image": f"210987654321.dkr.ecr.{region}.{suffix}/team/{'m' * chosen.randint(1, 150)}:1.0"},
        )
    )
    image["environment"] = {f"NAME_{n}": "ü\n" * chosen.randint(0, 200) for n in range(chosen.choice((0, 3, 20)))}
    document: dict[str, Any] = {
        "fleet": chosen.choice(("shop", "f", "a1-b2", "fraud-scores")),
        "environment": chosen.choice(("prod", "p", "9")),
        "account": "123456789012",
        "region": region,
        "retain": chosen.random() < 0.5,
        "tags": {f"tag {n}": "ä@" * chosen.randint(1, 128) for n in range(chosen.choice((0, 2, 10)))},
        "runbook_url": "https://example.com/" + "r" * chosen.randint(0, 180),
        "network_isolation": chosen.random() < 0.5,
        "detailed_observability": chosen.random() < 0.5,
        "container": image,
        "probe": {"content_type": "text/csv", "body": "0," * chosen.choice((1, 100, 5000)) + "0"},
        "routes": {"ttl_seconds": chosen.choice((15, 60)), "bake_minutes": chosen.choice((5, 1440))},
        "tiers": _tiers(chosen),
    }
    own_image = image["image"] in ("sagemaker-xgboost", "tierfleet")
    if region in SERVERLESS_REGIONS and own_image and chosen.random() < 0.5:
        document["tiers"]["rare"] = _serverless(chosen)
        document["network_isolation"] = False
        document["routes"]["bake_minutes"] = 1440
    elif chosen.random() < 0.5:
        document["network"] = {
            "subnets": [f"subnet-{n:017x}" for n in range(chosen.randint(2, 16))],
            "security_group_ids": [f"sg-{n:08x}" for n in range(chosen.randint(1, 5))],
        }
    if chosen.random() < 0.3:
        role = f"arn:{partition}:iam::123456789012:role/{'p' * chosen.randint(0, 400)}/"
        document["models"] = {"gc_principal_arns": [f"{role}gc{n}" for n in range(chosen.randint(1, 10))]}
    if chosen.random() < 0.5:
        names = ("bucket_kms_key_arn", "volume_kms_key_arn", "topic_kms_key_arn")
        document["encryption"] = {name: key for name in names if chosen.random() < 0.6}
    return document


def _tiers(chosen: random.Random) -> dict[str, Any]:
    tiers = {"tail": _shared(chosen, default=True)}
    for number in range(chosen.choice((0, 0, 1, 4))):
        name = f"{chosen.choice(('s', 'occasional'))}{number}"
        # At times more than a template has room for.
        tenants = [f"{name}-t{n}" for n in range(chosen.choice((1, 200, 200, 9000)))]
        tiers[name] = {**_shared(chosen, default=False), "tenants": tenants}
    for number in range(chosen.choice((0, 1, 1, 2))):
        tiers[f"w{number}"] = _dedicated(chosen, number)
    return tiers


def _tier(chosen: random.Random) -> dict[str, Any]:
    least = chosen.randint(1, 3)
    tier: dict[str, Any] = {
        "instance_type": chosen.choice(("ml.m5.large", "ml.r5.2xlarge", "ml.c7i.48xlarge")),
        "instances": {"min": least, "initial": least, "max": least + chosen.randint(0, 6)},
        "scaling": {
            "max_requests_per_second": chosen.choice((20, 1_000_000, 33.3)),
            "safety_factor": chosen.choice((1.0, 0.123456789)),
            "scale_in_cooldown_seconds": chosen.randint(0, 3600),
        },
    }
    count = chosen.choice((0, 0, 2, 200))
    tier["scaling"]["schedules"] = {
        f"schedule-{n}": {
            "schedule": chosen.choice(_SCHEDULES),
            "timezone": chosen.choice(_ZONES),
            "min": least,
            "max": least + 3,
        }
        for n in range(count)
    }
    for name, most in (("volume_size_in_gb", 512), ("model_data_download_timeout_in_seconds", 3600)):
        if chosen.random() < 0.4:
            tier[name] = chosen.randint(60, most)
    return tier


def _shared(chosen: random.Random, *, default: bool) -> dict[str, Any]:
    tier = {
        **_tier(chosen),
        "hosting": "multi-model",
        "default": default,
        "models_per_instance": 2**31 - 1,
        "model_cache": chosen.choice(("Enabled", "Disabled")),
        "alarms": {"min_cache_hit_ratio": 0.85, "max_unloads_per_hour": 2**31 - 1},
    }
    if chosen.random() < 0.6:
        tier["scale_on_cache"] = {"max_unloads_per_hour": chosen.choice((1, 2**31 - 1)), "add_instances": 3}
    if chosen.random() < 0.6:
        tier["warm_up"] = {
            "schedule": chosen.choice(_SCHEDULES),
            "timezone": chosen.choice(_ZONES),
            "tenants": [f"t{n}" for n in range(chosen.choice((1, 50)))],
        }
    if chosen.random() < 0.3:
        tier["guardrail"] = _guardrail(chosen, tier)
    return tier


def _dedicated(chosen: random.Random, number: int) -> dict[str, Any]:
    tenants = [f"w{number}-{n}" for n in range(chosen.choice((0, 1, 3)))]
    if chosen.random() < 0.5:
        tenants.append(f"550e8400-e29b-41d4-a716-44665544000{number}")
    tier = {
        **_tier(chosen),
        "hosting": "dedicated",
        "alarms": {"max_model_latency_p99_milliseconds": chosen.choice((0.5, 50, 59_999)), "max_5xx_ratio": 0.01},
        "tenants": {tenant: {"model": f"{tenant}/{'v' * chosen.randint(1, 60)}.tar.gz"} for tenant in tenants},
    }
    if chosen.random() < 0.5:
        tier["guardrail"] = _guardrail(chosen, tier)
    return tier


def _serverless(chosen: random.Random) -> dict[str, Any]:
    concurrency = chosen.choice((1, 10, 200))
    tenants = [f"r-{n}" for n in range(chosen.choice((0, 1, 5)))]
    tier: dict[str, Any] = {
        "hosting": "serverless",
        "memory_size_in_mb": chosen.choice((1024, 3072, 6144)),
        "max_concurrency": concurrency,
        "alarms": {"max_model_latency_p99_milliseconds": chosen.choice((0.5, 59_999))},
        "tenants": {tenant: {"model": f"{tenant}/{'v' * chosen.randint(1, 60)}.tar.gz"} for tenant in tenants},
    }
    if chosen.random() < 0.5:
        tier["provisioned_concurrency"] = chosen.randint(1, concurrency)
    return tier


def _guardrail(chosen: random.Random, tier: dict[str, Any]) -> dict[str, Any]:
    kind = chosen.choice(("LINEAR", "ALL_AT_ONCE", *(("CANARY",) if tier["instances"]["min"] >= 2 else ())))
    return {
        "type": kind,
        "linear_step_percent": chosen.randint(10, 50),
        "wait_interval_in_seconds": chosen.randint(BAKE_SECONDS, 900),
        "termination_wait_in_seconds": chosen.randint(BAKE_SECONDS, 3600),
        "maximum_execution_timeout_in_seconds": 28_800,
    }


def random_fleets(count: int, seed: int) -> list[FleetConfig]:
    """So many fleets, each from its file. Raises ConfigError should one not be sound: this generator is wrong then."""
    fleets = []
    with TemporaryDirectory(prefix="tierfleet-fuzz-") as folder:
        for number in range(count):
            document = random_document(random.Random(f"{seed}.{number}"))
            file = Path(folder) / f"{document['fleet']}-{document['environment']}.toml"
            file.write_bytes(toml_of(document))
            fleets.append(load(file))
    return fleets


def main() -> int:
    """Exit code 1 if a template passes a limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fleets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.environ["CDK_VALIDATION"] = "false"
    findings = [
        f"{given.seed}.{number}: {finding}"
        for number, config in enumerate(random_fleets(given.fleets, given.seed))
        for finding in synthesise_and_check(config)
    ]
    print(f"{given.fleets} fleets: {len(findings)} findings")
    print(*findings[:20], sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

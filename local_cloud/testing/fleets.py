"""Fleet files for tests: a small sound document, and changes to it."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import tomlkit

from tierfleet.config import CheckedFile, FleetConfig, check_file

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
FLEET_FILES = sorted(CONFIG.glob("*.toml"))

_BASE: dict[str, Any] = {
    "fleet": "shop",
    "environment": "test",
    "account": "123456789012",
    "region": "eu-west-1",
    "runbook_url": "https://example.com/runbook.md",
    "container": {"image": "sagemaker-xgboost", "version": "1.7-1", "environment": {"OMP_NUM_THREADS": "1"}},
    "probe": {"content_type": "text/csv", "body": "0,0,0"},
    "routes": {"ttl_seconds": 60, "bake_minutes": 5},
    "tiers": {
        "tail": {
            "hosting": "multi-model",
            "default": True,
            "instance_type": "ml.m5.xlarge",
            "instances": {"min": 2, "max": 6, "initial": 2},
            # Of the container and the instances here: the endpoint's name has no suffix until one of them changes.
            "first_generation": "tjscld",
            "models_per_instance": 60,
            "scaling": {"max_requests_per_second": 50, "safety_factor": 0.5},
            "scale_on_cache": {"max_unloads_per_hour": 200, "add_instances": 1},
            "alarms": {"min_cache_hit_ratio": 0.85, "max_loading_wait_seconds": 3.0},
            "warm_up": {
                "schedule": "cron(45 7 ? * MON-FRI *)",
                "timezone": "Europe/London",
                "tenants": ["t1", "t2", "t3"],
            },
        },
        "whale": {
            "hosting": "dedicated",
            "instance_type": "ml.m5.large",
            "instances": {"min": 2, "max": 8, "initial": 2},
            "scaling": {"max_requests_per_second": 100, "safety_factor": 0.5},
            "alarms": {"max_model_latency_p99_milliseconds": 50},
            "tenants": {"w1": {"model": "w1/2027-01-01.tar.gz"}},
        },
    },
}

DELETE = object()

Synth = Callable[..., Path]


def document(**changes: Any) -> dict[str, Any]:
    """The small document with these changes merged in; DELETE as a value removes its key."""
    return merged(deepcopy(_BASE), changes)


def serverless_tier(tenants: tuple[str, ...] = ("r1",), **changes: Any) -> dict[str, Any]:
    """The table of a serverless tier for these tenants. Its fleet needs network_isolation = false and a longer bake."""
    return {
        "hosting": "serverless",
        "memory_size_in_mb": 3072,
        "max_concurrency": 5,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "tenants": {tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in tenants},
        **changes,
    }


def fleet(**changes: Any) -> FleetConfig:
    """The small fleet with these changes merged in. Raises ValueError where the result is not sound."""
    return FleetConfig.model_validate_json(json.dumps(document(**changes)))


def checked(directory: Path, content: dict[str, Any], name: str = "shop-test.toml") -> CheckedFile:
    """A document written as a fleet file and checked."""
    file = directory / name
    file.write_text(tomlkit.dumps(content), encoding="utf-8")
    return check_file(file)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with these changes, table by table; it is changed itself."""
    for key, value in changes.items():
        if value is DELETE:
            base.pop(key, None)
        elif isinstance(value, dict):
            below = base.get(key)
            base[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            base[key] = value
    return base


def read_templates(assembly: Path) -> dict[str, dict[str, Any]]:
    """The templates of an assembly directory by file name without endings."""
    return {file.name.split(".")[0]: json.loads(file.read_text()) for file in sorted(assembly.rglob("*.template.json"))}


_KEY = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"
# Everything that is off in config/: a VPC, customers' keys, isolation, bounds by the clock.
EVERYTHING_ON = fleet(
    network={
        "subnets": ["subnet-0000000000000000a", "subnet-0000000000000000b"],
        "security_group_ids": ["sg-0000000000000000c"],
    },
    encryption={"bucket_kms_key_arn": _KEY, "volume_kms_key_arn": _KEY, "topic_kms_key_arn": _KEY},
    network_isolation=True,
    detailed_observability=True,
    tiers={
        "tail": {
            "guardrail": {"type": "LINEAR"},
            "scaling": {"schedules": {"night": {"schedule": "cron(0 20 * * ? *)", "min": 1, "max": 2}}},
        }
    },
)

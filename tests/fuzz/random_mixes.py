"""Random mixes of hosting shapes: each gives templates that AWS takes, or exit code 2 with every problem named.

    python -m tests.fuzz.random_mixes --mixes 200 --seed 1

A mix takes tiers of any shapes and the rest of the file at random, so that about half of them contradict each other: a
serverless tier in a VPC, a tenant on two tiers, a key of another shape. An accepted mix is synthesised. Its templates
must pass cfn-lint, the table of AWS limits, the checks of tests/support/template_checks.py, the local emulator's rules
for endpoint configurations, and the table of published metrics. A refused one must name the table of each problem.
"""

# Seeded numbers are no secrets.
# ruff: noqa: S311

import argparse
import json
import os
import random
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from template_checks import check_template

from tests.fuzz.shape_checks import check_shapes
from tests.fuzz.toml_mutations import toml_of
from tierfleet.config import FleetConfig, check_file
from tierfleet.config.hosting import TIERS
from tierfleet.config.problems import errors_of

ROOT = Path(__file__).resolve().parents[2]
_ACCOUNT = "123456789012"
_REGIONS = ("eu-west-1", "us-east-1", "ap-southeast-3", "cn-north-1")

Document = dict[str, Any]


@dataclass
class Summary:
    """What became of the mixes."""

    accepted: int = 0
    refused: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    """Tiers of each shape in accepted mixes."""
    problems: Counter[str] = field(default_factory=Counter)
    """Errors by key."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shapes = ", ".join(f"{count} {word}" for word, count in sorted(self.shapes.items()))
        return (
            f"{self.accepted + self.refused} mixes: {self.accepted} synthesised with {shapes} tiers, {self.refused} "
            f"refused with {self.problems.total()} errors at {len(self.problems)} keys; {len(self.faults)} faults"
        )


def check_mixes(mixes: int, seed: int, *, most_synthesised: int | None = None) -> Summary:
    """Make so many mixes and check each; the same for the same seed. most_synthesised: the rest is only checked."""
    summary = Summary()
    with TemporaryDirectory(prefix="tierfleet-mixes-") as folder:
        for number in range(mixes):
            document = random_mix(random.Random(f"{seed}.{number}"))
            file = Path(folder) / f"{document['fleet']}-{document['environment']}.toml"
            file.write_bytes(toml_of(document))
            where = f"{seed}.{number}"
            try:
                config = _checked(file, document, where, summary)
                if config is not None and (most_synthesised is None or summary.accepted <= most_synthesised):
                    _synthesise(config, Path(folder) / where, where, summary)
            except Exception:
                summary.faults.append(f"{where}: {traceback.format_exc()}")
        summary.faults += lint(sorted(Path(folder).rglob("*.template.json")))
    return summary


def _checked(file: Path, document: Document, where: str, summary: Summary) -> FleetConfig | None:
    checked = check_file(file)
    errors = errors_of(checked.problems)
    summary.accepted += checked.config is not None
    summary.refused += checked.config is None
    summary.problems.update(problem.key for problem in errors)
    tables = ("tiers", "routes", "container", "network", "encryption", "")
    summary.faults += [
        f"{where}: the problem does not say where or what to do: {problem}"
        for problem in errors
        if problem.table.partition(".")[0] not in tables or not problem.fix or not problem.message
    ]
    if checked.config is not None:
        summary.shapes.update(tier.hosting for tier in checked.config.tiers.values())
        summary.faults += [f"{where}: {text} was accepted" for text, holds in CONTRADICTIONS.items() if holds(document)]
    return checked.config


def _synthesise(config: FleetConfig, outdir: Path, where: str, summary: Summary) -> None:
    import aws_cdk as cdk

    from stacks.fleet_stage import FleetStage
    from tierfleet.template_limits import check_assembly

    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = cdk.App(context=context, outdir=str(outdir), tree_metadata=False, analytics_reporting=False)
    FleetStage(app, config)
    assembly = Path(app.synth().directory)
    findings = check_assembly(assembly)
    for file in sorted(assembly.rglob("*.template.json")):
        template = json.loads(file.read_text(encoding="utf-8"))
        findings += [*check_template(template), *check_shapes(template)]
    summary.faults += [f"{where}: {finding}" for finding in findings]


def lint(templates: list[Path]) -> list[str]:
    """What cfn-lint finds. W3005: CDK writes DependsOn next to a reference that implies it."""
    if not templates:
        return []
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", "W3005", "--regions", "us-east-1"]
    result = subprocess.run([*command, "--", *map(str, templates)], capture_output=True, text=True, check=False)
    return [] if result.returncode == 0 else [f"cfn-lint: {result.stdout[-3000:]}{result.stderr[-1000:]}"]


def _serverless(document: Document) -> bool:
    return any(tier.get("hosting") == "serverless" for tier in document["tiers"].values())


def _tenants(document: Document) -> list[str]:
    return [tenant for tier in document["tiers"].values() for tenant in tier.get("tenants", ())]


# What no accepted file may be, found in the document itself and not by the rules under test.
CONTRADICTIONS: Mapping[str, Callable[[Document], bool]] = {
    "a serverless tier in a VPC": lambda document: _serverless(document) and "network" in document,
    "an isolated serverless tier": lambda document: _serverless(document) and document.get("network_isolation") is True,
    "a serverless tier in a region without them": lambda document: (
        _serverless(document) and document["region"] in ("ap-southeast-3", "cn-north-1")
    ),
    "an asynchronous multi-model tier": lambda document: any(
        tier.get("hosting") == "async" and isinstance(tier.get("tenants"), list) for tier in document["tiers"].values()
    ),
    "a tenant on two tiers": lambda document: len(set(_tenants(document))) < len(_tenants(document)),
    "a fleet without a default tier, or with two": lambda document: (
        sum(tier.get("default", False) for tier in document["tiers"].values()) != 1
    ),
}


def random_mix(chosen: random.Random) -> Document:
    """A fleet file as data, sound or not; the same for the same state of `chosen`."""
    region = chosen.choice((*_REGIONS, "eu-west-1", "us-east-1", "us-east-1"))
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    own = f"{_ACCOUNT}.dkr.ecr.{region}.{domain}/team/models:1.0"
    image: Document = chosen.choice(
        ({"image": "sagemaker-xgboost", "version": "3.0-5"}, {"image": "tierfleet"}, {"image": own})
    )
    document: Document = {
        "fleet": "mix",
        "environment": "test",
        "account": chosen.choice((_ACCOUNT, _ACCOUNT, _ACCOUNT, "210987654321")),
        "region": region,
        "runbook_url": "https://example.com/runbook.md",
        "container": image,
        "probe": {"content_type": "text/csv", "body": "0,0,0"},
        "routes": {"ttl_seconds": chosen.choice((15, 60)), "bake_minutes": chosen.choice((5, 60, 1440, 1440))},
        "tiers": {"tail": MIXED["multi-model"](chosen, "tail") | {"default": True, "tenants": []}},
    }
    if (isolated := chosen.choice((None, False, False, True))) is not None:
        document["network_isolation"] = isolated
    if chosen.random() < 0.25:
        document["network"] = {
            "subnets": [f"subnet-{n:017x}" for n in range(2)],
            "security_group_ids": ["sg-00000001"],
        }
    for number in range(chosen.randint(0, 5)):
        hosting = chosen.choice(sorted(MIXED))
        name = f"{hosting.split('-')[0]}{number}"
        document["tiers"][name] = MIXED[hosting](chosen, name)
    if chosen.random() < 0.3:
        _contradict(chosen, document)
    elif chosen.random() < 0.7:
        document |= {
            "region": chosen.choice(("eu-west-1", "us-east-1")),
            "account": _ACCOUNT,
            "container": _image(chosen),
        }
        document |= {"network_isolation": False, "routes": {"ttl_seconds": 15, "bake_minutes": 60}}
        if _serverless(document):
            document.pop("network", None)
    return document


def _odd(chosen: random.Random) -> bool:
    """Whether to write a value that its own table refuses."""
    return chosen.random() < 0.05


def _contradict(chosen: random.Random, document: Document) -> None:
    """One mistake that a writer of the file makes."""
    tier = chosen.choice(list(document["tiers"].values()))
    other = chosen.choice(list(document["tiers"].values()))
    mistake = chosen.randrange(4)
    if mistake == 0:
        key = chosen.choice(sorted(tier))
        del tier[key]
    elif mistake == 1:
        key = chosen.choice(sorted(other))
        tier[key] = other[key]
    elif mistake == 2:
        tier["hosting"] = chosen.choice([*TIERS, "inference-component"])
    else:
        document["tiers"]["second"] = dict(tier)


def _pins(chosen: random.Random, name: str) -> Document:
    return {f"{name}-t{n}": {"model": f"{name}-t{n}/{n + 1}.tar.gz"} for n in range(chosen.choice((0, 1, 1, 3)))}


def _instances(chosen: random.Random) -> Document:
    least = chosen.randint(1, 3)
    return {
        "instance_type": chosen.choice(("ml.m5.large", "ml.r5.2xlarge", "ml.c5.xlarge")),
        "instances": {"min": least, "initial": least, "max": least + chosen.randint(0, 3)},
        "scaling": {"max_requests_per_second": chosen.choice((20, 500))},
    }


def _multi_model(chosen: random.Random, name: str) -> Document:
    tier: Document = {
        **_instances(chosen),
        "hosting": "multi-model",
        "models_per_instance": 100,
        "alarms": {"min_cache_hit_ratio": 0.8},
        "tenants": [f"{name}-t{n}" for n in range(chosen.choice((1, 20)))],
    }
    if chosen.random() < 0.5:
        tier["scale_on_cache"] = {"max_unloads_per_hour": 100}
    if chosen.random() < 0.5:
        minute = chosen.randrange(60)
        tier["warm_up"] = {"schedule": f"cron({minute} 7 * * ? *)", "tenants": [f"{name}-t0"]}
    return tier


def _dedicated(chosen: random.Random, name: str) -> Document:
    return {
        **_instances(chosen),
        "hosting": "dedicated",
        "alarms": {"max_model_latency_p99_milliseconds": 50},
        "tenants": _pins(chosen, name),
    }


def _serverless_tier(chosen: random.Random, name: str) -> Document:
    concurrency = chosen.choice((1, 20, 200))
    tier: Document = {
        "hosting": "serverless",
        "memory_size_in_mb": chosen.choice((1024, 3072, 6144)),
        "max_concurrency": concurrency,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "tenants": _pins(chosen, name),
    }
    if chosen.random() < 0.3:
        tier["provisioned_concurrency"] = concurrency + 1 if _odd(chosen) else chosen.randint(1, concurrency)
    return tier


def _multi_container(chosen: random.Random, name: str) -> Document:
    hostnames = ["card-present", "Doc-1", "velocity", "v" * 63][: 1 if _odd(chosen) else chosen.randint(2, 4)]
    tenants = {
        tenant: {
            "primary": "other" if _odd(chosen) else chosen.choice(hostnames),
            "containers": [
                {"hostname": hostname, **_image(chosen), "model": f"{tenant}/{hostname.lower()}-1.tar.gz"}
                for hostname in hostnames
            ],
        }
        for tenant in _pins(chosen, name)
    }
    return {
        **_instances(chosen),
        "hosting": "multi-container",
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "tenants": tenants,
    }


def _pipeline(chosen: random.Random, name: str) -> Document:
    count = 1 if _odd(chosen) else chosen.choice((2, 3, 15))
    stages: list[Document] = [
        {"name": f"s{n}", **_image(chosen), "model": f"common/s{n}-1.tar.gz"} for n in range(count)
    ]
    if chosen.random() < 0.5:
        stages[0]["max_average_latency_milliseconds"] = 20
    shared = chosen.random() < 0.4
    del stages[-1]["model"]
    stages[-1] |= {"mode": "MultiModel"} if shared else {"model": "tenant"}
    if _odd(chosen):
        stages[0]["mode"] = "MultiModel"
    return {
        **_instances(chosen),
        "hosting": "pipeline",
        "stages": stages,
        "probe": {"content_type": "text/csv", "body": "0,0,0"},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "tenants": {tenant: {} for tenant in _pins(chosen, name)} if shared else _pins(chosen, name),
    }


def _async(chosen: random.Random, name: str) -> Document:
    least = chosen.choice((0, 0, 1))
    concurrency = 1001 if _odd(chosen) else chosen.choice((1, 4, 1000))
    tier: Document = {
        "hosting": "async",
        "instance_type": chosen.choice(("ml.m5.large", "ml.c5.xlarge")),
        "instances": {"min": least, "initial": 0 if _odd(chosen) else 1, "max": 1 + chosen.randint(0, 3)},
        "scaling": {"backlog_size_per_instance": chosen.choice((0.5, 5, 1000))},
        "tenants": sorted(_pins(chosen, name)) if _odd(chosen) else _pins(chosen, name),
    }
    if chosen.random() < 0.5:
        tier["max_concurrent_invocations_per_instance"] = concurrency
    return tier


def _image(chosen: random.Random) -> Document:
    return dict(chosen.choice(({"image": "sagemaker-xgboost", "version": "3.0-5"}, {"image": "tierfleet"})))


MIXED: Mapping[str, Callable[[random.Random, str], Document]] = {
    "multi-model": _multi_model,
    "dedicated": _dedicated,
    "multi-container": _multi_container,
    "pipeline": _pipeline,
    "serverless": _serverless_tier,
    "async": _async,
}
"""A random tier of each shape; a test holds the words against the shapes that tierfleet has."""


def main() -> int:
    """Exit code 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mixes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.environ["CDK_VALIDATION"] = "false"
    summary = check_mixes(given.mixes, given.seed)
    print(summary)
    print(*summary.faults[:20], sep="\n")
    return 1 if summary.faults else 0


if __name__ == "__main__":
    sys.exit(main())

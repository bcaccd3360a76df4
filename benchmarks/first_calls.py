"""The first calls after a move: as quick as any other, since the models are loaded before the routes change.

    python -m benchmarks.first_calls [--quick] [--json]

A fleet of fraud-dev's shape on the local emulator, with real models and model servers: two multi-model endpoints, and
merchants with dedicated endpoints. Three deployments: another version of the image (a new generation of both shared
endpoints), a demotion of all dedicated merchants at once, a move of tenants from the second multi-model endpoint to the
first. After each, every tenant that had to be warm is called once, then again. Bar: the p95 of the first InvokeEndpoint
is at most 1.2 of that of the later ones; the client reads the tenants' pointers again before all of them. Tenants that
were not warmed show how long a cold first call takes. `--quick` takes a third of the tenants. Exits 1 if a bar is
missed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from benchmarks.deployed_fleet import ROOT, caller, deploy, publish_models, synthesise
from benchmarks.warm_up import (
    FEATURES,
    MOST_FIRST_OVER_LATER,
    POINTER_TTL_SECONDS,
    VERSION,
    call,
    rank,
    say,
    times_and_bars,
    times_of,
    train,
)
from local_cloud import start
from local_cloud.host import assembly
from tierfleet.config import FleetConfig, load

LISTED, MOVING, WHALES, COLD = 100, 100, 20, 40


def fleet(*, listed: Sequence[str], second: Sequence[str], whales: Sequence[str], version: str) -> FleetConfig:
    """fraud-dev with a second multi-model endpoint, these tenants and this version of the stock image."""
    document: dict[str, Any] = load(ROOT / "config" / "fraud-dev.toml").model_dump(mode="json", exclude_none=True)
    one = {"min": 1, "max": 1, "initial": 1}
    tail, whale = document["tiers"]["tail"], document["tiers"]["whale"]
    tail |= {"instances": one, "models_per_instance": 1000, "scaling": {"max_requests_per_second": 1000}}
    tail["warm_up"] |= {"tenants": list(listed), "concurrency": 2}
    second_tier = {**tail, "default": False, "tenants": list(second)}
    del second_tier["warm_up"]
    whale |= {"instances": one, "tenants": {tenant: {"model": f"{tenant}/{VERSION}.tar.gz"} for tenant in whales}}
    whale["alarms"]["max_model_latency_p99_milliseconds"] = 5000
    document["container"]["version"] = version
    document["probe"]["body"] = ",".join(["0"] * FEATURES)
    document["tiers"]["second"] = second_tier
    return FleetConfig.model_validate_json(json.dumps(document))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the tenants")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        result = run(Path(directory), share=3 if arguments.quick else 1)
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


def run(directory: Path, *, share: int) -> dict[str, Any]:
    """Deploy, move three times, call after each; share: how many times fewer tenants than usual."""
    listed, moving, whales, cold = (
        [f"{word}{number:02d}" for number in range(count // share)]
        for word, count in (("listed", LISTED), ("moving", MOVING), ("whale", WHALES), ("cold", COLD))
    )
    stays = "stays"
    first = fleet(listed=listed, second=[*moving, stays], whales=whales, version="1.7-1")
    steps = {
        "a new image": (fleet(listed=listed, second=[*moving, stays], whales=whales, version="3.0-5"), listed),
        "demotions": (fleet(listed=listed, second=[*moving, stays], whales=[], version="3.0-5"), whales),
        "moves between shared tiers": (fleet(listed=listed, second=[stays], whales=[], version="3.0-5"), moving),
    }
    say("synthesising, training")
    configs = [first, *(config for config, _ in steps.values())]
    folders = [synthesise(config, directory / f"assembly-{n}") for n, config in enumerate(configs)]
    train(directory / "models", [*listed, *moving, *whales, *cold, stays])
    with start(directory / "cloud", account=first.account, region=first.region, serving="models") as cloud:
        for folder in folders:
            assembly.publish_assets(cloud, folder, first.account, first.region)
        deploy(cloud, folders[0], "Models")
        publish_models(cloud, first, directory / "models")
        say("deploying")
        deploy(cloud, folders[0], "Fleet")
        measured: dict[str, tuple[list[float], list[float], list[float]]] = {}
        cold_first: list[float] = []
        for (name, (_, tenants)), folder in zip(steps.items(), folders[1:], strict=True):
            say(name)
            deploy(cloud, folder, "Fleet")
            say(f"{name}: callers come")
            with caller(cloud, first, pointer_ttl_seconds=POINTER_TTL_SECONDS) as client:
                measured[name] = call(client, tenants)
                if not cold_first:
                    cold_first, *_ = call(client, cold)
    return evaluated(measured, cold_first)


def evaluated(measured: dict[str, tuple[list[float], list[float], list[float]]], cold: list[float]) -> dict[str, Any]:
    """The table's rows and every bar, measured and met or not."""
    rows: dict[str, list[float]] = {}
    bars: list[dict[str, Any]] = []
    for name, (first, later, _) in measured.items():
        over = rank(first, 0.95) / rank(later, 0.95)
        met = over <= MOST_FIRST_OVER_LATER
        bar = f"p95 of first over later calls after {name}"
        bars.append({"bar": bar, "measured": round(over, 2), "limit": MOST_FIRST_OVER_LATER, "met": met})
        rows |= {f"{name}: first": first, f"{name}: later": later}
    rows["first call, not warmed"] = cold
    return {"bars": bars, "milliseconds": times_of(rows), "load_average_5_minutes": os.getloadavg()[1]}


def table(result: dict[str, Any]) -> str:
    about = f"load average {result['load_average_5_minutes']:.1f}"
    return times_and_bars("milliseconds of InvokeEndpoint", about, result)


if __name__ == "__main__":
    sys.exit(main())

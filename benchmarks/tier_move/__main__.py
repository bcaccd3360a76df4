"""No call is lost by a move: a fraud-shaped fleet of real models on the local emulator, moved under 200 requests/s.

    python -m benchmarks.tier_move [--quick | --part N] [--whole-bake] [--early-start MODE] [--json]

70 merchants with models of their own; three client processes (Python on two lines of boto3, Node); every prediction is
compared with the model's own. Bars: no call failed, none wrong; a whale's p99 during each move at most twice that at
rest; the hit ratio in the five minutes after a flip of the multi-model endpoint at least 0.95 of that before.

`--quick` promotes, demotes, rolls one version out and cancels an update; `--part` runs some of the moves.
`--early-start` says whether CloudFormation lets a resource begin before the endpoint that it refers to is ready (off,
creation, always). Callers hold a route for 15 s and give up a call after 10, so of each bake 40 s pass in wall time
(2 x TTL + a call) and the rest is skipped; `--whole-bake` waits all of it. Exits 1 if a bar is missed.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from benchmarks.deployed_fleet import deploy, synthesise
from benchmarks.tier_move.clock import Clock
from benchmarks.tier_move.fleet import (
    BROKEN,
    TENANTS,
    V1,
    V2,
    WHALES,
    Model,
    fleet,
    make_current,
    publish_models,
    traffic_of,
    train,
)
from benchmarks.tier_move.sampler import CacheSampler
from benchmarks.traffic import traffic as fleet_traffic
from benchmarks.traffic.summary import Part, Summary
from local_cloud import LocalCloud, start
from local_cloud.core.early_start import EarlyStart
from local_cloud.host import assembly
from tierfleet.config import FleetConfig

REQUESTS_PER_SECOND: Final = 200.0
CALL_DEADLINE_SECONDS: Final = 10.0
MOST_P99_GROWTH: Final = 2.0
LEAST_HIT_RATIO_SHARE: Final = 0.95
AFTER_FLIP_SECONDS: Final = 300.0
# Of the calls, sent over 50 ms after they were due.
MOST_LATE: Final = 0.01
# 7 MiB of an ml.m5.large for models: the merchants with traffic fit, the occasional ones push one another out.
SCALE: Final = 0.001
PINS: Final = dict.fromkeys(WHALES, V1)
REST, LAST_REST = "at rest", "at rest again"
TAIL_RETYPE: Final = "retype the multi-model endpoint"
# What an edit of its image or its environment is too, but those would update the whales as well.
NEW_GENERATION: Final = "another disk of the shared one"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One deployment under load."""

    name: str
    config: FleetConfig
    versions: tuple[str, str, str] | None = None
    """Tenant, its version before, its version after. Both are right while the move runs."""
    fails: bool = False
    """Whether the deployment must be rolled back."""
    during: "Callable[[Bench], None] | None" = None
    """Called during the deployment, in a thread of its own."""


@dataclass
class Bench:
    cloud: LocalCloud
    config: FleetConfig
    models: list[Model]
    traffic: fleet_traffic.Running
    clock: Clock


def publish_m12(bench: Bench) -> None:
    """m12, on the multi-model endpoint, is retrained: both versions are right until callers' pointers expire."""
    (model,) = (model for model in bench.models if (model.tenant, model.version) == ("m12", V2))
    bench.traffic.versions("m12", V1, V2)
    make_current(bench.cloud, bench.config, model)
    time.sleep(60 + CALL_DEADLINE_SECONDS)
    bench.traffic.versions("m12", V2)


def report_route_errors(bench: Bench) -> None:
    """Once callers hold the new routes, say what callers say who meet an endpoint that is gone."""
    bench.clock.wait_for_flip(len(bench.clock.flips) + 1, 120)
    time.sleep(bench.config.routes.ttl_seconds + 2)
    dimensions = [
        {"Name": "Fleet", "Value": bench.config.fleet},
        {"Name": "Environment", "Value": bench.config.environment},
    ]
    bench.cloud.client("cloudwatch", bench.config.account, region=bench.config.region).put_metric_data(
        Namespace="tierfleet", MetricData=[{"MetricName": "RouteErrors", "Value": 50, "Dimensions": dimensions}]
    )


def cancel_the_update(bench: Bench) -> None:
    """Once callers hold the new routes, as somebody does who sees that the change was wrong."""
    bench.clock.wait_for_flip(len(bench.clock.flips) + 1, 120)
    time.sleep(bench.config.routes.ttl_seconds + 2)
    cloudformation = bench.cloud.client("cloudformation", bench.config.account, region=bench.config.region)
    cloudformation.cancel_update_stack(StackName=f"{bench.config.fleet}-{bench.config.environment}-Fleet")


RETYPED: Final[dict[str, Any]] = {"tail_instance_type": "ml.c5.xlarge", "whale_instance_type": "ml.c5.xlarge"}
FORWARD: Final = {"m01": V2, "m04": V1}

# Each part begins with the fleet as the part before it leaves it, so that one alone shows what all of them show.
PARTS: Final = (
    (
        Move(name=TAIL_RETYPE, config=fleet(pins=PINS, tail_instance_type="ml.c5.xlarge")),
        Move(name="retype the whales", config=fleet(pins=PINS, **RETYPED)),
    ),
    (
        Move(name="m01 to v2", config=fleet(pins=FORWARD, **RETYPED), versions=("m01", V1, V2)),
        Move(name="m01 back to v1", config=fleet(pins=PINS, **RETYPED), versions=("m01", V2, V1)),
    ),
    (
        Move(
            name="promote m07, publish m12",
            config=fleet(pins={**PINS, "m07": V1}, **RETYPED),
            during=publish_m12,
        ),
        Move(name="demote m07", config=fleet(pins=PINS, **RETYPED)),
        Move(
            name="fails before the Deployment",
            config=fleet(pins={**PINS, "m08": BROKEN}, whale_instance_type="ml.c5.xlarge"),
            fails=True,
        ),
    ),
    (
        Move(
            name="cancelled during the bake",
            config=fleet(pins={**PINS, "m18": V1}, whale_instance_type="ml.c5.xlarge"),
            fails=True,
            during=cancel_the_update,
        ),
        Move(
            name="Deployment taken back",
            config=fleet(pins={**PINS, "m18": V1}, **RETYPED),
            fails=True,
            during=report_route_errors,
        ),
    ),
    (Move(name=NEW_GENERATION, config=fleet(pins=PINS, tail_volume_size_in_gb=100, **RETYPED)),),
)

QUICK: Final = (
    Move(
        name="cancelled during the bake",
        config=fleet(pins={**PINS, "m18": V1}, tail_instance_type="ml.c5.xlarge"),
        fails=True,
        during=cancel_the_update,
    ),
    Move(name="promote m07", config=fleet(pins={**PINS, "m07": V1})),
    Move(name="demote m07", config=fleet(pins=PINS)),
    Move(name="m01 to v2", config=fleet(pins=FORWARD), versions=("m01", V1, V2)),
)


def chosen(*, quick: bool, part: int | None) -> tuple[FleetConfig, list[Move]]:
    """The fleet that is deployed first, and the moves: the quick ones, those of one part (from 1 on), or all."""
    if quick:
        return fleet(pins=PINS), list(QUICK)
    if part is None:
        return fleet(pins=PINS), [move for moves in PARTS for move in moves]
    return fleet(pins=PINS, **(RETYPED if part > 1 else {})), list(PARTS[part - 1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="promote, demote and one version, about 4 minutes")
    parser.add_argument("--part", type=int, choices=range(1, len(PARTS) + 1), help="the moves of one part only")
    parser.add_argument("--after-flip-seconds", type=float, default=AFTER_FLIP_SECONDS, help="of the hit ratio's bar")
    parser.add_argument(
        "--requests-per-second", type=float, default=REQUESTS_PER_SECOND, help="fewer on a busy machine"
    )
    parser.add_argument("--whole-bake", action="store_true", help="wait each bake's 2 minutes")
    parser.add_argument("--early-start", choices=get_args(EarlyStart), default="creation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", type=Path, help="where every call's record and the event log are left")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = run(
            directory,
            quick=arguments.quick,
            part=arguments.part,
            whole_bake=arguments.whole_bake,
            early_start=arguments.early_start,
            after_flip_seconds=arguments.after_flip_seconds,
            requests_per_second=arguments.requests_per_second,
        )
    result["early_start"] = arguments.early_start
    result["total_seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


def run(
    directory: Path,
    *,
    quick: bool,
    part: int | None,
    whole_bake: bool,
    early_start: EarlyStart,
    after_flip_seconds: float,
    requests_per_second: float,
) -> dict[str, Any]:
    """Synthesise everything, deploy, move under traffic, and compare with the bars."""
    clients = (fleet_traffic.this_python(), fleet_traffic.next_boto3_python(), fleet_traffic.node())
    first, planned = chosen(quick=quick, part=part)
    say("synthesising")
    folders = [
        synthesise(config, directory / f"assembly-{n}")
        for n, config in enumerate([first, *(m.config for m in planned)])
    ]
    say("training")
    models = train(
        directory / "models", {tenant: (V1, V2) if tenant in ("m01", "m12") else (V1,) for tenant in TENANTS}
    )
    bake_seconds = first.routes.bake_minutes * 60.0
    least = 2 * first.routes.ttl_seconds + CALL_DEADLINE_SECONDS
    with start(
        directory / "cloud",
        account=first.account,
        region=first.region,
        serving="models",
        early_start=early_start,
        scale=SCALE,
    ) as cloud:
        for folder in folders:
            assembly.publish_assets(cloud, folder, first.account, first.region)
        say("deploying")
        deploy(cloud, folders[0], "Models")
        publish_models(cloud, first, models)
        deploy(cloud, folders[0], "Fleet")
        records = directory / "records"
        records.mkdir(exist_ok=True)
        plan = fleet_traffic.Plan(
            fleet=first.fleet,
            environment=first.environment,
            region=first.region,
            requests_per_second=requests_per_second,
            tenants=traffic_of(models),
            call_deadline_seconds=CALL_DEADLINE_SECONDS,
        )
        environment = {
            "AWS_ENDPOINT_URL": cloud.endpoint_url,
            "AWS_ACCESS_KEY_ID": first.account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": first.region,
        }
        wall = bake_seconds if whole_bake else least
        rest_seconds = 20 if quick else 40
        with (
            Clock(cloud, first.account, bake_seconds=bake_seconds, bake_wall_seconds=wall) as clock,
            CacheSampler(cloud, first.account, "--tail--all--") as cache,
            fleet_traffic.start(plan, clients=clients, directory=records, environment=environment) as traffic,
        ):
            bench = Bench(cloud, first, models, traffic, clock)
            # The first calls of all merchants load their models; that is neither rest nor move.
            wait("filling the cache", 20, traffic)
            traffic.phase(REST)
            rest_began = time.time()
            wait(REST, rest_seconds, traffic)
            rest_ended = time.time()
            tail_flip = None
            surprises: list[str] = []
            for move, folder in zip(planned, folders[1:], strict=True):
                flips = len(clock.flips)
                surprises += carry_out(bench, move, folder, rest_seconds)
                if move.name == TAIL_RETYPE:
                    tail_flip = clock.flips[flips]
            traffic.phase(LAST_REST)
            until = max(time.time() + 15, (tail_flip or 0) + after_flip_seconds)
            wait(LAST_REST, until - time.time(), traffic)
            if clock.problem:
                raise clock.problem
            cloud.admin("clock", {"mode": "real"})
            (directory / "events.json").write_text(json.dumps(clock.events, indent=1))
            load_average = os.getloadavg()[1]
            summary = traffic.stop()
            before = cache.ratio(rest_began, rest_ended)
            after = cache.ratio(tail_flip, tail_flip + after_flip_seconds) if tail_flip else None
    return evaluated(summary, [move.name for move in planned], surprises, before, after, load_average)


def carry_out(bench: Bench, move: Move, folder: Path, least_seconds: float) -> list[str]:
    """One move, from its deployment to one TTL after its end; a sentence if it did not end as it had to.

    It lasts as long as the rest that it is compared with, or longer: the p99 of a shorter time is higher by chance.
    """
    traffic = bench.traffic
    say(move.name)
    traffic.phase(move.name)
    if move.versions:
        tenant, old, new = move.versions
        traffic.versions(tenant, old, new)
    during = threading.Thread(target=move.during, args=(bench,)) if move.during else None
    if during:
        during.start()
    began = time.monotonic()
    failure = ""
    try:
        deploy(bench.cloud, folder, "Fleet")
    except assembly.DeploymentError as error:
        failure = str(error)
    say(f"{move.name}: {time.monotonic() - began:.0f} s {failure[:160]}")
    if during:
        during.join()
    surprise = bool(failure) != move.fails
    if move.versions:
        traffic.versions(tenant, old if surprise else new)
    wait("", max(bench.config.routes.ttl_seconds, least_seconds - (time.monotonic() - began)), traffic)
    return [f"{move.name}: {failure or 'was to be taken back, but went through'}"] * surprise


def wait(what: str, seconds: float, traffic: fleet_traffic.Running) -> None:
    """Raises RuntimeError as soon as a client's process has ended."""
    if what:
        say(f"{what}: {seconds:.0f} s")
    give_up = time.monotonic() + seconds
    while (left := give_up - time.monotonic()) > 0:
        if died := traffic.died():
            raise RuntimeError(f"client ended by itself: {', '.join(died)}")
        time.sleep(min(1.0, left))


def evaluated(
    summary: Summary,
    names: list[str],
    surprises: list[str],
    before: float | None,
    after: float | None,
    load_average: float,
) -> dict[str, Any]:
    """The table's rows and every bar, measured and met or not."""
    rest = summary.phase(REST).tiers["whale"].p99_milliseconds or 0.0
    phases = []
    for stretch in summary.phases:
        whale, tail = (stretch.tiers.get(tier, NOTHING) for tier in ("whale", "tail"))
        phases.append(
            {
                "phase": stretch.name,
                "seconds": round(stretch.seconds, 1),
                "calls": stretch.all.calls,
                "failed": stretch.all.failed,
                "wrong": stretch.all.wrong,
                "whale_p50_milliseconds": whale.p50_milliseconds,
                "whale_p99_milliseconds": whale.p99_milliseconds,
                "tail_p50_milliseconds": tail.p50_milliseconds,
                "tail_p99_milliseconds": tail.p99_milliseconds,
                "max_milliseconds": stretch.all.max_milliseconds,
            }
        )
    bars = [
        {"bar": "failed calls", "measured": summary.all.failed, "limit": 0, "met": summary.all.failed == 0},
        {"bar": "wrong predictions", "measured": summary.all.wrong, "limit": 0, "met": summary.all.wrong == 0},
        {"bar": "deployments that ended otherwise", "measured": len(surprises), "limit": 0, "met": not surprises},
    ]
    for name in names:
        p99 = summary.phase(name).tiers["whale"].p99_milliseconds or 0.0
        growth = round(p99 / rest, 2) if rest else 0.0
        met = growth <= MOST_P99_GROWTH
        bars.append({"bar": f"whale p99 over rest: {name}", "measured": growth, "limit": MOST_P99_GROWTH, "met": met})
    if before is not None and after is not None:
        share = round(after / before, 4)
        bar = "hit ratio after the tail's flip over before"
        bars.append(
            {"bar": bar, "measured": share, "limit": LEAST_HIT_RATIO_SHARE, "met": share >= LEAST_HIT_RATIO_SHARE}
        )
    return {
        "phases": phases,
        "surprises": surprises,
        "bars": bars,
        "calls": summary.all.calls,
        "clients": {
            name: {
                "calls": part.calls,
                "failed": part.failed,
                "wrong": part.wrong,
                "p99_milliseconds": part.p99_milliseconds,
            }
            for name, part in summary.clients.items()
        },
        "hit_ratio_before": before and round(before, 4),
        "hit_ratio_after": after and round(after, 4),
        "errors": summary.errors,
        "attempts": summary.attempts,
        "route_errors": summary.route_errors,
        "route_fallbacks": summary.route_fallbacks,
        "misnamed": summary.misnamed,
        "late": summary.late,
        "examples": summary.examples,
        "load_average_5_minutes": round(load_average, 1),
    }


NOTHING: Final = Part(calls=0, failed=0, wrong=0, p50_milliseconds=None, p99_milliseconds=None, max_milliseconds=None)


def table(result: dict[str, Any]) -> str:
    columns = "whale p50", "whale p99", "tail p50", "tail p99", "max"
    lines = [f"{'phase':<30} {'s':>5} {'calls':>6} {'failed':>6} {'wrong':>5} " + "".join(f"{c:>10}" for c in columns)]
    for row in result["phases"]:
        times = [row[f"{column.replace(' ', '_')}_milliseconds"] or 0.0 for column in columns]
        lines.append(
            f"{row['phase']:<30} {row['seconds']:5.0f} {row['calls']:6} {row['failed']:6} {row['wrong']:5} "
            + "".join(f"{time:10.1f}" for time in times)
        )
    lines += ["times in milliseconds, from the moment a call was due", ""]
    for name, part in result["clients"].items():
        counts = f"{part['calls']} calls, {part['failed']} failed, {part['wrong']} wrong"
        lines.append(f"client {name}: {counts}, p99 {part['p99_milliseconds']} ms")
    for name in ("route_errors", "route_fallbacks", "attempts", "misnamed", "late", "errors"):
        lines.append(f"{name.replace('_', ' ')}: {result[name]}")
    lines.append(f"hit ratio: {result['hit_ratio_before']} before the flip, {result['hit_ratio_after']} after")
    lines.append(f"load average {result['load_average_5_minutes']}, {result['total_seconds']:.0f} s in all")
    if result["late"] > MOST_LATE * result["calls"]:
        lines.append("the clients sent many calls late: this machine is too busy, and times and time-outs are its own")
    lines.append("")
    for bar in result["bars"]:
        lines.append(f"{'ok  ' if bar['met'] else 'MISS'} {bar['bar']}: {bar['measured']} (limit {bar['limit']})")
    lines += result["surprises"]
    lines += [json.dumps(example) for example in result["examples"]]
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

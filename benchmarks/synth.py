"""What a synth costs, against an empty stack in the same run.

    python -m benchmarks.synth            every case, some ten minutes
    python -m benchmarks.synth --quick    up to 50 whales, validation off, one pass
    python -m benchmarks.synth --json     the figures as JSON, and no table

Three ways of running: `warm` = one more fleet in a process whose jsii kernel is up, as tests do it; `process` = a fresh
`python app.py`; `command` = `cdk synth -q`. Times are medians over the passes, with the fastest and the slowest; cases
take turns, so a busy machine slows all of them. A bar that is missed says MISSED.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

CDK = ROOT / "node_modules" / ".bin" / "cdk"
WHALES = (0, 5, 50, 150)
WARM_UPS = (0, 500, 4000)
EMPTY = "empty stack"
# One resource that is nothing: CDK's validation refuses a stack without any.
EMPTY_APP = """
import aws_cdk as cdk
app = cdk.App()
cdk.CfnWaitConditionHandle(cdk.Stack(app, "Empty"), "Nothing")
app.synth()
"""


@dataclass(frozen=True)
class Case:
    """One fleet: how many whales, and how many tenants its tail warms."""

    whales: int
    warm_ups: int

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.whales} whales, {self.warm_ups} warmed"


def document(case: Case) -> dict[str, Any]:
    """The fleet of a case, large enough on paper that every warm-up list is sound."""
    scaling = {"max_requests_per_second": 1000}
    tail: dict[str, Any] = {
        "hosting": "multi-model",
        "default": True,
        "instance_type": "ml.r5.2xlarge",
        "instances": {"min": 2, "max": 6, "initial": 2},
        "models_per_instance": 5000,
        "scaling": scaling,
        "scale_on_cache": {"max_unloads_per_hour": 500},
        "alarms": {"min_cache_hit_ratio": 0.6},
        "warm_up": {
            "schedule": "cron(15 0 * * ? *)",
            "tenants": [f"c{number:04}" for number in range(case.warm_ups)],
        },
    }
    whale = {
        "hosting": "dedicated",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 8, "initial": 2},
        "scaling": scaling,
        "alarms": {"max_model_latency_p99_milliseconds": 50},
        "tenants": {f"m{number:03}": {"model": f"m{number:03}/1.tar.gz"} for number in range(case.whales)},
    }
    return {
        "fleet": "bench",
        "environment": "test",
        "account": "111122223333",
        "region": "eu-west-1",
        "runbook_url": "https://example.com/runbook.md",
        "container": {"image": "sagemaker-xgboost", "version": "1.7-1"},
        "probe": {"content_type": "text/csv", "body": "0,0,0"},
        "tiers": {"tail": tail, "whale": whale},
    }


class WarmProcess:
    """Synthesises in this process; `calls` counts every message to the jsii kernel."""

    def __init__(self) -> None:
        import aws_cdk as cdk
        from jsii._kernel.providers.process import _NodeProcess

        self.calls = 0
        send = _NodeProcess.send

        def counted(process: Any, *arguments: Any) -> Any:
            self.calls += 1
            return send(process, *arguments)

        _NodeProcess.send = counted  # type: ignore[method-assign, assignment]
        self._cdk = cdk
        self._context = json.loads((ROOT / "cdk.json").read_text())["context"]

    def synth(self, case: Case | None, outdir: Path) -> tuple[float, int]:
        """Seconds and jsii calls of one App with the fleet of `case`, or with an empty stack."""
        from stacks.fleet_stage import FleetStage
        from tierfleet.config import FleetConfig

        config = FleetConfig.model_validate_json(json.dumps(document(case))) if case else None
        calls, start = self.calls, time.perf_counter()
        app = self._cdk.App(context=self._context, outdir=str(outdir))
        if config:
            FleetStage(app, config)
        else:
            self._cdk.CfnWaitConditionHandle(self._cdk.Stack(app, "Empty"), "Nothing")
        app.synth()
        return time.perf_counter() - start, self.calls - calls


def worker(cases: list[Case], passes: int) -> dict[str, Any]:
    """The warm times of every case, in one process. The first App of each kind only warms it up."""
    process = WarmProcess()
    seconds: dict[str, list[float]] = defaultdict(list)
    calls: dict[str, int] = {}
    named: dict[str, Case | None] = {EMPTY: None, **{case.name: case for case in cases}}
    with tempfile.TemporaryDirectory() as scratch:
        process.synth(Case(1, 1), Path(scratch) / "first")
        for turn in range(passes):
            for index, (name, case) in enumerate(named.items()):
                taken, calls[name] = process.synth(case, Path(scratch) / f"{turn}-{index}")
                seconds[name].append(taken)
    return {"seconds": seconds, "calls": calls}


def shape(cases: list[Case]) -> dict[str, Any]:
    """What is in the templates, and what warm-up lists change: counted, not timed."""
    process = WarmProcess()
    report: dict[str, Any] = {"sizes": {}, "warm_up_calls": {}, "differing_templates": []}
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases:
            outdir = Path(scratch) / case.name
            process.synth(case, outdir)
            templates = {file.name: file.read_text() for file in outdir.rglob("*.template.json")}
            counts = [len(json.loads(text)["Resources"]) for text in templates.values()]
            report["sizes"][case.name] = {
                "templates": len(templates),
                "largest_resources": max(counts),
                "all_resources": sum(counts),
                "largest_bytes": max(len(text.encode()) for text in templates.values()),
            }
        reference: dict[str, str] = {}
        for number in WARM_UPS:
            outdir = Path(scratch) / f"warm-up-{number}"
            _, report["warm_up_calls"][number] = process.synth(Case(5, number), outdir)
            masked = {str(f.relative_to(outdir)): _without_route_document(f) for f in outdir.rglob("*.template.json")}
            reference = reference or masked
            differing = sorted(name for name in masked.keys() | reference if masked.get(name) != reference.get(name))
            report["differing_templates"] += differing
    return report


def _without_route_document(file: Path) -> str:
    """The bytes of a template without the route document's content; those of one that has none as they are."""
    text = file.read_text()
    for resource in json.loads(text)["Resources"].values():
        if resource["Type"] == "AWS::AppConfig::HostedConfigurationVersion":
            content = json.dumps(resource["Properties"]["Content"])
            assert text.count(content) == 1
            text = text.replace(content, '"<route document>"')
    return text


@contextmanager
def fleet_directory(case: Case | None) -> Iterator[Path]:
    """A folder with the fleet file of a case, and an app of an empty stack."""
    import tomlkit

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "empty_app.py").write_text(EMPTY_APP)
        if case:
            content = document(case)
            if not case.warm_ups:
                del content["tiers"]["tail"]["warm_up"]
            (directory / "bench-test.toml").write_text(tomlkit.dumps(content))
        yield directory


def process_seconds(case: Case | None, environment: dict[str, str]) -> float:
    """A fresh `python app.py`, told of its folders as the CDK CLI tells it."""
    with fleet_directory(case) as directory:
        context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "config": str(directory)}
        environment = {
            **environment,
            "CDK_OUTDIR": str(directory / "cdk.out"),
            "CDK_CONTEXT_JSON": json.dumps(context),
        }
        app = ROOT / "app.py" if case else directory / "empty_app.py"
        return _run([sys.executable, str(app)], environment)


def command_seconds(case: Case | None, environment: dict[str, str]) -> float:
    """`cdk synth -q`."""
    with fleet_directory(case) as directory:
        app = ROOT / "app.py" if case else directory / "empty_app.py"
        command = [str(CDK), "synth", "-q", "--app", f"{sys.executable} {app}", "--output", str(directory / "cdk.out")]
        return _run([*command, "--context", f"config={directory}"], environment)


def _run(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - start
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return taken


def environment_of(validation: bool) -> dict[str, str]:
    """The environment of a child process, with CDK's template validation on or off."""
    quiet = {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20", "CDK_DISABLE_CLI_TELEMETRY": "true"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CDK_")}
    return {**inherited, **quiet, **({} if validation else {"CDK_VALIDATION": "false"})}


def in_a_child(job: str, cases: list[Case], passes: int, environment: dict[str, str]) -> Any:
    """What `worker` or `shape` returns in a process of its own, whose jsii kernel inherits the environment."""
    arguments = json.dumps([[case.whales, case.warm_ups] for case in cases])
    command = [sys.executable, "-m", "benchmarks.synth", "--child", job, "--cases", arguments, "--passes", str(passes)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def measure(cases: list[Case], passes: int, *, validation: bool) -> dict[str, Any]:
    """Seconds of every case by way."""
    environment = environment_of(validation)
    warm = in_a_child("worker", cases, passes, environment)
    print(f"warm: {json.dumps(warm['seconds'])}", file=sys.stderr)
    seconds: dict[str, dict[str, list[float]]] = {"warm": warm["seconds"]}
    run: dict[str, Callable[[Case | None, dict[str, str]], float]] = {
        "process": process_seconds,
        "command": command_seconds,
    }
    for way in run:
        seconds[way] = defaultdict(list)
        for _ in range(passes):
            for name, case in {EMPTY: None, **{case.name: case for case in cases}}.items():
                seconds[way][name].append(run[way](case, environment))
                print(f"{way}, {name}: {seconds[way][name][-1]:.2f} s", file=sys.stderr)
    return {"seconds": seconds, "calls": warm["calls"]}


def fitted(points: list[tuple[int, float]]) -> dict[str, float]:
    """A straight line through (whales, seconds): its slope and R^2, and how much steeper its last third is."""
    whales, seconds = [point[0] for point in points], [point[1] for point in points]
    line = statistics.linear_regression(whales, seconds)
    r_squared = statistics.correlation(whales, seconds) ** 2
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    return {"seconds_per_whale": line.slope, "r_squared": r_squared, "last_to_previous_slope": slopes[-1] / slopes[-2]}


@dataclass(frozen=True)
class Bar:
    """One promise, what was measured, and whether it holds."""

    promise: str
    measured: str
    held: bool


def bars(results: dict[str, Any]) -> list[Bar]:
    """The promises of the synth, checked with this run's figures."""
    shape_found = results["shape"]
    calls = shape_found["warm_up_calls"]
    verdicts = [
        Bar(
            "warm-up entries leave every template as it is, except the route document",
            f"{len(shape_found['differing_templates'])} other differences at {', '.join(map(str, WARM_UPS))} entries",
            not shape_found["differing_templates"],
        ),
        Bar(
            "warm-up entries leave the number of jsii calls as it is",
            ", ".join(f"{count:,} calls at {int(number):,}" for number, count in calls.items()),
            len(set(calls.values())) == 1,
        ),
    ]
    five = Case(5, 500).name
    for way, seconds in results["validation off"]["seconds"].items():
        ratio = statistics.median(seconds[five]) / statistics.median(seconds[EMPTY])
        fastest = min(seconds[five]) / min(seconds[EMPTY])
        measured = f"{ratio:.2f} x (fastest against fastest {fastest:.2f} x)"
        verdicts.append(Bar(f"5 whales at most 1.6 x the empty stack, {way}", measured, ratio <= 1.6))
    for way, line in results["lines"].items():
        verdicts.append(
            Bar(
                f"cost per whale is linear (R^2 >= 0.98), {way}",
                f"{1000 * line['seconds_per_whale']:.1f} ms a whale, R^2 {line['r_squared']:.3f}, last slope "
                f"{line['last_to_previous_slope']:.2f} x the one before",
                line["r_squared"] >= 0.98,
            )
        )
    name, size = list(shape_found["sizes"].items())[-1]
    verdicts += [
        Bar(
            f"{name}: a template has under 500 resources",
            f"{size['largest_resources']}",
            size["largest_resources"] < 500,
        ),
        Bar(
            f"{name}: a template has under 1 MB", f"{size['largest_bytes']:,} bytes", size["largest_bytes"] < 1_000_000
        ),
        Bar(f"{name}: under 2,400 resources in all", f"{size['all_resources']:,}", size["all_resources"] < 2400),
    ]
    return verdicts


def table(results: dict[str, Any]) -> str:
    """The figures for people."""
    lines = []
    for title in ("validation off", "validation on"):
        if title not in results:
            continue
        lines.append(f"\n{title}: median (fastest to slowest) of {results[title]['passes']} passes, x the empty stack")
        seconds = results[title]["seconds"]
        for way in seconds:
            floor = statistics.median(seconds[way][EMPTY])
            for name, values in seconds[way].items():
                median = statistics.median(values)
                calls = f"{results[title]['calls'][name]:>7,} jsii calls" if way == "warm" else ""
                spread = f"({min(values):.2f} to {max(values):.2f})"
                lines.append(f"  {way:<8} {name:<24} {median:>7.2f} s {spread:<17} {median / floor:>7.2f} x {calls}")
    lines.append("\nbars")
    width = max(len(bar["promise"]) for bar in results["bars"])
    for bar in results["bars"]:
        lines.append(f"  {'held' if bar['held'] else 'MISSED':<7} {bar['promise']:<{width}}  {bar['measured']}")
    return "\n".join(lines)


def main() -> None:
    """Run the cases and print."""
    parser = argparse.ArgumentParser(description="what a synth costs, against an empty stack in the same run")
    parser.add_argument("--quick", action="store_true", help="up to 50 whales, validation off, one pass")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--passes", type=int, help="passes to take medians over (default 3, quick 1)")
    parser.add_argument("--child", choices=["worker", "shape"], help=argparse.SUPPRESS)
    parser.add_argument("--cases", default="[]", help=argparse.SUPPRESS)
    options = parser.parse_args()
    passes = options.passes or (1 if options.quick else 3)
    if options.child:
        given = [Case(*numbers) for numbers in json.loads(options.cases)]
        print(json.dumps(worker(given, passes) if options.child == "worker" else shape(given)))
        return
    if not CDK.exists() or not shutil.which("node"):
        sys.exit("node and node_modules/.bin/cdk are needed; run `make install`")
    whales = WHALES[:3] if options.quick else WHALES
    growing = [Case(number, 500) for number in whales]
    cases = [*growing, *(Case(5, number) for number in WARM_UPS if number != 500)]
    results: dict[str, Any] = {"shape": in_a_child("shape", growing, 1, environment_of(validation=False))}
    results["validation off"] = {"passes": passes, **measure(cases, passes, validation=False)}
    if not options.quick:
        # The validator adds much the same to every case: a third of the passes will do.
        passes = max(1, passes // 3)
        results["validation on"] = {"passes": passes, **measure(cases, passes, validation=True)}
    results["lines"] = {
        way: fitted([(case.whales, statistics.median(seconds[case.name])) for case in growing])
        for way, seconds in results["validation off"]["seconds"].items()
    }
    compared = bars(results)
    results["bars"] = [vars(bar) for bar in compared]
    print(json.dumps(results, indent=2) if options.json else table(results))


if __name__ == "__main__":
    main()

"""Compares the dense model server with flat forests and with Boosters: `python -m benchmarks.forest_server`.

Two servers hold the same models, one as UBJ and one as forests. Both and a bare HTTP echo are called in turn, over
several rounds. A ratio is the median of the ratios within a round. `--quick` takes two minutes, `--only p99` measures
only the latency while models load. Needs wrk.
"""

import argparse
import contextlib
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))
os.environ["OMP_NUM_THREADS"] = "1"

import tierfleet_forest

from benchmarks.model_server import processes
from benchmarks.model_server.__main__ import churn
from benchmarks.model_server.models import generate, row
from benchmarks.model_server.traffic import Traffic, traffic

STOCK_PER_SECOND = 641.0  # the stock container's own code, recorded once
SMALL, LARGE = 40, 38  # models in each server
PAIR_SECONDS = 2.0  # of each window at rest and with loads
MOST_OF_OTHERS = 0.06  # processors; the window's mean
LEAST_PAIRS = 3
ROW = row()


class Bench:
    """The servers, their models, and the rounds."""

    def __init__(self, scratch: Path, rounds: int, seconds: float, pairs: int) -> None:
        self.rounds, self.seconds, self.pairs = rounds, seconds, pairs
        self._script = scratch / "wrk.lua"
        self.directories = _directories(generate(processes.BUILD / "models"), scratch)
        self.missed = 0

    def report(self, measure: str, values: list[float], bar: float, measured: str, *, at_most: bool = False) -> None:
        """Print one line: the median of `values` and the bar."""
        median = statistics.median(values)
        met = median <= bar if at_most else median >= bar
        self.missed += not met
        spread = f"{min(values):.3g} - {max(values):.3g}"
        sign = "<=" if at_most else ">="
        mark = "met   " if met else "MISSED"
        print(f"{mark} {measure}: {median:.3g} ({spread}) [{sign} {bar:.3g}]; {measured}", flush=True)

    def send(
        self, server: processes.Process, names: list[str], connections: int, seconds: float | None = None
    ) -> Traffic:
        """Send one row to each of the models in turn. Raises RuntimeError if a request fails."""
        sent = traffic(
            server.port, [f"/models/{name}/invoke" for name in names] or ["/"], ROW, content_type="text/csv",
            connections=connections, seconds=seconds or self.seconds, script=self._script,
        )  # fmt: skip
        if sent.errors:
            raise RuntimeError(f"{sent.errors} requests failed")
        return sent

    def in_turns(self, ask: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """The values that each measures, by round. The first round warms up and is not counted."""
        values: dict[str, list[float]] = {who: [] for who in ask}
        for attempt in range(self.rounds + 1):
            for who, measure in ask.items():
                value = measure()
                if attempt:
                    values[who].append(value)
        return values


def _directories(models: dict[str, list[Path]], scratch: Path) -> dict[str, dict[str, list[Path]]]:
    """The models by form and size. Each has its own directory with one file."""
    directories: dict[str, dict[str, list[Path]]] = {"Booster": {}, "forest": {}}
    for size in ("small", "large"):
        for directory in models[size][:SMALL]:
            for who, by_size in directories.items():
                place = scratch / who / size / directory.name
                place.mkdir(parents=True)
                by_size.setdefault(size, []).append(place)
            source = directory / "model.ubj"
            (scratch / "Booster" / size / directory.name / "model.ubj").hardlink_to(source)
            (scratch / "forest" / size / directory.name / "model.forest").write_bytes(tierfleet_forest.convert(source))
    return directories


def _rates(
    bench: Bench, servers: dict[str, processes.Process], names: dict[str, list[str]]
) -> tuple[dict[str, list[float]], str]:
    """Requests per second at 8 connections, by server and round, and a text with rates and processor times."""
    cost_us: dict[str, list[float]] = {who: [] for who in servers}

    def rate(who: str) -> float:
        before = servers[who].cpu_seconds()
        sent = bench.send(servers[who], names[who], 8)
        cost_us[who].append(1e6 * (servers[who].cpu_seconds() - before) / sent.requests)
        return sent.per_second

    rates = bench.in_turns({who: partial(rate, who) for who in servers})
    words = (
        f"{who} {statistics.median(rates[who]):,.0f}/s at {statistics.median(cost_us[who][1:]):.0f} us"
        for who in servers
    )
    return rates, ", ".join(words)


def requests(bench: Bench, servers: dict[str, processes.Process], echo: processes.Process) -> None:
    """Requests per second: small models at 8 connections, with the echo, and large models in turn."""
    small = [f"small-{number}" for number in range(SMALL)]
    large = [f"large-{number}" for number in range(LARGE)]
    everyone = {**servers, "echo": echo}
    rates, text = _rates(bench, everyone, {"Booster": small, "forest": small, "echo": []})
    bench.report("small, 8 connections, of the Booster path", _ratios(rates["forest"], rates["Booster"]), 3, text)
    bench.report("  of the bare echo", _ratios(rates["forest"], rates["echo"]), 0.4, text)
    bench.report("  of the stock record", [rate / STOCK_PER_SECOND for rate in rates["forest"]], 35, "recorded: 641/s")
    rates, text = _rates(bench, servers, dict.fromkeys(servers, large))
    measure = f"large, {len(large)} in turns, of the Booster path"
    bench.report(measure, _ratios(rates["forest"], rates["Booster"]), 8, text)


def loads(bench: Bench, servers: dict[str, processes.Process]) -> None:
    """LOAD over a persistent connection."""
    kept = {who: processes.Kept(server) for who, server in servers.items()}
    for size, count in (("small", 20), ("large", 3)):

        def median_ms(who: str, size: str = size, count: int = count) -> float:
            directories = bench.directories[who][size]
            times = [
                1000 * kept[who].load_and_unload(f"load-{size}", directories[number % len(directories)])
                for number in range(count)
            ]
            return statistics.median(times)

        times_ms = bench.in_turns({who: partial(median_ms, who) for who in servers})
        text = ", ".join(f"{who} {statistics.median(values):.2f} ms" for who, values in times_ms.items())
        if size == "small":
            bench.report("LOAD small, ms", times_ms["forest"], 1.5, text, at_most=True)
        else:
            ratios = _ratios(times_ms["forest"], times_ms["Booster"])
            bench.report("LOAD large, of the Booster path", ratios, 1 / 12, text, at_most=True)


def latency_while_loading(bench: Bench, servers: dict[str, processes.Process]) -> None:
    """p99 of small models when nothing loads, and while models of the 44 MB class load without a pause.

    On a machine of two processors a third busy process decides about p99. So only pairs of windows count in which
    others used less than `MOST_OF_OTHERS`; at least `LEAST_PAIRS` are needed for a verdict.
    """
    for connections in (1, 8):
        for who in servers:
            pairs = [_pair(bench, servers, who, connections) for _ in range(bench.pairs)]
            quiet = [pair for pair in pairs if pair.others <= MOST_OF_OTHERS]
            shown = quiet if len(quiet) >= LEAST_PAIRS else pairs
            rest, busy = (statistics.median(getattr(pair, name) for pair in shown) for name in ("rest_ms", "busy_ms"))
            ratios = [pair.busy_ms / pair.rest_ms for pair in shown]
            text = (
                f"{busy:.2f} against {rest:.2f} ms, {sum(pair.loads for pair in shown)} loads, "
                f"{len(quiet)} of {len(pairs)} pairs were quiet"
            )
            measure = f"p99 while forests load, {connections} connections"
            if who != "forest":
                print(f"       the same with Boosters: {statistics.median(ratios):.3g} x, {text}", flush=True)
            elif len(quiet) >= LEAST_PAIRS:
                bench.report(measure, ratios, 3, text, at_most=True)
            else:
                bench.missed += 1
                print(f"NO VERDICT {measure}: {statistics.median(ratios):.3g} on all pairs; {text}", flush=True)


@dataclass(frozen=True)
class Pair:
    """p99 in a window at rest and in one with loads, and what others used of the processors in the worse of both."""

    rest_ms: float
    busy_ms: float
    loads: int
    others: float


def _pair(bench: Bench, servers: dict[str, processes.Process], who: str, connections: int) -> Pair:
    small = [f"small-{number}" for number in range(SMALL)]
    everyone = list(servers.values())
    others = processes.OtherWork(everyone)
    rest = bench.send(servers[who], small, connections, PAIR_SECONDS)
    share = others.share()
    others = processes.OtherWork(everyone)
    with churn(servers[who], bench.directories[who]["large"]) as seconds:
        busy = bench.send(servers[who], small, connections, PAIR_SECONDS)
    return Pair(rest.p99, busy.p99, len(seconds), max(share, others.share()))


def _ratios(mine: list[float], others: list[float]) -> list[float]:
    return [one / other for one, other in zip(mine, others, strict=True)]


def main() -> int:
    """Measure and print each line at once. The exit code is 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: about two minutes")
    parser.add_argument("--only", choices=("requests", "loads", "p99"), help="one part")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}", flush=True)
    with processes.scratch() as scratch, contextlib.ExitStack() as stack:
        bench = Bench(Path(scratch), *((3, 2.0, 6) if options.quick else (8, 5.0, 24)))
        servers = {who: stack.enter_context(processes.running(processes.ours())) for who in bench.directories}
        echo = stack.enter_context(processes.running(processes.echo("httptools")))
        for who, server in servers.items():
            for size, count in (("small", SMALL), ("large", LARGE)):
                for number in range(count):
                    directories = bench.directories[who][size]
                    server.load(f"{size}-{number}", directories[number % len(directories)])
        if options.only in (None, "requests"):
            requests(bench, servers, echo)
        if options.only in (None, "loads"):
            loads(bench, servers)
        if options.only in (None, "p99"):
            latency_while_loading(bench, servers)
    return int(bench.missed > 0)


if __name__ == "__main__":
    sys.exit(main())

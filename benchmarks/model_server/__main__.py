"""The dense model server against its peer and its floor, in one run on loopback.

`python -m benchmarks.model_server [--quick] [--json FILE]`; needs wrk and Java 17. The peer is
multi-model-server 1.1.11 with sagemaker-inference 1.10.1; the figures of the stock container's own code were
recorded once.
"""

import argparse
import contextlib
import http.server
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import xgboost
from tierfleet_server.model.archive import pack, unpack

from benchmarks.model_server import processes
from benchmarks.model_server.models import COUNTS, generate, row
from benchmarks.model_server.traffic import Traffic, traffic

# The stock container's own code with its own configuration, measured once on a machine like this one.
STOCK = {"small MiB": 147.0, "large MiB": 247.0, "small load s": 1.889, "large load s": 2.914, "rps": 641.0}
FETCH_BYTES_PER_SECOND = 75_000_000
SETTLE_SECONDS = 4  # for freed memory to go back to the system before it is read
ROW = row()


@dataclass(frozen=True)
class Finding:
    """One line of the table: `met` is None for what is only stated."""

    measure: str
    bar: str
    measured: str
    met: bool | None


class Run:
    """Everything measured so far."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.models = generate(processes.BUILD / "models")
        self.figures: dict[str, float] = {}
        self.findings: list[Finding] = []
        self._scratch = Path(tempfile.mkdtemp(dir=processes.BUILD))

    def found(self, measure: str, bar: str, measured: str, met: bool | None = None) -> None:
        """Add a line to the table."""
        self.findings.append(Finding(measure, bar, measured, met))
        print(f"  {measure}: {measured}  [{bar}]", flush=True)

    def send(self, server: processes.Process, names: list[str], connections: int, seconds: float) -> Traffic:
        """Rows to these models in turn."""
        paths = [f"/models/{name}/invoke" for name in names] or ["/"]
        return traffic(
            server.port,
            paths,
            ROW,
            content_type=server.content_type,
            connections=connections,
            seconds=seconds,
            script=self._scratch / "wrk.lua",
        )

    @property
    def seconds(self) -> float:
        """How long each load on a server lasts."""
        return 3 if self.quick else 12

    def close(self) -> None:
        """Remove what only this run needed."""
        for path in self._scratch.iterdir():
            path.unlink()
        self._scratch.rmdir()


def loads_and_memory(run: Run, server: processes.Process, counts: dict[str, int], who: str) -> None:
    """Load models size by size: seconds and PSS per model, each having answered one row.

    Each load is compared with `Booster.load_model` of the same file in this process, just before it.
    """
    for size, count in counts.items():
        before = server.memory_mib()
        floor, seconds, floor_cpu, cpu = list[float](), list[float](), list[float](), list[float]()
        for number, directory in enumerate(run.models[size][:count]):
            in_process = load_in_process(directory / "model.ubj")
            floor.append(in_process[0])
            floor_cpu.append(in_process[1])
            used = server.cpu_seconds()
            seconds.append(server.load(f"{size}-{number}", directory))
            cpu.append(server.cpu_seconds() - used)
            status, reply = server.invoke(f"{size}-{number}", ROW)
            assert status == 200, reply
        time.sleep(SETTLE_SECONDS)
        run.figures[f"{who} {size} MiB"] = (server.memory_mib() - before) / count
        run.figures[f"{who} {size} load s"] = statistics.median(seconds)
        run.figures[f"floor {size} load s"] = statistics.median(floor)
        run.figures[f"{who} {size} load cpu s"] = statistics.median(cpu)
        run.figures[f"floor {size} load cpu s"] = statistics.median(floor_cpu)


def load_in_process(file: Path) -> tuple[float, float]:
    """`Booster.load_model`, page cache warm: seconds, and seconds of processor time."""
    started, used = time.perf_counter(), time.process_time()
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(file)
    return time.perf_counter() - started, time.process_time() - used


def floor_of_predicting(run: Run) -> None:
    """One row in this process."""
    values = np.array([ROW.split(b",")], dtype=np.float32)
    for size in ("small", "large"):
        booster = xgboost.Booster({"nthread": 1}, model_file=run.models[size][0] / "model.ubj")
        seconds = []
        for _ in range(300):
            started = time.perf_counter()
            booster.inplace_predict(values)
            seconds.append(time.perf_counter() - started)
        run.figures[f"floor {size} predict us"] = 1e6 * statistics.median(seconds)


def peer(run: Run) -> None:
    """multi-model-server: fewer models, since each is two processes of its own."""
    counts = {"small": 6, "large": 2} if run.quick else {"small": 24, "medium": 4, "large": 4}
    with processes.running(processes.peer()) as server:
        loads_and_memory(run, server, counts, "MMS")


def throughput(run: Run) -> None:
    """Warm small models, 8 connections: every server in turn, several times, for all to see one machine."""
    starts = {
        "MMS": (processes.peer, 6 if run.quick else 24),
        "ours": (processes.ours, 40 if run.quick else 200),
        "behind uvicorn": (processes.behind_asgi, 40 if run.quick else 200),
        "echo httptools": (lambda: processes.echo("httptools"), 0),
        "echo asgi": (lambda: processes.echo("asgi"), 0),
    }
    rates: dict[str, list[float]] = {who: [] for who in starts}
    costs: dict[str, list[float]] = {who: [] for who in starts}
    with contextlib.ExitStack() as stack:
        servers = {who: stack.enter_context(processes.running(start())) for who, (start, _) in starts.items()}
        for attempt in range(2 if run.quick else 6):
            for who, (_, count) in starts.items():
                if attempt == 0:
                    for number, directory in enumerate(run.models["small"][:count]):
                        servers[who].load(f"small-{number}", directory)
                names = [f"small-{number}" for number in range(count)]
                before = servers[who].cpu_seconds()
                sent = run.send(servers[who], names, 8, run.seconds / 2)
                assert sent.errors == 0, (who, sent)
                if attempt:  # the first is for warming up
                    rates[who].append(sent.per_second)
                    costs[who].append(1e6 * (servers[who].cpu_seconds() - before) / sent.requests)
    for who, values in rates.items():
        run.figures[f"{who} rps"] = statistics.median(values)
        run.figures[f"{who} cpu us"] = statistics.median(costs[who])
    fastest = map(max, rates["echo httptools"], rates["echo asgi"])
    pairs = {"MMS": rates["MMS"], "echo": list(fastest), "uvicorn": rates["behind uvicorn"]}
    for who, others in pairs.items():
        ratios = [mine / other for mine, other in zip(rates["ours"], others, strict=True)]
        run.figures.update(
            {f"ours / {who}": statistics.median(ratios), f"ours / {who} min": min(ratios)}
            | {f"ours / {who} max": max(ratios)}
        )


def ours(run: Run) -> None:
    """The dense model server with every model, and its latency at rest and while 44 MB models load."""
    counts = {"small": 40, "medium": 4, "large": 4} if run.quick else COUNTS
    with processes.running(processes.ours()) as server:
        run.figures["ours idle MiB"] = server.memory_mib()
        loads_and_memory(run, server, counts, "ours")
        small = [f"small-{number}" for number in range(counts["small"])]
        for label, names, connections in (
            ("small c=1", small, 1),
            ("large c=8", [f"large-{number}" for number in range(4)], 8),
        ):
            sent = run.send(server, names, connections, run.seconds)
            assert sent.errors == 0, sent
            run.figures.update(
                {f"ours {label} rps": sent.per_second, f"ours {label} p50 ms": sent.p50}
                | {f"ours {label} p95 ms": sent.p95, f"ours {label} p99 ms": sent.p99}
            )
        for connections in (8, 1):
            rest, loading, loads = list[float](), list[float](), 0
            for _ in range(1 if run.quick else 4):
                sent = run.send(server, small, connections, run.seconds / 2)
                with churn(server, run.models["large"]) as loaded:
                    disturbed = run.send(server, small, connections, run.seconds / 2)
                assert sent.errors == disturbed.errors == 0
                rest.append(sent.p99)
                loading.append(disturbed.p99)
                loads += len(loaded)
            ratios = [much / little for much, little in zip(loading, rest, strict=True)]
            run.figures.update(
                {f"p99 at rest c={connections} ms": statistics.median(rest)}
                | {f"p99 loading c={connections} ms": statistics.median(loading)}
                | {f"p99 ratio c={connections}": statistics.median(ratios)}
                | {f"loads while measuring c={connections}": loads}
            )


@contextlib.contextmanager
def churn(server: processes.Process, directories: list[Path]):  # type: ignore[no-untyped-def]
    """Load and unload 44 MB models one after another; gives the seconds of each load."""
    ended, seconds = threading.Event(), list[float]()

    def load_and_unload() -> None:
        if sys.platform == "linux":  # only there a thread has a priority; this client must not hold up the server
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        kept, number = processes.Kept(server), 0
        while not ended.is_set():
            seconds.append(kept.load_and_unload(f"churn-{number}", directories[number % len(directories)]))
            number += 1

    thread = threading.Thread(target=load_and_unload)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join()


def soak(run: Run) -> None:
    """Many loads, unloads and invocations in one process: what stays behind."""
    loads, invocations = (500, 50_000) if run.quick else (10_000, 1_000_000)
    with processes.running(processes.ours()) as server:
        names = [f"small-{number}" for number in range(20)]

        def round_of(count: int, requests: int) -> int:
            errors = 0
            for number in range(count):
                server.load(f"soak-{number}", run.models["small"][number % len(run.models["small"])])
                errors += server.invoke(f"soak-{number}", ROW)[0] != 200
                errors += server.ask("DELETE", f"/models/soak-{number}")[0] != 200
            done = 0
            while done < requests:
                sent = run.send(server, names, 8, 5 if run.quick else 20)
                done, errors = done + sent.requests, errors + sent.errors
            return errors

        for name, directory in zip(names, run.models["small"], strict=False):
            server.load(name, directory)
        errors = round_of(200, 10_000)
        before, pss_before = server.metric("memory_used_bytes"), server.memory_mib()
        errors += round_of(loads, invocations)
        run.figures["soak growth MiB"] = (server.metric("memory_used_bytes") - before) / 2**20
        run.figures["soak PSS growth MiB"] = server.memory_mib() - pss_before
        run.figures["soak errors"] = errors
    run.figures.update({"soak loads": loads, "soak invocations": invocations})


def fetch_to_first_reply(run: Run) -> None:
    """A 44 MB model packed at each gzip level: from an S3-like fetch to the first score."""
    model = (run.models["large"][0] / "model.ubj").read_bytes()
    with (
        processes.running(processes.ours()) as server,
        processes.scratch() as scratch,
    ):
        for level in (0, 1, 6) if run.quick else (0, 1, 3, 6, 9):
            started = time.perf_counter()
            packed = pack({"xgboost-model": model}, gzip_level=level)
            packing = time.perf_counter() - started
            steps: list[tuple[float, float, float, float]] = []
            for attempt in range(2 if run.quick else 5):
                name, where = f"gzip{level}-{attempt}", Path(scratch) / f"{level}-{attempt}"
                archive = where.with_suffix(".tar.gz")
                t0 = time.perf_counter()
                with paced_store(packed) as url, urllib.request.urlopen(url) as reply:  # noqa: S310 - loopback
                    archive.write_bytes(reply.read())
                    t1 = time.perf_counter()
                unpack(archive, where)
                t2 = time.perf_counter()
                server.load(name, where)
                t3 = time.perf_counter()
                assert server.invoke(name, ROW)[0] == 200
                steps.append((t1 - t0, t2 - t1, t3 - t2, time.perf_counter() - t3))
                server.ask("DELETE", f"/models/{name}")
            fetch, extract, load, first = (1000 * statistics.median(step) for step in zip(*steps, strict=True))
            total = 1000 * statistics.median(map(sum, steps))
            run.figures[f"gzip {level} total ms"] = total
            parts = f"{fetch:.0f} + {extract:.0f} + {load:.0f} + {first:.1f} = {total:.0f} ms"
            measured = f"{len(packed) / 1e6:.1f} MB: {parts} (packing {packing:.1f} s)"
            run.found(f"gzip {level}: fetch + extract + load + first reply", "stated", measured)


@contextlib.contextmanager
def paced_store(content: bytes):  # type: ignore[no-untyped-def]
    """An object store that sends 75 MB/s; gives the object's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            started, step = time.perf_counter(), 1 << 18
            for at in range(0, len(content), step):
                self.wfile.write(content[at : at + step])
                ahead = (at + step) / FETCH_BYTES_PER_SECOND - (time.perf_counter() - started)
                if ahead > 0:
                    time.sleep(ahead)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def compare(run: Run) -> None:
    """Compare the figures with the bars."""
    f = run.figures
    for size, share, stock_share in (("small", 250, 900), ("large", 2, 3.5)):
        mine, theirs, stock = f[f"ours {size} MiB"], f[f"MMS {size} MiB"], STOCK[f"{size} MiB"]
        ratios = (
            f"{mine:.3f} of {theirs:.1f} MiB = 1/{theirs / mine:.2f}",
            f"1/{stock / mine:.2f} of {stock:.0f} MiB",
        )
        run.found(f"memory per {size} model", f"<= 1/{share} of MMS", ratios[0], mine <= theirs / share)
        run.found("  of the recorded stock code", f"<= 1/{stock_share}", ratios[1], mine <= stock / stock_share)
    for size in ("small", "large"):
        mine, floor, theirs = (1000 * f[f"{who} {size} load s"] for who in ("ours", "floor", "MMS"))
        bar, stock = 1.5 * floor + 2, 1000 * STOCK[f"{size} load s"]
        cpu = " / ".join(f"{1000 * f[f'{who} {size} load cpu s']:.1f}" for who in ("ours", "floor"))
        others = f"load_model {floor:.1f}; processor {cpu}; MMS {theirs:.0f}, stock code recorded {stock:.0f}"
        run.found(
            f"load, {size}",
            "<= 1.5 x load_model + 2 ms",
            f"{mine:.1f} of {bar:.1f} ms ({others})",
            mine <= bar,
        )
    spread = {who: f"{f[f'ours / {who} min']:.3g}-{f[f'ours / {who} max']:.3g}" for who in ("MMS", "echo", "uvicorn")}
    rates = f"{f['ours rps']:.0f}/s, MMS {f['MMS rps']:.0f}/s, stock code recorded {STOCK['rps']:.0f}/s"
    measured = f"{f['ours / MMS']:.1f} x ({spread['MMS']}); {rates}"
    run.found("warm throughput, small, 8 connections", ">= 12 x MMS", measured, f["ours / MMS"] >= 12)
    echoes = f"httptools {f['echo httptools rps']:.0f}/s, uvicorn {f['echo asgi rps']:.0f}/s"
    measured = f"{f['ours / echo']:.3f} ({spread['echo']}); {echoes}"
    run.found("  of the fastest echo", ">= 0.12", measured, f["ours / echo"] >= 0.12)
    costs = ", ".join(f"{who} {f[f'{who} cpu us']:.0f}" for who in ("MMS", "behind uvicorn", "echo httptools"))
    run.found("  processor time a request", "stated", f"{f['ours cpu us']:.0f} us ({costs})")
    measured = f"{f['ours / uvicorn']:.2f} x ({spread['uvicorn']}) of {f['behind uvicorn rps']:.0f}/s"
    run.found("  against itself behind uvicorn", "stated", measured)
    for connections in (8, 1):
        rest, loading = f[f"p99 at rest c={connections} ms"], f[f"p99 loading c={connections} ms"]
        ratio, loads = f[f"p99 ratio c={connections}"], f[f"loads while measuring c={connections}"]
        measured = f"{ratio:.1f} x: {loading:.2f} against {rest:.2f} ms ({loads:.0f} loads)"
        run.found(f"p99 while 44 MB models load, c={connections}", "<= 3 x at rest", measured, ratio <= 3)
    growth, pss, errors = f["soak growth MiB"], f["soak PSS growth MiB"], f["soak errors"]
    run.found(
        f"{f['soak loads']:.0f} loads/unloads, {f['soak invocations']:.0f} invocations",
        "<= 5 MiB, 0 errors",
        f"{growth:+.2f} MiB counted ({pss:+.1f} PSS), {errors:.0f} errors",
        growth <= 5 and errors == 0,
    )
    small, large = f["floor small predict us"], f["floor large predict us"]
    run.found("one row in process, inplace_predict", "stated", f"{small:.0f} us small, {large:.0f} us large")


SECTIONS: dict[str, Callable[[Run], None]] = {
    "peer": peer,
    "ours": ours,
    "throughput": throughput,
    "floor of predicting": floor_of_predicting,
    "soak": soak,
    "fetch to first reply": fetch_to_first_reply,
}


def main() -> int:
    """Run everything, print the table; the exit code is 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer models and shorter loads: about a minute")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} processors, XGBoost {xgboost.__version__}")
    run = Run(quick=options.quick)
    try:
        for name, section in SECTIONS.items():
            print(f"{name} (load average {os.getloadavg()[0]:.1f})", flush=True)
            section(run)
        compare(run)
    finally:
        run.close()
    print()
    width = max(len(finding.measure) for finding in run.findings)
    for finding in run.findings:
        mark = {True: "met   ", False: "MISSED", None: "      "}[finding.met]
        print(f"{mark} {finding.measure:<{width}}  {finding.bar:<34} {finding.measured}")
    if options.json:
        report = {"findings": [asdict(finding) for finding in run.findings], "figures": run.figures}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(finding.met is False for finding in run.findings))


if __name__ == "__main__":
    sys.exit(main())

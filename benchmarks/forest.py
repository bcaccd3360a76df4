"""Compares flat forests with XGBoost, and optionally with peers: `python -m benchmarks.forest [--quick] [--peers]`.

Each contender runs in its own process. They are measured in turn, over several rounds. A ratio is the median of the
ratios within a round, so other work on the machine affects both sides equally. XGBoost 3.4.1 is measured too if
`make test-xgboost-versions` has installed it. benchmarks/model_server measures the server's own bars.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))

import xgboost
from tierfleet_forest.layout import FORM_A, FORM_B
from tierfleet_forest.model_document import read_document
from tierfleet_forest.writer import write_forest
from tierfleet_forest.xgboost_model import tree_model

from benchmarks.forest_contender import forest_path
from benchmarks.model_server.models import FEATURES, generate
from benchmarks.model_server.processes import BUILD, ROOT, python_with

PEER_PACKAGES = [
    "xgboost-cpu==3.0.5", "treelite==4.8.1", "onnxruntime==1.32.0", "onnxmltools==1.15.0", "onnx==1.20.0",
    "scikit-learn-intelex==2026.2.0", "scikit-learn", "numpy", "protobuf==5.29.5",  # newer ones refuse onnxmltools
]  # fmt: skip
PEERS = ("treelite", "ONNX Runtime", "oneDAL")
SIZES = ("small", "medium", "large")
MANY_LOADS = {"small": 200, "medium": 40, "large": 200}
FEW_LOADS = {"small": 200, "medium": 40, "large": 40}  # a Booster of 44 MB takes 65 MiB
CALLS = {"small": 2000, "medium": 1000, "large": 200}
COPIES_IN_TURNS = 40
# By size: the largest allowed share of XGBoost's time. One row: of `inplace_predict`, of the C call. 512 rows: of
# `inplace_predict`.
ONE_ROW_BARS = {"small": (1 / 60, 1 / 15), "medium": (1 / 20, 1 / 7), "large": (1 / 20, 1 / 12)}
BATCH_BARS = {"small": 0.6, "medium": 0.45, "large": 0.25}


@dataclass(frozen=True)
class Finding:
    """One line of the table of bars. `met` is None for a figure without a bar."""

    measure: str
    bar: str
    measured: str
    met: bool | None


class Worker:
    """The process of one contender."""

    def __init__(self, name: str, contender: str, python: str) -> None:
        self.name = name
        command = [python, str(Path(__file__).with_name("forest_contender.py")), contender]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to a command. Raises RuntimeError if the contender fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("@@"):
                answer = json.loads(line[2:])
                if isinstance(answer, dict) and "error" in answer:
                    raise RuntimeError(f"{self.name}: {answer['error']}")
                return answer
        raise RuntimeError(f"{self.name} ended")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()


class Run:
    """The contenders, their figures by size and measure (one per round), and the findings."""

    def __init__(self, workers: list[Worker], rounds: int, *, quick: bool) -> None:
        self.workers = workers
        self.rounds = rounds
        self.quick = quick
        self.figures: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.failed: dict[str, str] = {}
        self.findings: list[Finding] = []

    def add_finding(self, measure: str, bar: str, measured: str, met: bool | None) -> None:
        """Add a line to the table."""
        self.findings.append(Finding(measure, bar, measured, met))
        print(f"  {measure}: {measured}  [{bar}]", flush=True)

    def size(self, size: str, paths: list[Path]) -> None:
        """Measure every contender with models of this size."""
        figures = self.figures[size] = {worker.name: {} for worker in self.workers}
        live = list(self.workers)
        expected: list[float] = []
        for worker in self.workers:
            own = figures[worker.name]
            try:
                loads = self._loads(worker, size)
                loaded = worker.ask("load", paths=[str(path) for path in paths], copies=loads, features=FEATURES)
                scores = worker.ask("scores")
            except RuntimeError as error:
                self.failed[f"{worker.name}, {size}"] = str(error)
                live.remove(worker)
                continue
            own["load ms"], own["MiB"], own["loads"] = [loaded["ms"]], [loaded["mib"]], [loads]
            expected = scores if worker.name == "inplace_predict" else expected
            own["scores"] = scores
        for worker in live:
            equal = [one == other for one, other in zip(figures[worker.name].pop("scores"), expected, strict=True)]
            figures[worker.name]["equal"] = [sum(equal) / len(equal)]
        for _ in range(self.rounds):
            for worker in live:
                own = figures[worker.name]
                slow = worker.name in PEERS and size != "small"
                calls = CALLS[size] // (4 if slow or self.quick else 1)
                own.setdefault("row us", []).append(worker.ask("one", calls=calls, copies=1)["us"])
                if not slow:
                    again = worker.ask("reload", paths=[str(path) for path in paths])
                    own.setdefault("again ms", []).append(again["ms"])
                own.setdefault("512 rows ms", []).append(worker.ask("batch", calls=20 if size == "small" else 2)["ms"])
                if size == "large" and worker.name not in PEERS:
                    turns = worker.ask("one", calls=calls, copies=min(COPIES_IN_TURNS, self._loads(worker, size)))
                    own.setdefault("turns us", []).append(turns["us"])
        for worker in live:
            worker.ask("drop")

    def _loads(self, worker: Worker, size: str) -> int:
        if worker.name in PEERS:
            return {"small": 8, "medium": 2, "large": 1}[size]
        loads = (MANY_LOADS if worker.name == "forest" else FEW_LOADS)[size]
        return min(loads, 8) if self.quick and size == "large" else loads

    def ratio(self, size: str, measure: str, other: str) -> float:
        """The forest's share of another's figure: the median over rounds."""
        ours, theirs = self.figures[size]["forest"][measure], self.figures[size][other][measure]
        return statistics.median(one / two for one, two in zip(ours, theirs, strict=True))


def write_forests(run: Run, models: dict[str, list[Path]]) -> None:
    """Write the forests of all models, and compare the files with their bars."""
    for size, paths in models.items():
        seconds = []
        for path in paths:
            started = time.process_time()
            forest = write_forest(tree_model(read_document(path.read_bytes())))
            seconds.append(time.process_time() - started)
            file = forest_path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(forest)
        data = paths[0].read_bytes()
        if size == "large":
            written = statistics.median(seconds)
            run.add_finding("writing the 44 MB model", "<= 3 s", f"{written:.2f} s", written <= 3)
        if len(data) > 1_000_000:
            for form, name, bar in ((FORM_A, "A", 7), (FORM_B, "B", 4)):
                share = len(data) / len(write_forest(tree_model(read_document(data)), node_bytes=form))
                run.add_finding(f"file / UBJ, {size}, form {name}", f"<= 1/{bar}", f"1/{share:.1f}", share >= bar)


def compare_with_bars(run: Run) -> None:
    """Compare the figures with their bars."""
    for size in SIZES:
        for other, bar in zip(("inplace_predict", "C call"), ONE_ROW_BARS[size], strict=True):
            _share(run, f"one row, {size}, of {other}", size, "row us", other, bar)
    _share(run, f"one row, large, {COPIES_IN_TURNS} models in turns, of C call", "large", "turns us", "C call", 1 / 10)
    for size in SIZES:
        ratio, bar = run.ratio(size, "512 rows ms", "inplace_predict"), BATCH_BARS[size]
        run.add_finding(f"512 rows, {size}, of inplace_predict", f"<= {bar}", f"{ratio:.2f}", ratio <= bar)
    ours, booster = (run.figures["large"][name] for name in ("forest", "C call"))
    mib, share = ours["MiB"][0], booster["MiB"][0] / ours["MiB"][0]
    loads = int(ours["loads"][0])
    run.add_finding(
        f"memory of a 44 MB-class model, {loads} loads", "<= 5.5 MiB and <= 1/12 of Booster",
        f"{mib:.2f} MiB, 1/{share:.1f}", mib <= 5.5 and share >= 12 and (run.quick or loads >= 200),
    )  # fmt: skip
    share = 1 / run.ratio("large", "again ms", "inplace_predict")
    run.add_finding("open + check + CRC-32, large", "<= 1/10 of XGBoost's load", f"1/{share:.1f}", share >= 10)
    for size in SIZES:
        equal = run.figures[size]["forest"]["equal"][0]
        run.add_finding(f"scores of 512 rows, {size}", "all equal to XGBoost's", f"{equal:.1%} equal", equal == 1)


def _share(run: Run, measure: str, size: str, figure: str, other: str, bar: float) -> None:
    ratio = run.ratio(size, figure, other)
    run.add_finding(measure, f"<= 1/{1 / bar:.0f}", f"1/{1 / ratio:.1f}", ratio <= bar)


def contenders(*, peers: bool) -> list[Worker]:
    """The processes to measure, with XGBoost 3.4.1 if it is installed."""
    workers = [Worker(name, name, sys.executable) for name in ("forest", "inplace_predict", "C call")]
    newer = ROOT / ".build" / "xgboost-versions" / "3.4.1" / "bin" / "python"
    if newer.exists():
        workers += [Worker(f"{name} 3.4.1", name, str(newer)) for name in ("inplace_predict", "C call")]
    if peers:
        python = str(python_with("forest-peers", PEER_PACKAGES))
        workers += [Worker(name, name, python) for name in PEERS]
    return workers


def figures_table(run: Run) -> list[str]:
    """The contenders' figures as markdown: medians over the rounds."""
    measures = ("load ms", "again ms", "MiB", "row us", "turns us", "512 rows ms", "equal")
    lines = [f"| size | contender | {' | '.join(measures)} |", "|---|---|" + "---|" * len(measures)]
    for size, by_name in run.figures.items():
        for name, figures in by_name.items():
            cells = [
                f"{statistics.median(figures[measure]):.4g}" if figures.get(measure) else "-" for measure in measures
            ]
            lines.append(f"| {size} | {name} | {' | '.join(cells)} |")
    return lines


def bars_table(run: Run) -> list[str]:
    """The findings as markdown."""
    words = {True: "met", False: "**missed**", None: ""}
    rows = [f"| {one.measure} | {one.bar} | {one.measured} | {words[one.met]} |" for one in run.findings]
    return ["| measure | bar | measured | |", "|---|---|---|---|", *rows]


def main() -> int:
    """Exit code 1 if a bar is missed in a full run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few calls, rounds and loads: a look, not a measurement")
    parser.add_argument("--rounds", type=int, default=0, help="default 7, with --quick 3")
    parser.add_argument("--peers", action="store_true", help="install treelite, ONNX Runtime and oneDAL, measure them")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print both tables at the end")
    arguments = parser.parse_args()
    models = {size: [place / "model.ubj" for place in places] for size, places in generate(BUILD / "models").items()}
    run = Run([], arguments.rounds or (3 if arguments.quick else 7), quick=arguments.quick)
    write_forests(run, models)
    run.workers = contenders(peers=arguments.peers)
    try:
        for size in SIZES:
            run.size(size, models[size])
    finally:
        for worker in run.workers:
            worker.close()
    compare_with_bars(run)
    for what, why in run.failed.items():
        print(f"not measured: {what}: {why}")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, Python {platform.python_version()}, XGBoost {xgboost.__version__}, {run.rounds} rounds")
    if arguments.markdown:
        print("\n".join([*bars_table(run), "", *figures_table(run)]))
    if arguments.json:
        findings = [asdict(finding) for finding in run.findings]
        document = {"machine": machine, "findings": findings, "figures": run.figures, "failed": run.failed}
        arguments.json.write_text(json.dumps(document, indent=1))
    return 1 if not arguments.quick and any(finding.met is False for finding in run.findings) else 0


if __name__ == "__main__":
    sys.exit(main())

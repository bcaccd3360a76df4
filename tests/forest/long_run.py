"""Flat forests against XGBoost, bit for bit, at length: `make exactness-forest`.

Three parts: generated models of every kind that is covered, with some 34,000 rows each; models of 0.1, 6 and 44 MB
with 100,000 rows each; and, with --versions all, the files of every kind that XGBoost 1.2 to 3.4 write, each trained
and scored by its own version in an environment below .build/. Prints a table by kind; exit code 1 if a bit differs.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

import numpy as np
import tierfleet_forest
import xgboost
from hypothesis import HealthCheck, Phase, given, seed, settings
from tierfleet_forest.model_document import read_document
from tierfleet_forest.tree_model import ConvertError
from tierfleet_forest.writer import write_forest
from tierfleet_forest.xgboost_model import tree_model
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.document import read_document as read_any_document
from tierfleet_server.publishing.sample_rows import sample_rows

from benchmarks.model_server.models import generate
from tests.forest.exactness import compare, forests, reader, same, telling_rows, trained
from tests.forest.generated_models import OBJECTIVES, Description, descriptions
from tests.xgboost_versions import compare as versions

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = 10_000


class Tally:
    """Counts by kind: models, rows, and rows with a margin or a score that differs."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.bad: list[str] = []

    def add(self, kind: str, what: str, compared: Any) -> None:
        """Note what was compared of one model in one form; the rows are counted by the caller, once a model."""
        self.counts[kind, "margins"] += compared.margins
        self.counts[kind, "scores"] += compared.scores
        if compared.margins or compared.scores:
            self.bad.append(f"{what}: {compared}")

    def table(self) -> str:
        """Markdown, a line a kind and one of totals."""
        kinds = sorted({kind for kind, _ in self.counts})
        names = ("models", "refused", "rows", "margins", "scores")
        lines = [
            "| kind | models | refused | rows | margins that differ | scores that differ |",
            "|---|---|---|---|---|---|",
        ]
        for kind in kinds:
            lines.append(f"| {kind} | " + " | ".join(f"{self.counts[kind, name]:,}" for name in names) + " |")
        totals = (sum(self.counts[kind, name] for kind in kinds) for name in names)
        return "\n".join([*lines, "| all | " + " | ".join(f"{total:,}" for total in totals) + " |"])


def generated(tally: Tally, models: int, rows: int, first_seed: int) -> None:
    """As many models of each objective; rows in all, spread over them."""
    each = -(-models // len(OBJECTIVES))
    for objective in OBJECTIVES:
        _of_objective(tally, objective, each, rows // models + 1, first_seed)


def _of_objective(tally: Tally, objective: str, models: int, rows: int, first_seed: int) -> None:
    @seed(first_seed)
    @settings(
        max_examples=models, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(descriptions(objective))
    def run(description: Description) -> None:
        try:
            booster, training_rows, model = trained(description)
        except xgboost.core.XGBoostError:  # a kind that XGBoost refuses itself
            return
        kind = " ".join(filter(None, (
            description.objective, description.booster if description.booster != "gbtree" else "",
            "categories" if model.category_set is not None else "",
            "vector leaves" if description.vector_leaves else "targets" if description.targets > 1 else "",
        )))  # fmt: skip
        try:
            written = forests(model)
        except ConvertError:  # thousands of different sets of categories
            tally.counts[kind, "refused"] += 1
            return
        tally.counts[kind, "models"] += 1
        asked = telling_rows(model, training_rows, rows, description.seed)
        tally.counts[kind, "rows"] += len(asked)
        for forest in written.values():
            tally.add(kind, str(description), compare(booster, asked, reader(forest), model))

    run()


def large(tally: Tally, rows: int) -> None:
    """One model each of 0.1, 6 and 44 MB."""
    for size, places in generate(ROOT / ".build" / "model-server" / "models").items():
        data = (places[0] / "model.ubj").read_bytes()
        booster, model = xgboost.Booster({"nthread": 1}, model_file=bytearray(data)), tree_model(read_document(data))
        normal = np.random.default_rng(2).standard_normal((_BLOCK, model.features)).astype(np.float32)
        predict = reader(write_forest(model))
        tally.counts[size, "models"] += 1
        for block in range(-(-rows // _BLOCK)):
            asked = telling_rows(model, normal, min(_BLOCK, rows - block * _BLOCK), block)
            tally.counts[size, "rows"] += len(asked)
            tally.add(size, size, compare(booster, asked, predict, model))


def every_version(tally: Tally, chosen: str) -> None:
    """Files of every kind, written and scored by each version."""
    for version in versions.INSTALLED if chosen == "all" else chosen.split(","):
        python = versions.install(version)
        if python is None:
            continue
        with tempfile.TemporaryDirectory(dir=versions.BUILD) as folder:
            scratch = Path(folder)
            models = scratch / "models"
            versions.subprocess.run(
                [str(python), "-W", "ignore", str(versions.HERE / "train.py"), str(models)], check=True
            )
            _version(tally, version, python, models, scratch)


def _version(tally: Tally, version: str, python: Path, models: Path, scratch: Path) -> None:
    work = []
    for file in sorted(path for path in models.iterdir() if path.suffix in (".ubj", ".json", ".bin")):
        try:
            rows = sample_rows(read_any_document(file.read_bytes()))
        except (BadModel, KeyError):  # a file that XGBoost began and refused to finish
            continue
        names = {what: f"{file}.{what}.npy" for what in ("rows", "scores", "margins")}
        np.save(names["rows"], rows)
        work.append({"model": str(file), **names})
    refused: Counter[str] = Counter()
    for item, why in zip(work, versions.score(python, work, scratch), strict=True):
        if why is not None:  # its own version does not score it
            continue
        name = Path(item["model"]).name
        try:
            model = tree_model(read_any_document(Path(item["model"]).read_bytes()))
        except ConvertError as error:
            refused[f"{Path(name).stem}: {error}"] += 1
            continue
        rows, margins, scores = (np.load(item[what]) for what in ("rows", "margins", "scores"))
        shape, kind = (len(rows), -1), f"files of {version}"
        tally.counts[kind, "models"] += 1
        tally.counts[kind, "rows"] += len(rows)
        for forest in forests(model).values():
            own_margins, own_scores = reader(forest)(rows)
            for what, own, expected in (("margins", own_margins, margins), ("scores", own_scores, scores)):
                differ = int((~same(own, expected.reshape(shape).astype(np.float32))).sum())
                tally.counts[kind, what] += differ
                if differ:
                    tally.bad.append(f"{version} {name}: {differ} {what}")
    for why, count in sorted(refused.items()):
        print(f"{version}: refused {count} x {why}", flush=True)


def main() -> int:
    """Exit code 1 if a margin or a score differs in a bit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=360, help="generated; XGBoost refuses a few")
    parser.add_argument("--rows", type=int, default=12_000_000, help="over all generated models")
    parser.add_argument("--large-rows", type=int, default=100_000, help="a model of each size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--versions", default="", help="files of these, comma-separated, or of all from 1.2 on: all")
    arguments = parser.parse_args()
    if not tierfleet_forest.available:
        print(tierfleet_forest.unavailable_reason)
        return 1
    tally, started = Tally(), time.monotonic()
    if arguments.models:
        generated(tally, arguments.models, arguments.rows, arguments.seed)
    if arguments.large_rows:
        large(tally, arguments.large_rows)
    if arguments.versions:
        every_version(tally, arguments.versions)
    print(tally.table())
    print(f"{time.monotonic() - started:.0f} s, XGBoost {xgboost.__version__}")
    print("\n".join(tally.bad))
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())

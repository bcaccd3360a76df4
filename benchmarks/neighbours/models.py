"""The neighbours: their models, generated once under .build/, and their requests."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xgboost

from benchmarks.chain_model import chain_model
from benchmarks.model_server import models as model_server_models

CONTRIBS = "application/json; contribs=true"
_MAX_BODY_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True)
class Neighbour:
    """Invocations of a model, or loads of it if `loads`, by so many clients at once.

    The peer's handler reads csv and UBJ only: `for_peer` is False where that leaves nothing to compare. `accept` asks
    for something else than scores.
    """

    title: str
    model: str
    rows: int = 0
    loads: bool = False
    senders: int = 4
    content_type: str = "text/csv"
    accept: str = ""
    for_peer: bool = True
    directory: Path = Path()

    def at(self, directories: dict[str, Path]) -> "Neighbour":
        """The same, knowing where its model is."""
        return replace(self, directory=directories[self.model])

    def body(self, content_type: str) -> bytes:
        """What it sends; as csv, and no more than a request may have, if `content_type` is the peer's."""
        if self.model == "large":
            return b"\n".join([small_row()] * self.rows)
        if self.model == "batches":
            return b"\n".join([b"0.5,1.2,-.3,2.1,0.7,-1.,.25,0.1"] * self.rows)
        if content_type and self.model == "wide":
            row = b",".join([b"1"] * 4096)
            return b"\n".join([row] * min(self.rows, _MAX_BODY_BYTES // (len(row) + 1)))
        return b"\n".join([b"1"] * self.rows)


NEIGHBOURS = (
    Neighbour("400 trees, 4,096 rows of one feature", "narrow", rows=4096),
    Neighbour("4,096 features, 4,095 rows of libsvm", "wide", rows=4095, content_type="text/libsvm"),
    Neighbour("40 trees of depth 5,000, 1,000 rows", "chains", rows=1000),
    Neighbour("batches of 100,000 rows", "batches", rows=100_000),
    Neighbour("contributions to 5,000 rows, 36 trees", "batches", rows=5000, accept=CONTRIBS, for_peer=False),
    Neighbour("contributions to 20 rows, 44 MB", "large", rows=20, accept=CONTRIBS, for_peer=False),
    Neighbour("loads of 44 MB", "large", loads=True, senders=1),
    Neighbour("loads of 19 MiB of JSON, `{},{},...`", "objects", loads=True, senders=2, for_peer=False),
)


def small_row() -> bytes:
    """One row of the model `small`."""
    return model_server_models.row()


def generate(root: Path, models: Path) -> dict[str, Path]:
    """A directory with one model file by name."""
    sizes = model_server_models.generate(models)
    directories = {name: root / name for name in ("narrow", "wide", "batches", "chains", "objects")}
    if not (root / "complete").exists():
        random = np.random.default_rng(1)
        noise = {"max_depth": 6, "min_child_weight": 0, "lambda": 0, "objective": "binary:logistic", "nthread": 2}
        for name, features, rows, trees in (
            ("narrow", 1, 4000, 400),
            ("wide", 4096, 500, 20),
            ("batches", 8, 4000, 36),
        ):
            values = random.standard_normal((rows, features)).astype(np.float32)
            booster = xgboost.train(noise, xgboost.DMatrix(values, random.integers(0, 2, rows)), trees)
            _write(directories[name], "model.ubj", bytes(booster.save_raw("ubj")))
        _write(directories["chains"], "model.ubj", chain_model(depth=5000, trees=40))
        objects = b'{"version": [3, 0, 5], "learner": [' + b"{}," * (19 * 1024 * 1024 // 3) + b"{}]}"
        _write(directories["objects"], "model.json", objects)
        (root / "complete").touch()
    return {**directories, "small": sizes["small"][0], "large": sizes["large"][0]}


def _write(directory: Path, name: str, content: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)

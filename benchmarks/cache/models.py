"""The models: a few dozen trained boosters of several sizes, each published under the names of many tenants.

A model's identity in every cache is its key, so copies under other names are other models.
"""

import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xgboost
from tierfleet_forest.convert import convert
from tierfleet_server.model.archive import pack
from tierfleet_server.model.load_limits import LOAD_FACTOR

from benchmarks.cache.simulation import LOW_WATER, Sizes
from benchmarks.model_server import processes

FEATURES = 10
KINDS = 32
ROW = ",".join(f"{0.1 * number:.1f}" for number in range(FEATURES)).encode()
_LEAST_TREES, _MORE_TREES = 12, 1
_COPIES = 6
_CHURNED = 1000


@dataclass(frozen=True)
class Kind:
    """One booster: packed as published, its sizes, and what it answers to `ROW`."""

    packed: bytes
    sizes: Sizes
    score: float


@dataclass(frozen=True)
class Models:
    """The models of one form, and what a server counts besides them."""

    kinds: tuple[Kind, ...]
    fixed_bytes: int
    load_factor: float
    """Bytes of memory that the server asks for a load, per byte of the file."""
    kind_of: Mapping[str, int] = field(default_factory=dict)
    """Index into `kinds` by tenant. Others get one by their name, so that size has nothing to do with popularity."""

    def of(self, tenant: str) -> Kind:
        """The tenant's booster."""
        return self.kinds[self.kind_of.get(tenant, zlib.crc32(tenant.encode()) % len(self.kinds))]

    def sizes(self, tenants: Sequence[str]) -> dict[str, Sizes]:
        return {tenant: self.of(tenant).sizes for tenant in tenants}


def train_and_measure(*, forests: bool = False) -> Models:
    """Train; then load each kind several times into a server of its own and see what it counts.

    So a model's size in memory is known before the run, not drawn from it. With `forests`, the same models as flat
    forests.
    """
    boosters = _train()
    files = [bytes(booster.save_raw("ubj")) for booster in boosters]
    name, load_factor = "model.ubj", LOAD_FACTOR["ubj"]
    if forests:
        files = [convert(file) for file in files]
        name, load_factor = "model.forest", LOAD_FACTOR["forest"]
    row = np.array([ROW.split(b",")], dtype=np.float32)
    scores = [float(booster.inplace_predict(row)[0]) for booster in boosters]
    with (
        tempfile.TemporaryDirectory(prefix="tierfleet-cache-") as scratch,
        processes.running(processes.ours()) as server,
    ):
        directory = Path(scratch)
        # What the server counts besides models grows until it has seen some hundred: Python's own tables do.
        for number in range(_CHURNED):
            _load_and_ask(server, directory / f"churned{number}" / name, files[number % len(files)], 1)
            server.ask("DELETE", f"/models/churned{number}-0")
        fixed = int(server.metric("memory_used_bytes"))
        resident = []
        for number, file in enumerate(files):
            before = server.metric("memory_used_bytes")
            _load_and_ask(server, directory / f"kind{number}" / name, file, _COPIES)
            resident.append(round((server.metric("memory_used_bytes") - before) / _COPIES))
    return Models(
        tuple(
            Kind(pack({name: file}), Sizes(size, len(file)), score)
            for file, size, score in zip(files, resident, scores, strict=True)
        ),
        fixed,
        load_factor,
    )


def usable_bytes(models: Models, budget_bytes: float) -> float:
    """The capacity of a plain cache that holds as much as the server does on average in so much memory.

    Between two refusals what is in use rises from 95 % of the budget to all of it, each time less what admission holds
    back for a load; a plain cache is on average half a model below its capacity.
    """
    return budget_bytes * (1 + LOW_WATER) / 2 - _held_back_bytes(models)


def budget_bytes(models: Models, usable: float) -> float:
    """The inverse of `usable_bytes`."""
    return (usable + _held_back_bytes(models)) * 2 / (1 + LOW_WATER)


def _held_back_bytes(models: Models) -> float:
    resident = sum(kind.sizes.resident_bytes for kind in models.kinds) / len(models.kinds)
    file = sum(kind.sizes.file_bytes for kind in models.kinds) / len(models.kinds)
    return models.fixed_bytes + models.load_factor * file - 1.5 * resident


def _train() -> list[xgboost.Booster]:
    """Parts of one training on noise: real trees of full size, of no worth as predictors."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((2000, FEATURES)).astype(np.float32)
    label = random.integers(0, 2, len(rows)).astype(np.float32)
    parameters = {
        "objective": "binary:logistic", "max_depth": 6, "max_bin": 32, "min_child_weight": 0, "lambda": 0.0,
        "base_score": 0.5, "nthread": 1,
    }  # fmt: skip
    trees = _LEAST_TREES + _MORE_TREES * (KINDS - 1)
    whole = xgboost.train(parameters, xgboost.QuantileDMatrix(rows, label, max_bin=32), trees + KINDS)
    return [whole[number : number + _LEAST_TREES + _MORE_TREES * number] for number in range(KINDS)]


def _load_and_ask(server: processes.Process, file: Path, content: bytes, copies: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    name = file.parent.name
    for copy in range(copies):
        server.load(f"{name}-{copy}", file.parent)
        status, reply = server.invoke(f"{name}-{copy}", ROW)
        if status != 200:
            raise RuntimeError(f"{name}: {status} {reply[:200]!r}")

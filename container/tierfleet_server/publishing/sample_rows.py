"""Rows that tell two models apart: every threshold and its neighbours, missing values, categories, extremes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .document import Document
from .tree_scores import booster_of, learner_of

MIN_ROWS = 1024
_MAX_ROWS = 4096
_MAX_CELLS = 1 << 24  # 64 MiB of float32
_EXTREMES = np.array([0.0, -0.0, 1.0, -1.0, 3.0e38, -3.0e38, 1e-38], np.float32)


def sample_rows(document: Document) -> npt.NDArray[np.float32]:
    """At least 1,024 rows (fewer only above 16,384 features), the same ones each time.

    Each feature takes each of its thresholds, the float32 below and above it, and is missing in one row of sixteen;
    beyond 4,096 such values a feature takes a sample of them. A categorical feature takes each of its categories, and
    codes that no tree lists.
    """
    features = int(learner_of(document)["learner_model_param"]["num_feature"])
    pools = _pools(document)
    longest = max((len(pool) for pool in pools.values()), default=0)
    count = max(1, min(max(MIN_ROWS, min(longest, _MAX_ROWS)), _MAX_CELLS // features))
    generator = np.random.default_rng(0)
    rows = np.empty((count, features), np.float32)
    rows[:] = generator.choice(_EXTREMES, features)
    for feature, pool in pools.items():
        order = generator.permutation(len(pool))
        column = np.resize(pool[order], count)
        rows[:, feature] = column[generator.permutation(count)]
    missing = generator.random((count, 1)) < np.float32(0.5)
    for feature in pools:
        rows[missing[:, 0] & (generator.random(count) < 1 / 8), feature] = np.nan
    rows[-1] = np.nan
    return rows


def _pools(document: Document) -> dict[int, npt.NDArray[np.float32]]:
    kind, model, _ = booster_of(document)
    features = int(learner_of(document)["learner_model_param"]["num_feature"])
    if kind == "gblinear":
        values = np.random.default_rng(1).standard_normal(64).astype(np.float32)
        return dict.fromkeys(range(features), np.concatenate([values, _EXTREMES[:4]]))
    splits: list[Any] = []
    conditions: list[Any] = []
    codes: dict[int, set[int]] = {}
    for tree in model["trees"]:
        inner = np.asarray(tree["left_children"]) != -1
        split = np.asarray(tree["split_indices"])
        kinds = np.asarray(tree.get("split_type", np.zeros(len(split))))
        for node, begin, size in zip(
            tree.get("categories_nodes", ()),
            tree.get("categories_segments", ()),
            tree.get("categories_sizes", ()),
            strict=True,
        ):
            listed = tree["categories"][int(begin) : int(begin) + int(size)]
            codes.setdefault(int(split[int(node)]), set()).update(int(code) for code in listed)
        plain = inner & (kinds != 1)
        splits.append(split[plain])
        conditions.append(np.asarray(tree["split_conditions"], np.float32)[plain])
    pools: dict[int, npt.NDArray[np.float32]] = {}
    if splits:
        split, condition = np.concatenate(splits), np.concatenate(conditions)
        order = np.argsort(split, kind="stable")
        split, condition = split[order], condition[order]
        used, first = np.unique(split, return_index=True)
        parts = np.split(condition, first[1:]) if len(used) else []
        for feature, values in zip(used, parts, strict=True):
            values = np.unique(values)
            infinite = np.float32(np.inf)
            around = (np.nextafter(values, -infinite), values, np.nextafter(values, infinite), _EXTREMES)
            pool = np.concatenate(around)
            pools[int(feature)] = pool[np.isfinite(pool)]
    for feature, listed in codes.items():
        most = max(listed)
        unlisted = [code for code in range(min(most, 64)) if code not in listed]
        every = [*sorted(listed), *unlisted, most + 1, most + 2, most + 33, most + 70]
        pools[feature] = np.array(every, np.float32)
    return pools

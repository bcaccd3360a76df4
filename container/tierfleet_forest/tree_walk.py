"""Margins and scores of a TreeModel, node by node: slow, and without the file. A file's probes come from here."""

import numpy as np

from . import layout
from .libm import exponential
from .tree_model import NUMERIC, CategorySet, Numbers, TreeModel, Walk

_MAX_CATEGORY = 2.0**24
_CELLS = 1 << 20  # rows x trees that are walked at once


def probe_rows(model: TreeModel, found: Walk, count: int) -> Numbers:
    """`count` rows that go different ways: each feature takes one of its own thresholds, or is missing."""
    generator = np.random.default_rng(0)
    rows = np.full((count, model.features), np.nan, np.float32)
    if len(found.inner):
        for row in rows:
            places = generator.choice(found.inner, min(len(found.inner), 4 * model.features))
            row[model.feature[places]] = model.threshold[places]
            row[generator.random(model.features) < 1 / 16] = np.nan
    return rows


def margins(model: TreeModel, rows: Numbers) -> Numbers:
    """Margins of float32 rows, (rows, outputs), in the type of the model's base."""
    found = np.tile(model.base, (len(rows), 1))
    step = max(1, _CELLS // max(1, len(rows)))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(model.roots), step):
            leaves = _leaves(model, rows, model.roots[start : start + step])
            for tree, places in enumerate(leaves, start):
                if model.leaf_values is None:
                    values = model.threshold[places]
                else:
                    values = model.leaf_values[model.leaf_row[places]]  # type: ignore[index]
                if model.weights is not None:
                    values = values * model.weights[tree]
                if model.vector_leaves:
                    found += values
                else:
                    found[:, model.output[tree]] += values
        return found if model.divisor == 1 else found / found.dtype.type(model.divisor)


def scores(model: TreeModel, found: Numbers) -> Numbers:
    """The transform of margins, (rows, outputs), or (rows, 1) where it is argmax."""
    one, result = found.dtype.type(1), found
    with np.errstate(all="ignore"):
        if model.transform == layout.SIGMOID:
            if found.dtype == np.float32:
                below = exponential(np.minimum(-found, np.float32(88.7)))
                result = one / (below + one + np.float32(1e-16))
            else:
                result = one / (one + exponential(-model.transform_parameter * found))
        elif model.transform == layout.EXP:
            result = exponential(found)
        elif model.transform == layout.EXP_F64:
            result = exponential(found.astype(np.float64)).astype(found.dtype)
        elif model.transform == layout.SOFTMAX:
            powers = exponential(found - found.max(axis=1, keepdims=True))
            total = np.zeros(len(found))
            for column in range(found.shape[1]):
                total += powers[:, column]
            result = powers / total.astype(found.dtype)[:, None]
        elif model.transform == layout.STEP:
            result = (found > 0).astype(found.dtype)
        elif model.transform == layout.ARGMAX:
            result = found.argmax(axis=1).astype(found.dtype)[:, None]
    return result


def _leaves(model: TreeModel, rows: Numbers, roots: Numbers) -> Numbers:
    """The place of the leaf of every tree and row."""
    row = np.tile(np.arange(len(rows)), len(roots))
    at = np.repeat(roots, len(rows))
    walking = np.flatnonzero(model.left[at] >= 0)
    while len(walking):
        node = at[walking]
        value = rows[row[walking], model.feature[node]]
        missing, value = _missing(model, node, value)
        goes_left = value < model.threshold[node]
        if model.category_set is not None:
            goes_left = _by_category(model, model.category_set[node], value, goes_left)
        goes_left = np.where(missing, model.missing_left[node], goes_left)
        at[walking] = np.where(goes_left, model.left[node], model.right[node])
        walking = walking[model.left[at[walking]] >= 0]
    return at.reshape(len(roots), len(rows))


def _missing(model: TreeModel, node: Numbers, value: Numbers) -> tuple[Numbers, Numbers]:
    missing = np.isnan(value)
    if model.missing is None:
        return missing, value
    rule = model.missing[node]
    never = rule == layout.MISSING_NEVER
    zero = (rule == layout.MISSING_ZERO) & (np.abs(value) <= np.float32(layout.ZERO))
    return (missing & ~never) | zero, np.where(missing & never, np.float32(0), value)


def _by_category(model: TreeModel, numbers: Numbers, value: Numbers, goes_left: Numbers) -> Numbers:
    found = goes_left.copy()
    for number in np.unique(numbers):
        if number != NUMERIC:
            here = np.flatnonzero(numbers == number)
            found[here] = _left_by_set(model.sets[number], value[here])
    return found


def _left_by_set(chosen: CategorySet, value: Numbers) -> Numbers:
    if chosen.flags & layout.TRUNCATE_FIRST:
        value = np.trunc(value)
    is_category = (value >= 0) & (value < _MAX_CATEGORY)
    codes = np.where(is_category, value, -1).astype(np.int64)
    inside = is_category & np.isin(codes, np.array(chosen.categories, np.int64))
    left: Numbers = inside == bool(chosen.flags & layout.SET_LEFT)
    return left

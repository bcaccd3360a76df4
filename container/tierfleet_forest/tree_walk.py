"""Scores a TreeModel node by node, without a flat forest. It is slow and independent, so a file's probes use it."""

import numpy as np

from . import layout
from .libm import exponential
from .tree_model import NUMERIC, CategorySet, Numbers, TreeModel, Walk

_MAX_CATEGORY = 2.0**24
_CELLS = 1 << 20  # rows x trees walked at once: bounds the memory


def probe_rows(model: TreeModel, nodes: Walk, count: int) -> Numbers:
    """`count` rows that take different paths. Each feature is one of its own thresholds, or missing."""
    generator = np.random.default_rng(0)
    rows = np.full((count, model.features), np.nan, np.float32)
    if len(nodes.inner):
        for row in rows:
            places = generator.choice(nodes.inner, min(len(nodes.inner), 4 * model.features))
            row[model.feature[places]] = model.threshold[places]
            row[generator.random(model.features) < 1 / 16] = np.nan
    return rows


def margins(model: TreeModel, rows: Numbers) -> Numbers:
    """The margins of float32 rows, shape (rows, outputs), in the type of the model's base."""
    sums = np.tile(model.base, (len(rows), 1))
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
                    sums += values
                else:
                    sums[:, model.output[tree]] += values
        return sums if model.divisor == 1 else sums / sums.dtype.type(model.divisor)


def scores(model: TreeModel, sums: Numbers) -> Numbers:
    """The scores for these margins, shape (rows, outputs), or (rows, 1) for argmax."""
    one, result = sums.dtype.type(1), sums
    with np.errstate(all="ignore"):
        if model.transform == layout.SIGMOID:
            if sums.dtype == np.float32:
                below = exponential(np.minimum(-sums, np.float32(88.7)))
                result = one / (below + one + np.float32(1e-16))
            else:
                result = one / (one + exponential(-model.transform_parameter * sums))
        elif model.transform == layout.EXP:
            result = exponential(sums)
        elif model.transform == layout.EXP_F64:
            result = exponential(sums.astype(np.float64)).astype(sums.dtype)
        elif model.transform == layout.SOFTMAX:
            powers = exponential(sums - sums.max(axis=1, keepdims=True))
            total = np.zeros(len(sums))
            for column in range(sums.shape[1]):
                total += powers[:, column]
            result = powers / total.astype(sums.dtype)[:, None]
        elif model.transform == layout.STEP:
            result = (sums > 0).astype(sums.dtype)
        elif model.transform == layout.ARGMAX:
            result = sums.argmax(axis=1).astype(sums.dtype)[:, None]
    return result


def _leaves(model: TreeModel, rows: Numbers, roots: Numbers) -> Numbers:
    """The place of the leaf that each row reaches, shape (trees, rows)."""
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
    left = goes_left.copy()
    for number in np.unique(numbers):
        if number != NUMERIC:
            here = np.flatnonzero(numbers == number)
            left[here] = _left_by_set(model.sets[number], value[here])
    return left


def _left_by_set(chosen: CategorySet, value: Numbers) -> Numbers:
    if chosen.flags & layout.TRUNCATE_FIRST:
        value = np.trunc(value)
    is_category = (value >= 0) & (value < _MAX_CATEGORY)
    codes = np.where(is_category, value, -1).astype(np.int64)
    inside = is_category & np.isin(codes, np.array(chosen.categories, np.int64))
    left: Numbers = inside == bool(chosen.flags & layout.SET_LEFT)
    return left

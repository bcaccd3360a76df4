"""The comparisons that a model's nodes make, as the slots, columns and sets of categories of a flat forest."""

from typing import Any, NamedTuple

import numpy as np

from . import layout
from .layout import FORM_A, FORM_B, NO_SLOT, WINDOW
from .tree_model import NUMERIC, ConvertError, Numbers, TreeModel, Walk


class NoRoomError(ConvertError):
    """The model does not fit in this form. It may fit in the other one."""


class Comparisons(NamedTuple):
    """The comparisons of the nodes, and the records that fill the slots."""

    slot: Numbers
    """By place."""
    threshold_index: Numbers
    """By place, for form A."""
    columns: Numbers
    thresholds: Numbers
    category_splits: Numbers
    category_bits: Numbers


def comparisons_of(model: TreeModel, nodes: Walk, form: int) -> Comparisons:
    """The comparisons of all nodes that split. Raises NoRoomError if the form has too few slots."""
    slot, index = np.zeros(len(model.left), np.int64), np.zeros(len(model.left), np.int64)
    numeric = nodes.inner[is_numeric(model, nodes.inner)]
    columns, thresholds, used = _columns(model, numeric, form, slot, index)
    splits, bits = np.zeros(0, np.dtype(layout.CATEGORY_SPLIT)), np.zeros(0, np.uint32)
    if model.category_set is not None:
        categorical = nodes.inner[model.category_set[nodes.inner] != NUMERIC]
        asked = [model.feature[categorical], model.category_set[categorical], ~model.missing_left[categorical]]
        distinct, number = np.unique(np.stack(asked, 1), axis=0, return_inverse=True)
        _refuse_slots(used + len(distinct), form)
        slot[categorical] = used + number.reshape(-1)
        splits, bits = _category_splits(model, distinct, used)
    _refuse_slots(used, form)
    return Comparisons(slot, index, columns, thresholds, splits, bits)


def is_numeric(model: TreeModel, places: Numbers) -> Any:
    """Selects the places whose nodes compare a number."""
    return slice(None) if model.category_set is None else model.category_set[places] == NUMERIC


def _refuse_slots(used: int, form: int) -> None:
    if used > layout.SLOTS[form]:
        raise NoRoomError(
            f"the model's splits need {used} slots and the format has {layout.SLOTS[form]} (one for each feature and "
            "direction of missing values, and for each set of categories); train it with fewer features or categories"
        )


def _columns(
    model: TreeModel, places: Numbers, form: int, slot: Numbers, index: Numbers
) -> tuple[Numbers, Numbers, int]:
    """The columns' records, thresholds, and the number of slots they fill. Sets `slot` and `index` at `places`."""
    threshold = model.threshold[places] + np.float32(0)  # -0.0 and 0.0 are one threshold
    if form == FORM_B and np.isneginf(threshold).any():
        raise NoRoomError("a split compares with minus infinity, which form B cannot hold")
    rule = np.zeros(len(places), np.int64) if model.missing is None else model.missing[places].astype(np.int64)
    missing_left = model.missing_left[places] | (rule == layout.MISSING_NEVER)
    bits = threshold.view(np.uint32).astype(np.int64)
    ascending = np.where(bits >> 31, 0xFFFFFFFF - bits, bits | 1 << 31)
    keys, key = np.unique((model.feature[places] * 3 + rule) << 32 | ascending, return_inverse=True)
    sources, at, count = np.unique(keys >> 32, return_index=True, return_counts=True)
    column = np.searchsorted(sources, keys >> 32)[key]
    if form == FORM_A and len(count) and count.max() > layout.MAX_COLUMN_THRESHOLDS:
        raise NoRoomError(f"a feature has {count.max()} thresholds, more than form A has room for")
    windows = -(-count // WINDOW) if form == FORM_A else np.ones(len(count), np.int64)
    asked = np.zeros((len(sources), 2), np.int64)
    asked[column, np.where(missing_left, 0, 1)] = 1
    needed = (asked * windows[:, None]).ravel()
    begins = (np.cumsum(needed) - needed).reshape(-1, 2)
    records = np.zeros(len(sources), np.dtype(layout.COLUMN))
    records["feature"], records["missing"] = sources // 3, sources % 3
    if form == FORM_A:
        records["at"], records["count"] = at, count
    limit = np.minimum(begins, NO_SLOT)  # _refuse_slots refuses a model with more
    records["left_slot"] = np.where(asked[:, 0], limit[:, 0], NO_SLOT)
    records["right_slot"] = np.where(asked[:, 1], limit[:, 1], NO_SLOT)
    number = key - at[column]
    slot[places] = begins[column, np.where(missing_left, 0, 1)]
    if form == FORM_A:
        slot[places] += number // WINDOW
        index[places] = number % WINDOW
    values = np.zeros(len(keys), np.float32)
    values[key] = threshold
    return records, values if form == FORM_A else values[:0], int(needed.sum())


def _category_splits(model: TreeModel, distinct: Numbers, first_slot: int) -> tuple[Numbers, Numbers]:
    """A record for each distinct combination of feature, set and direction of missing values; and the sets' bits."""
    records = np.zeros(len(distinct), np.dtype(layout.CATEGORY_SPLIT))
    begin: dict[int, tuple[int, int]] = {}
    bits: list[Numbers] = []
    total = 0
    for place, (feature, which, missing_right) in enumerate(distinct.tolist()):
        chosen = model.sets[which]
        if which not in begin:
            words = max(chosen.categories, default=-1) // 32 + 1
            begin[which] = total, words
            bits.append(_bits(chosen.categories, words))
            total += words
        flags = chosen.flags | (layout.MISSING_RIGHT if missing_right else 0)
        records[place] = (feature, *begin[which], first_slot + place, flags)
    return records, np.concatenate(bits) if bits else np.zeros(0, np.uint32)


def _bits(categories: tuple[int, ...], words: int) -> Numbers:
    bits = np.zeros(words, np.uint32)
    codes = np.array(categories, np.int64)
    np.bitwise_or.at(bits, codes // 32, (1 << (codes % 32)).astype(np.uint32))
    return bits

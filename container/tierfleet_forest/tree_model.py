"""A model of decision trees from any library, as the writer of flat forests takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .layout import IDENTITY

Numbers = npt.NDArray[Any]
NUMERIC = -1


class ConvertError(ValueError):
    """The model cannot become a flat forest with the same scores. The message says which part is not supported."""


class CategorySet(NamedTuple):
    """Categories in ascending order, and the flags SET_LEFT and TRUNCATE_FIRST of `layout`."""

    categories: tuple[int, ...]
    flags: int = 0


@dataclass(frozen=True, kw_only=True)
class TreeModel:
    """Trees as one-dimensional arrays over all nodes of all trees. A node's place is its index in these arrays.

    A row starts from `base`. Each tree, in the order of `roots`, adds the value of one leaf to the row's sums. The sums
    are then divided by `divisor` and transformed.
    """

    features: int
    base: Numbers
    """By output, float32 or float64. The sums have this type."""
    roots: Numbers
    """By tree: the place of its root."""
    left: Numbers
    """By node: the place of the left child; -1 in a leaf. A row goes left if its value is below the threshold."""
    right: Numbers
    """By node: the place of the right child; -1 in a leaf."""
    feature: Numbers
    """By node: the number of the feature that the node compares."""
    threshold: Numbers
    """By node, float32. In a leaf it is the leaf's value, unless `leaf_row` is given."""
    missing_left: Numbers
    """By node: whether a missing value goes left."""
    cover: Numbers
    """By node: how much training data reached it, in any unit. It affects the order in the file, but no score."""
    output: Numbers
    """By tree: the output that its leaves add to."""
    weights: Numbers | None = None
    """By tree: a factor for its leaves."""
    missing: Numbers | None = None
    """By node: one of `layout.MISSING_*`. None: NaN is missing in every node."""
    category_set: Numbers | None = None
    """By node: an index into `sets`, or NUMERIC. A row whose category is in the set goes right; only NaN is missing."""
    sets: list[CategorySet] = field(default_factory=list)
    leaf_row: Numbers | None = None
    """By node: the row of a leaf in `leaf_values`."""
    leaf_values: Numbers | None = None
    """(rows,), or (rows, outputs) if a leaf adds to every output."""
    divisor: int = 1
    transform: int = IDENTITY
    """One of the transforms in `layout`."""
    transform_parameter: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """The number of sums per row, before the transform."""
        return len(self.base)

    @property
    def vector_leaves(self) -> bool:
        """Whether a leaf holds a value for each output."""
        return self.leaf_values is not None and self.leaf_values.ndim == 2


def float32_above(threshold: Numbers) -> Numbers:
    """For each float64 threshold t the float32 t' such that `x <= t` in double equals `x < t'` for every float32 x.

    The exception: if x and t are both infinite.
    """
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    above: Numbers = np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))
    return above


def joined(trees: list[dict[str, Numbers]]) -> dict[str, Numbers]:
    """The arrays of a TreeModel, joined from one dict per tree. There `left` and `right` are places within the tree.

    `values` (one per node) becomes `leaf_values`, which keeps those of leaves, and `leaf_row`, which counts leaves.
    """
    sizes = np.array([len(tree["left"]) for tree in trees])
    first = np.cumsum(sizes) - sizes
    start = np.repeat(first, sizes)
    arrays = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    leaf = arrays["left"] < 0
    for name in ("left", "right"):
        child = arrays[name]
        if (child[~leaf] < 0).any() or (child >= np.repeat(sizes, sizes)).any():
            raise ConvertError("a tree has a branch that leads out of it; save the model again")
        arrays[name] = np.where(leaf, -1, child + start)
    values = arrays.pop("values")
    return {**arrays, "roots": first, "leaf_row": np.maximum(np.cumsum(leaf) - 1, 0), "leaf_values": values[leaf]}


class Walk(NamedTuple):
    """The result of walking every tree from its root."""

    inner: Numbers
    """The places of all nodes that split, level by level."""
    tree: Numbers
    """By place: the number of the node's tree; -1 for a node that no tree reaches."""
    cover: Numbers
    """By place: the model's cover, but finite and never above the parent's."""
    levels: int


def walk(model: TreeModel) -> Walk:
    """Visit every node that a row can reach. Raises ConvertError if a branch leads nowhere or to a shared node."""
    nodes, left, right = len(model.left), model.left, model.right
    tree = np.full(nodes, -1, np.int32)
    cover = np.maximum(np.nan_to_num(model.cover.astype(np.float32), posinf=0), 0)
    at, levels, reached = model.roots, [], 0
    number = np.arange(len(at), dtype=np.int32)
    while len(at):
        reached += len(at)
        if reached > nodes or at.min() < 0 or at.max() >= nodes:
            raise ConvertError("a tree has a branch that leads nowhere, or to another branch; save the model again")
        tree[at] = number
        splits = left[at] >= 0
        at, number = at[splits], number[splits]
        levels.append(at)
        for child in (left[at], right[at]):
            if len(at) and (child.min() < 0 or child.max() >= nodes):
                raise ConvertError("a tree has a branch that leads nowhere; save the model again")
            cover[child] = np.minimum(cover[child], cover[at])
        at, number = np.concatenate([left[at], right[at]]), np.concatenate([number, number])
    if reached != np.count_nonzero(tree >= 0):
        raise ConvertError("a tree has two branches that lead to one node; save the model again")
    inner = np.concatenate(levels)
    if len(inner) and not cover[model.roots].any():
        _count_leaves(model, levels, cover)
    split = model.feature[inner]
    if len(inner) and (split.min() < 0 or split.max() >= model.features):
        raise ConvertError(f"a tree splits on feature {int(split.max())} of {model.features}; save the model again")
    return Walk(inner, tree, cover, len(levels))


def _count_leaves(model: TreeModel, levels: list[Numbers], cover: Numbers) -> None:
    cover[model.left < 0] = 1
    for places in reversed(levels):
        cover[places] = cover[model.left[places]] + cover[model.right[places]]

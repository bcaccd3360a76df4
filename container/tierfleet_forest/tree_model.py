"""A model of decision trees, whichever library trained it: what the writer of a flat forest starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .layout import IDENTITY

Numbers = npt.NDArray[Any]
NUMERIC = -1


class ConvertError(ValueError):
    """A model that no flat forest can hold with its own scores; the message says what is not covered."""


class CategorySet(NamedTuple):
    """Categories in ascending order, and the flags SET_LEFT and TRUNCATE_FIRST of `layout`."""

    categories: tuple[int, ...]
    flags: int = 0


@dataclass(frozen=True, kw_only=True)
class TreeModel:
    """Trees node by node: one-dimensional arrays over all nodes of all trees; a place is an index into them.

    `left` and `right` are places, -1 in a leaf. A leaf's value is its `threshold`, or row `leaf_row` of `leaf_values`
    where that is not None: (rows,), or (rows, outputs) if a leaf adds to every output. Any other node sends a row to
    `left` if its value of `feature` is smaller than `threshold` (float32), else to `right`, and a missing value where
    `missing_left` says; what is missing says `missing`, by node one of `layout.MISSING_*` (None: NaN everywhere). Where
    `category_set` is not NUMERIC it is an index into `sets`, and the node sends a row to `right` if its category is in
    that set; only NaN is missing there. `cover` is how much training data came by, in any unit: it decides the order
    in the file and no score.

    A row starts from `base`, float32 or float64 by output. In the order of `roots` each tree adds its leaf's value,
    times its weight where `weights` is not None, to the output that `output` names, in the type of `base`. The sums
    are divided by `divisor`; `transform` is one of `layout`.
    """

    features: int
    base: Numbers
    roots: Numbers
    left: Numbers
    right: Numbers
    feature: Numbers
    threshold: Numbers
    missing_left: Numbers
    cover: Numbers
    output: Numbers
    weights: Numbers | None = None
    missing: Numbers | None = None
    category_set: Numbers | None = None
    sets: list[CategorySet] = field(default_factory=list)
    leaf_row: Numbers | None = None
    leaf_values: Numbers | None = None
    divisor: int = 1
    transform: int = IDENTITY
    transform_parameter: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Values a row before the transform."""
        return len(self.base)

    @property
    def vector_leaves(self) -> bool:
        """Whether a leaf holds a value for each output."""
        return self.leaf_values is not None and self.leaf_values.ndim == 2


def float32_above(threshold: Numbers) -> Numbers:
    """For float64 thresholds t the float32 t' for which `x <= t` in double is `x < t'`, whatever float32 x is.

    Only for x and t infinite, both, it is not.
    """
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    found: Numbers = np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))
    return found


def joined(trees: list[dict[str, Numbers]]) -> dict[str, Numbers]:
    """The arrays of a TreeModel from those of its trees, in which `left` and `right` are places within the tree.

    `leaf_row` counts the leaves: `leaf_values` is what is left of `values` (one a node) in leaves.
    """
    sizes = np.array([len(tree["left"]) for tree in trees])
    first = np.cumsum(sizes) - sizes
    start = np.repeat(first, sizes)
    found = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    leaf = found["left"] < 0
    for name in ("left", "right"):
        child = found[name]
        if (child[~leaf] < 0).any() or (child >= np.repeat(sizes, sizes)).any():
            raise ConvertError("a tree has a branch that leads out of it; save the model again")
        found[name] = np.where(leaf, -1, child + start)
    values = found.pop("values")
    return {**found, "roots": first, "leaf_row": np.maximum(np.cumsum(leaf) - 1, 0), "leaf_values": values[leaf]}


class Walk(NamedTuple):
    """What walking every tree from its root finds. `inner` are the places of nodes that split, level by level.

    By place: the number of the `tree` (-1 where nothing leads), and `cover` made finite and never above the parent's.
    """

    inner: Numbers
    tree: Numbers
    cover: Numbers
    levels: int


def walk(model: TreeModel) -> Walk:
    """Every node that a row can reach; raises ConvertError for branches that lead nowhere or to one another."""
    nodes, left, right = len(model.left), model.left, model.right
    tree = np.full(nodes, -1, np.int32)
    cover = np.maximum(np.nan_to_num(model.cover.astype(np.float32), posinf=0), 0)
    at, found, reached = model.roots, [], 0
    number = np.arange(len(at), dtype=np.int32)
    while len(at):
        reached += len(at)
        if reached > nodes or at.min() < 0 or at.max() >= nodes:
            raise ConvertError("a tree has a branch that leads nowhere, or to another branch; save the model again")
        tree[at] = number
        splits = left[at] >= 0
        at, number = at[splits], number[splits]
        found.append(at)
        for child in (left[at], right[at]):
            if len(at) and (child.min() < 0 or child.max() >= nodes):
                raise ConvertError("a tree has a branch that leads nowhere; save the model again")
            cover[child] = np.minimum(cover[child], cover[at])
        at, number = np.concatenate([left[at], right[at]]), np.concatenate([number, number])
    if reached != np.count_nonzero(tree >= 0):
        raise ConvertError("a tree has two branches that lead to one node; save the model again")
    inner = np.concatenate(found)
    if len(inner) and not cover[model.roots].any():
        _count_leaves(model, found, cover)
    split = model.feature[inner]
    if len(inner) and (split.min() < 0 or split.max() >= model.features):
        raise ConvertError(f"a tree splits on feature {int(split.max())} of {model.features}; save the model again")
    return Walk(inner, tree, cover, len(found))


def _count_leaves(model: TreeModel, levels: list[Numbers], cover: Numbers) -> None:
    cover[model.left < 0] = 1
    for places in reversed(levels):
        cover[places] = cover[model.left[places]] + cover[model.right[places]]

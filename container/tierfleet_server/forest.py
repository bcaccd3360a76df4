"""The trees of a UBJ model: found fast in the file, and checked to end before XGBoost walks them.

XGBoost trusts the indices in a tree: one that leads outside of it ends the process.
"""

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .ubj import Bytes, TypedArray, UbjError

_ROOT = 2**31 - 1
_MAX_CATEGORY = 2**24
_CHUNK_NODES = 1 << 15  # arrays of this many nodes stay in the processor's cache while they are checked


class Tree(NamedTuple):
    """One tree: its place among the trees, how many nodes it has, and where the arrays that link them lie."""

    number: int
    nodes: int
    left: TypedArray
    right: TypedArray
    parents: TypedArray
    split: TypedArray


# A tree as XGBoost writes it: members in alphabetical order, each an array of one type. Those of the
# categories are empty here, and `id` stands between the two groups.
_BEFORE_ID = (
    ("base_weights", b"d"), ("categories", b"l"), ("categories_nodes", b"l"), ("categories_segments", b"L"),
    ("categories_sizes", b"L"), ("default_left", b"U"),
)  # fmt: skip
_AFTER_ID = (
    ("left_children", b"l"), ("loss_changes", b"d"), ("parents", b"l"), ("right_children", b"l"),
    ("split_conditions", b"d"), ("split_indices", b"l"), ("split_type", b"U"), ("sum_hessian", b"d"),
)  # fmt: skip
_PER_NODE = tuple(name for name, _ in (*_BEFORE_ID, *_AFTER_ID) if not name.startswith("categories"))
_NODE_NUMBERS = ("left_children", "right_children", "parents", "split_indices")
_ITEM_BYTES = {b"d": 4, b"l": 4, b"L": 8, b"U": 1}
_ID = re.compile(rb"L\0{7}\x02id(?:[iU](.)|I(..)|l(.{4})|L(.{8}))", re.DOTALL)
_PARAMETERS = re.compile(
    rb"L\0{7}\ntree_param\{L\0{7}\x0bnum_deletedSL\0{7}.(\d+)L\0{7}\x0bnum_featureSL\0{7}.(\d+)"
    rb"L\0{7}\tnum_nodesSL\0{7}.(\d+)L\0{7}\x10size_leaf_vectorSL\0{7}\x01[01]\}\}",
    re.DOTALL,
)


def _header(name: str, kind: bytes) -> bytes:
    return b"L" + len(name).to_bytes(8, "big") + name.encode() + b"[$" + kind + b"#L"


_FIRST = _header(*_BEFORE_ID[0])
_NO_CATEGORIES = b"".join(_header(*member) + bytes(8) for member in _BEFORE_ID[1:5]) + _header(*_BEFORE_ID[5])
_REST = tuple((_header(*member), len(_header(*member)) + 8, _ITEM_BYTES[member[1]]) for member in _AFTER_ID)


def read_tree(data: Bytes, at: int) -> tuple[Tree, int] | None:
    """The tree of numeric splits at byte `at` and its end; None if it is anything else.

    Ten times as fast as reading it member by member, which counts when a model has a thousand trees.
    """
    at += 1
    if data[at : at + len(_FIRST)] != _FIRST:
        return None
    at += len(_FIRST) + 8
    count = data[at - 8 : at]
    nodes = int.from_bytes(count, "big")
    at += 4 * nodes
    if nodes < 1 or data[at : at + len(_NO_CATEGORIES) + 8] != _NO_CATEGORIES + count:
        return None
    at += len(_NO_CATEGORIES) + 8 + nodes
    identity = _ID.match(data, at)
    if identity is None:
        return None
    number = int.from_bytes(identity[identity.lastindex or 0], "big")
    at = identity.end()
    offsets = []
    for header, length, size in _REST:
        if data[at : at + length] != header + count:
            return None
        at += length
        offsets.append(at)
        at += size * nodes
    parameters = _PARAMETERS.match(data, at)
    if parameters is None or int(parameters[3]) != nodes:
        return None
    left, _, parents, right, _, split, kinds, _ = offsets
    if data[kinds : kinds + nodes].strip(b"\0"):
        return None
    places = (TypedArray(b"l", place, nodes) for place in (left, right, parents, split))
    return Tree(number, nodes, *places), parameters.end()


def check_trees(data: Bytes, trees: list[Any], features: int) -> None:
    """Raise UbjError unless every tree ends and no split reads beyond a row of `features` values."""
    chunk: list[Tree] = []
    nodes = 0
    for place, item in enumerate(trees):
        tree = item if isinstance(item, Tree) else _tree(data, item)
        if tree.number != place:
            raise UbjError(f"tree {place} in it is numbered {tree.number}, so XGBoost would leave a hole")
        chunk.append(tree)
        nodes += tree.nodes
        if nodes >= _CHUNK_NODES:
            _check_chunk(data, chunk, features)
            chunk, nodes = [], 0
    if chunk:
        _check_chunk(data, chunk, features)


def _check_chunk(data: Bytes, trees: list[Tree], features: int) -> None:
    sizes = np.array([tree.nodes for tree in trees], np.int32)
    first = np.cumsum(sizes, dtype=np.int32) - sizes
    left, right, parents, split = (
        _joined(data, arrays)
        for arrays in zip(*((tree.left, tree.right, tree.parents, tree.split) for tree in trees), strict=True)
    )
    branches = left != -1
    # XGBoost goes to `left` or to `left + 1`: both must lie in the tree and name this node as their parent,
    # which also rules out a circle, for no node has two parents and the root has none.
    if not np.array_equal(right, left + branches) or np.any(parents[first] != _ROOT):
        raise UbjError("a tree in it has half a branch or no root")
    if left.min() < -1 or not left.all() or np.any(np.maximum.reduceat(left, first) >= sizes - 1):
        raise UbjError("a tree in it has a branch that leads nowhere")
    parents[first] = 0
    if parents.min() < 0 or np.any(np.maximum.reduceat(parents, first) >= sizes):
        raise UbjError("a tree in it has a node whose parent is none of its nodes")
    inner = np.flatnonzero(branches)
    start = np.repeat(first, sizes)
    child = (left + start)[inner]
    parents += start
    if np.any(parents[child] != inner) or np.any(parents[child + 1] != inner):
        raise UbjError("a tree in it has a branch that leads to another's leaf")
    if split.min() < 0 or split.max() >= features:
        split = split[inner]  # only there does it count: a pruned node keeps a mark instead
        if len(inner) and (split.min() < 0 or split.max() >= features):
            raise UbjError(f"a tree in it splits on a feature beyond its {features}")


def _joined(data: Bytes, arrays: tuple[TypedArray, ...]) -> npt.NDArray[np.int32]:
    if any(array.kind != b"l" for array in arrays):
        raise UbjError("a tree in it has node numbers of another type")
    parts = (data[array.offset : array.offset + 4 * array.length] for array in arrays)
    return np.frombuffer(b"".join(parts), ">i4").astype(np.int32)


def _tree(data: Bytes, members: dict[str, Any]) -> Tree:
    nodes = members["left_children"].length
    parameters = members["tree_param"]
    if nodes < 1 or int(parameters["num_nodes"]) != nodes:
        raise UbjError("a tree in it has no nodes or miscounts them")
    if int(parameters["size_leaf_vector"]) > 1:
        raise UbjError("a tree in it has a vector in each leaf, which this server does not read")
    if any(members[name].length != nodes for name in _PER_NODE):
        raise UbjError("a tree in it has arrays of different lengths")
    _check_categories(data, members)
    left, right, parents, split = (members[name] for name in _NODE_NUMBERS)
    return Tree(int(members["id"]), nodes, left, right, parents, split)


def _check_categories(data: Bytes, members: dict[str, Any]) -> None:
    where, begins, counts, categories = (
        numbers(data, members[name])
        for name in ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    )
    kinds = members["split_type"].read(data)
    sound = (
        len(where) == len(begins) == len(counts)
        and bool(np.all(kinds <= 1))
        and np.array_equal(where, np.flatnonzero(kinds == 1))
        and not np.any((begins < 0) | (counts < 1) | (begins + counts > len(categories)))
        and not np.any((categories < 0) | (categories >= _MAX_CATEGORY))
    )
    if not sound:
        raise UbjError("a tree in it lists its categories wrongly")


def numbers(data: Bytes, array: TypedArray | list[Any]) -> npt.NDArray[np.int64]:
    """Whole numbers of an array of either form."""
    values = array.read(data) if isinstance(array, TypedArray) else np.array(array)
    if values.size and values.dtype.kind not in "iu":
        raise UbjError("an array of whole numbers in it holds something else")
    return values.astype(np.int64)

"""The trees of a UBJ model, located fast in the file and checked to end before XGBoost walks them.

XGBoost trusts the indices in a tree: one that leads outside of it ends the process.
"""

import re
import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .parameters import MAX_FEATURES, MAX_TREES, check_parameters, known, whole
from .refusal import BadModel, shown
from .ubj import Bytes, TypedArray, UbjError

_ROOT = 2**31 - 1
_MAX_CATEGORY = 2**24
_Numbers = npt.NDArray[Any]
_CHUNK_NODES = 1 << 13  # arrays of this many nodes stay in the processor's cache while they are checked


class Tree(NamedTuple):
    """One tree: its place among the trees, how many nodes it has, and at which byte each array that links them begins.

    Those arrays hold four bytes a node.
    """

    number: int
    nodes: int
    left: int
    right: int
    parents: int
    split: int


# A tree as XGBoost writes it: members in alphabetical order, each an array of one type. Those of the
# categories are empty here, and `id` is between the two groups.
_BEFORE_ID = (
    ("base_weights", b"d"), ("categories", b"l"), ("categories_nodes", b"l"), ("categories_segments", b"L"),
    ("categories_sizes", b"L"), ("default_left", b"U"),
)  # fmt: skip
_AFTER_ID = (
    ("left_children", b"l"), ("loss_changes", b"d"), ("parents", b"l"), ("right_children", b"l"),
    ("split_conditions", b"d"), ("split_indices", b"l"), ("split_type", b"U"), ("sum_hessian", b"d"),
)  # fmt: skip
_PER_NODE = tuple(name for name, _ in (*_BEFORE_ID, *_AFTER_ID) if not name.startswith("categories"))
_NEEDED = (*(name for name, _ in (*_BEFORE_ID, *_AFTER_ID)), "id", "tree_param")
_MEMBERS = (*_NEEDED, "leaf_weights")
_NODE_NUMBERS = ("left_children", "right_children", "parents", "split_indices")  # as in Tree
_ITEM_BYTES = {b"d": 4, b"l": 4, b"L": 8, b"U": 1}
_ID = re.compile(rb"L\0{7}\x02id(?:[iU](.)|I(..)|l(.{4})|L(.{8}))", re.DOTALL)
_PARAMETERS = re.compile(
    rb"L\0{7}\ntree_param\{L\0{7}\x0bnum_deletedSL\0{7}(.)(\d+)L\0{7}\x0bnum_featureSL\0{7}(.)(\d+)"
    rb"L\0{7}\tnum_nodesSL\0{7}(.)(\d+)L\0{7}\x10size_leaf_vectorSL\0{7}\x01[01]\}\}",
    re.DOTALL,
)
_COUNT = struct.Struct(">q")


def _header(name: str, kind: bytes) -> bytes:
    return b"L" + len(name).to_bytes(8, "big") + name.encode() + b"[$" + kind + b"#L"


_FIRST = b"{" + _header(*_BEFORE_ID[0])
_NO_CATEGORIES = b"".join(_header(*member) + bytes(8) for member in _BEFORE_ID[1:5]) + _header(*_BEFORE_ID[5])
_REST = [(_header(*member), _ITEM_BYTES[member[1]]) for member in _AFTER_ID]
_HEADERS = [header for header, _ in _REST]
_AFTER_ID_FORM = ">" + "".join(f"{len(header)}sq%dx" for header in _HEADERS)
_PLACES = [  # of the arrays after `id`: bytes that are always there, and bytes a node
    (sum(len(header) + 8 for header in _HEADERS[: at + 1]), sum(size for _, size in _REST[:at]))
    for at in range(len(_REST))
]


class _Layout:
    """A tree of numeric splits with so many nodes: the bytes that never differ, and where the arrays lie after `id`.

    `parameters` are those of the last such tree that was read; most often the next one has the same.
    """

    __slots__ = ("after_id", "before_id", "first", "parameters", "places", "rest")

    def __init__(self, nodes: int) -> None:
        self.parameters = b""
        self.first = (_FIRST, nodes, _NO_CATEGORIES, nodes)
        self.before_id = struct.Struct(f">{len(_FIRST)}sq{4 * nodes}x{len(_NO_CATEGORIES)}sq{nodes}x")
        rest: list[bytes | int] = [nodes] * (2 * len(_REST))
        rest[::2] = _HEADERS
        self.rest = tuple(rest)
        self.after_id = struct.Struct(_AFTER_ID_FORM % tuple([size * nodes for _, size in _REST]))
        self.places = [known + sizes * nodes for known, sizes in _PLACES]


_layout = lru_cache(maxsize=256)(_Layout)


def read_tree(data: Bytes, at: int) -> tuple[Tree, int] | None:
    """The tree of numeric splits at byte `at` and its end; None if it is anything else.

    Twenty times as fast as reading it member by member, which counts when a model has a thousand trees.
    """
    try:
        (nodes,) = _COUNT.unpack_from(data, at + len(_FIRST))
        if not 0 < nodes <= len(data):
            return None
        layout = _layout(nodes)
        if layout.before_id.unpack_from(data, at) != layout.first:
            return None
        at += layout.before_id.size
        identity = _ID.match(data, at)
        if identity is None:
            return None
        at = identity.end()
        if layout.after_id.unpack_from(data, at) != layout.rest:
            return None
    except struct.error:
        return None
    parameters = at + layout.after_id.size
    end = parameters + len(layout.parameters)
    if not layout.parameters or data[parameters:end] != layout.parameters:
        match = _PARAMETERS.match(data, parameters)
        if match is None:
            return None
        lengths, texts = match.group(1, 3, 5), match.group(2, 4, 6)
        if b"".join(lengths) != bytes(map(len, texts)) or max(lengths) > b"\x0a" or int(texts[2]) != nodes:
            return None
        if int(texts[0]) > nodes or int(texts[1]) > MAX_FEATURES:
            return None
        layout.parameters, end = match[0], match.end()
    left, _, parents, right, _, split, kinds, _ = layout.places
    if data[at + kinds : at + kinds + nodes].strip(b"\0"):
        return None
    number = int.from_bytes(identity[identity.lastindex or 0], "big")
    return Tree(number, nodes, at + left, at + right, at + parents, at + split), end


class Paths(NamedTuple):
    """How far a row walks: the depth of the deepest tree, and the sum of all trees' depths, each at least 1.

    `nodes` is the number of nodes. `shap` is TreeSHAP's steps for one row: for every node the number of features
    decided above it, for every leaf the square of that, and one for the node itself.
    """

    depth: int
    length: int
    nodes: int
    shap: int


def check_trees(data: Bytes, trees: list[Any], features: int) -> Paths:
    """Raise UbjError unless every tree ends and no split reads beyond a row of `features` values."""
    chunk: list[Tree] = []
    nodes = depth = length = nodes_in_all = shap = 0
    for place, item in enumerate(trees):
        tree = item if isinstance(item, Tree) else _tree(data, item)
        if tree.number != place:
            raise UbjError(f"tree {place} in it is numbered {tree.number}, so XGBoost would leave a hole")
        chunk.append(tree)
        nodes += tree.nodes
        if nodes >= _CHUNK_NODES or place == len(trees) - 1:
            paths = _check_chunk(data, chunk, features)
            depth, length = max(depth, paths.depth), length + paths.length
            nodes_in_all, shap = nodes_in_all + paths.nodes, shap + paths.shap
            chunk, nodes = [], 0
    return Paths(depth, length, nodes_in_all, shap)


def _check_chunk(data: Bytes, trees: list[Tree], features: int) -> Paths:
    sizes = np.array([tree.nodes for tree in trees], np.int32)
    first = sizes.cumsum(dtype=np.int32) - sizes
    count = int(first[-1] + sizes[-1])
    # XGBoost goes to `left` or to `left + 1`: both must lie in the tree and name this node as their parent,
    # which also rules out a circle, for no node has two parents and the root has none.
    links = [data[tree[at] : tree[at] + 4 * tree.nodes] for at in range(2, 6) for tree in trees]
    left, right, parents, split = np.frombuffer(b"".join(links), ">i4").astype(np.int32).reshape(4, count)
    branches = left != -1
    if (right != left + branches).any() or (parents[first] != _ROOT).any():
        raise UbjError("a tree in it has half a branch or no root")
    parents[first] = 0
    # Unsigned, a number below 0 is a large one.
    if (np.maximum.reduceat(parents.view(np.uint32), first) >= sizes).any():
        raise UbjError("a tree in it has a node whose parent is none of its nodes")
    inner = branches.nonzero()[0]
    if not len(inner):
        return Paths(0, len(trees), count, count)
    start = first.repeat(sizes)
    step = left[inner]
    child = np.minimum(step, count) + start[inner]
    if step.min() < 1 or child.max() >= count - 1:
        raise UbjError("a tree in it has a branch that leads nowhere")
    # With the first node of its tree added, a parent is a place in the chunk: no node of another tree has this one.
    parents += start
    if (parents[child] != inner).any() or (parents[child + 1] != inner).any():
        raise UbjError("a tree in it has a branch that leads to another's leaf")
    if split.view(np.uint32).max() >= features:
        split = split[inner]  # only there does it count: a pruned node keeps a mark instead
        if split.view(np.uint32).max() >= features:
            raise UbjError(f"a tree in it splits on a feature beyond its {features}")
    return _paths(parents, inner, branches, start, first, features)


def _paths(
    parents: _Numbers, inner: _Numbers, branches: _Numbers, start: _Numbers, first: _Numbers, features: int
) -> Paths:
    # Among branching nodes alone. Every round doubles how far up a node has looked, so some 20 do for the deepest tree.
    number = branches.cumsum() - 1
    up, root = number[parents[inner]], number[start[inner]]
    depth = np.ones(len(inner), np.int32)
    depth[root] = 0
    for _ in range(len(inner).bit_length() + 1):
        if (up == root).all():
            break
        depth += depth[up]
        up = up[up]
    else:
        raise UbjError("a tree in it has branches that its root does not lead to")
    below = np.zeros(len(parents), np.int32)
    below[inner] = depth + 1
    deepest = np.maximum.reduceat(below, first)
    # Above a node no more features are decided than there are. A leaf lies one below its parent.
    decided = np.minimum(depth, features).astype(np.float64)
    leaf = (~branches).nonzero()[0]
    above = parents[leaf]
    leaves = np.minimum((depth[number[above]] + 1) * (above != leaf), features).astype(np.float64)
    shap = len(parents) + int(decided.sum() + leaves.sum() + leaves @ leaves)
    return Paths(int(deepest.max()), int(np.maximum(deepest, 1).sum()), len(parents), shap)


def _tree(data: Bytes, members: dict[str, Any]) -> Tree:
    known("tree", members, _MEMBERS, ("tree_param",))
    parameters = check_parameters("tree_param", members["tree_param"])
    if int(parameters["size_leaf_vector"]) > 1:
        raise BadModel(
            "the model has a vector in each leaf (multi_strategy='multi_output_tree'), which this server does not "
            "serve; train it with multi_strategy='one_output_per_tree'"
        )
    known("tree", members, _NEEDED, _NEEDED)
    for name, kind in (*_BEFORE_ID, *_AFTER_ID):
        if not isinstance(members[name], TypedArray) or members[name].kind != kind:
            raise UbjError(f"a tree in it has {name} of another type than XGBoost writes")
    nodes = members["left_children"].length
    if nodes < 1 or int(parameters["num_nodes"]) != nodes or int(parameters["num_deleted"]) > nodes:
        raise UbjError("a tree in it has no nodes or miscounts them")
    if any(members[name].length != nodes for name in _PER_NODE):
        raise UbjError("a tree in it has arrays of different lengths")
    _check_categories(data, members)
    links = [members[name] for name in _NODE_NUMBERS]
    return Tree(whole("tree's id", members["id"], 0, MAX_TREES), nodes, *(array.offset for array in links))


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
        and not np.any((begins < 0) | (counts < 1) | (counts > len(categories)) | (begins > len(categories) - counts))
        and not np.any((categories < 0) | (categories >= _MAX_CATEGORY))
    )
    if not sound:
        raise UbjError("a tree in it lists its categories wrongly")


def numbers(data: Bytes, array: object) -> npt.NDArray[np.int64]:
    """Whole numbers of an array of either form."""
    if isinstance(array, TypedArray):
        values = array.read(data)
    elif isinstance(array, list) and all(isinstance(item, int) for item in array):
        values = np.array(array, np.int64)
    else:
        raise UbjError(f"{shown(array)} in it should be an array of whole numbers")
    if values.size and values.dtype.kind not in "iu":
        raise UbjError("an array of whole numbers in it holds something else")
    return values.astype(np.int64)

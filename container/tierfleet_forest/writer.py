"""Writes a TreeModel as the bytes of a flat forest (docs/flat-forest.md)."""

import json

import numpy as np

from . import layout
from .comparisons import Comparisons, NoRoomError, comparisons_of, is_numeric
from .layout import FORM_A, FORM_B, Parts
from .node_order import order_of_pairs
from .tree_model import NUMERIC, ConvertError, Numbers, TreeModel, Walk, walk
from .tree_walk import margins, probe_rows, scores

# Form A needs one binary search per column and row. In a smaller file that costs more than form A saves.
_SMALL_BYTES = 48 << 10
_ALIGNED_WORDS = 24  # a longer tree begins on a cache line
_MAX_PROBE_BYTES = 1 << 16


def write_forest(
    model: TreeModel, *, node_bytes: int | None = None, probes: int = 2, contributions: bool = False
) -> bytes:
    """The file's bytes. Raises ConvertError for a model that fits in neither form.

    node_bytes: layout.FORM_A or FORM_B. None takes A if the model fits in it and the file is not small.
    probes: the number of rows stored with their margins and scores, which the reader checks. There are none if a row is
    longer than 64 KiB.
    contributions: also store the covers that `Forest.contributions` needs, four bytes per node. Raises ConvertError if
    the model has none.
    """
    nodes = walk(model)
    trees, features, outputs = len(model.roots), model.features, model.outputs
    if trees > layout.MAX_TREES or not 1 <= features <= layout.MAX_FEATURES or outputs > layout.MAX_OUTPUTS:
        raise ConvertError(f"{trees} trees, {features} features and {outputs} outputs are beyond the format's limits")
    if np.isnan(model.threshold[nodes.inner[is_numeric(model, nodes.inner)]]).any():
        raise ConvertError("a tree compares with NaN; save the model again")
    covers = _checked_covers(model, nodes) if contributions else None
    if node_bytes is not None:
        return _written(model, nodes, node_bytes, probes, covers)
    try:
        data = _written(model, nodes, FORM_A, probes, covers)
    except NoRoomError:
        return _written(model, nodes, FORM_B, probes, covers)
    if len(data) >= _SMALL_BYTES:
        return data
    try:
        return _written(model, nodes, FORM_B, probes, covers)
    except NoRoomError:
        return data


def _checked_covers(model: TreeModel, nodes: Walk) -> Numbers:
    """The covers of all places, float32. Raises ConvertError if contributions cannot be computed from them."""
    if model.base.dtype.itemsize != layout.FLOAT32 or model.vector_leaves:
        raise ConvertError(
            "contributions are covered for XGBoost's models with one value in a leaf; convert this one without them"
        )
    cover = model.cover.astype(np.float32)
    reached = np.flatnonzero(nodes.tree >= 0)
    if not np.isfinite(cover[reached]).all() or (cover[reached] < 0).any() or not (cover[nodes.inner] > 0).all():
        raise ConvertError(
            "the trees lack the sums of Hessians (sum_hessian) that contributions need; convert the model without them"
        )
    return cover


def _tree_means(model: TreeModel, cover: Numbers) -> Numbers:
    """By tree: the mean of its leaves weighted by cover, as XGBoost adds it to the bias, each step in float32."""
    levels, at = [], model.roots
    while len(at):
        inner = at[model.left[at] >= 0]
        levels.append(inner)
        at = np.concatenate([model.left[inner], model.right[inner]])
    mean = model.threshold.astype(np.float32)
    for places in reversed(levels):
        left, right = model.left[places], model.right[places]
        mean[places] = (mean[left] * cover[left] + mean[right] * cover[right]) / cover[places]
    means: Numbers = mean[model.roots]
    return means


def _written(model: TreeModel, nodes: Walk, form: int, probes: int, covers: Numbers | None) -> bytes:
    comparisons = comparisons_of(model, nodes, form)
    roots, first, words, word = _words(model, nodes, comparisons, form)
    root_covers = tree_means = word_covers = np.zeros(0, np.float32)
    if covers is not None:
        splits = model.left[model.roots] >= 0
        root_covers, tree_means = np.where(splits, covers[model.roots], 0), _tree_means(model, covers)
        word_covers = np.zeros(len(words), np.float32)
        below = (nodes.tree >= 0) & ~_is_root(model)
        word_covers[word[below]] = covers[below]
    metadata = _metadata(model)
    sums = model.base.dtype.newbyteorder("<")
    rows = probe_rows(model, nodes, probes if 4 * model.features <= _MAX_PROBE_BYTES else 0)
    expected = margins(model, rows)
    leaf_table = b"" if model.leaf_values is None else model.leaf_values.astype(sums).tobytes()
    return layout.assemble(
        Parts(
            node_bytes=form,
            features=model.features,
            outputs=model.outputs,
            base=model.base.astype(sums).tobytes(),
            columns=comparisons.columns.tobytes(),
            thresholds=comparisons.thresholds.astype("<f4").tobytes(),
            category_splits=comparisons.category_splits.tobytes(),
            category_bits=comparisons.category_bits.astype("<u4").tobytes(),
            roots=roots.tobytes(),
            first=first.astype("<u4").tobytes(),
            tree_outputs=b"" if model.outputs == 1 or model.vector_leaves else model.output.astype("<u2").tobytes(),
            weights=b"" if model.weights is None else model.weights.astype("<f4").tobytes(),
            leaf_table=leaf_table,
            words=words.tobytes(),
            probe_rows=rows.astype("<f4").tobytes(),
            probe_margins=expected.astype(sums).tobytes(),
            probe_scores=scores(model, expected).astype(sums).tobytes(),
            metadata=metadata,
            root_covers=root_covers.astype("<f4").tobytes(),
            tree_means=tree_means.astype("<f4").tobytes(),
            covers=word_covers.astype("<f4").tobytes(),
            with_covers=covers is not None,
            sum_bytes=model.base.dtype.itemsize,
            vector_leaves=model.vector_leaves,
            divisor=model.divisor,
            transform=model.transform,
            transform_parameter=model.transform_parameter,
        )
    )


def _is_root(model: TreeModel) -> Numbers:
    is_root = np.zeros(len(model.left), np.bool_)
    is_root[model.roots] = True
    return is_root


def _words(
    model: TreeModel, nodes: Walk, comparisons: Comparisons, form: int
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """The root words, the index of each tree's first word, the words, and by place the index of its word."""
    dtype = np.dtype("<u4" if form == FORM_A else "<u8")
    trees, splits = len(model.roots), model.left >= 0
    line_words = layout.ALIGNMENT // form
    order = order_of_pairs(model, nodes, line_words // 2)
    tree = nodes.tree[order]
    pairs = np.bincount(tree, minlength=trees)
    first = _firsts(np.maximum(2 * pairs, 2), line_words)
    total = int(first[-1] + max(2, 2 * pairs[-1])) if trees else 0
    if total > layout.MAX_WORDS:
        raise ConvertError(f"the forest has {total} words; the format allows {layout.MAX_WORDS}")
    # By place: the index of the node's word, and of the word of its left child.
    pair = np.zeros(len(model.left), np.int64)
    pair[order] = first[tree] + 2 * (np.arange(len(order)) - (np.cumsum(pairs) - pairs)[tree])
    word = pair.copy()
    word[model.left[order]], word[model.right[order]] = pair[order], pair[order] + 1
    is_root = _is_root(model)
    distance = np.where(splits & ~is_root, pair - word, 0)
    if distance.max(initial=0) >= layout.DISTANCES[form]:
        raise NoRoomError(
            f"a tree has {int(2 * pairs.max())} nodes, more than the format has room for; train smaller trees"
        )
    children = splits[model.left] | splits[model.right].astype(np.int64) << 1
    values = _values(model, comparisons, form, splits, children, distance)
    words = np.zeros(total, dtype)
    reached = np.flatnonzero((nodes.tree >= 0) & ~is_root)
    words[word[reached]] = values[reached]
    leaf = np.flatnonzero(~splits[model.roots])
    words[first[leaf]] = words[first[leaf] + 1] = values[model.roots[leaf]]
    roots = values[model.roots]
    roots[leaf] = 0 if form == FORM_A else int(np.float32(0.5).view(np.uint32)) << 32
    return roots.astype(dtype), first, words, word


def _values(
    model: TreeModel, comparisons: Comparisons, form: int, splits: Numbers, children: Numbers, distance: Numbers
) -> Numbers:
    """By place: the node's word."""
    own = model.threshold.view(np.uint32) if model.leaf_row is None else model.leaf_row
    if form == FORM_A:
        node = comparisons.slot | comparisons.threshold_index << 8 | children << 16 | distance << 18
        return np.where(splits, node, own).astype(np.uint64)
    asked = (model.threshold + np.float32(0)).view(np.uint32).astype(np.uint64)
    if model.category_set is not None:
        asked[model.category_set != NUMERIC] = np.float32(0.5).view(np.uint32)
    low = np.where(splits, comparisons.slot | children << 12 | distance << 14, 0).astype(np.uint64)
    return low | np.where(splits, asked, own.astype(np.uint64)) << np.uint64(32)


def _firsts(sizes: Numbers, line_words: int) -> Numbers:
    """The index of the first word of each tree. A long tree begins on a cache line."""
    first = np.zeros(len(sizes), np.int64)
    at = 0
    for number, size in enumerate(sizes.tolist()):
        if size > _ALIGNED_WORDS:
            at = -(-at // line_words) * line_words
        first[number] = at
        at += size
    return first


def _metadata(model: TreeModel) -> bytes:
    """The metadata as JSON in UTF-8, in ASCII where a name has half of a surrogate pair, which UTF-8 cannot hold."""
    fields = dict(model.metadata)
    try:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(fields, separators=(",", ":")).encode()

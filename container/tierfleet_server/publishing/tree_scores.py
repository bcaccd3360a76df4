"""The scores of a model document before the objective's transform, added up in float32 in the order XGBoost adds them.

It is a second implementation for comparison: packaging compares what is served with what this computes from the
original file, so the installed XGBoost does not decide what the file means. tests/xgboost_versions compares it with
XGBoost 1.0.2 to 3.4.1.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tierfleet_forest.libm import log_float32

from ..model.refusal import BadModel
from .document import Document
from .versions import Version

Floats = npt.NDArray[np.float32]
_CELLS = 1 << 16  # rows x trees that are walked at once, so that their nodes stay in the cache
_MAX_CATEGORY = 2**24
_LOGIT = ("reg:logistic", "binary:logistic")
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
# `binary:logitraw` took base_score as a probability until 1.2; since 1.3 it is added as it is.
_FIRST_PLAIN_LOGITRAW = (1, 3, 0)


@dataclass(frozen=True)
class Forest:
    """Every tree's nodes one after the other, and what each tree adds to: `first` is the place of its root."""

    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    split: npt.NDArray[np.int32]
    condition: Floats
    default_left: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]
    groups: list[int]
    weights: list[np.float32] | None
    categories: dict[int, npt.NDArray[np.int64]]


def learner_of(document: Document) -> dict[str, Any]:
    """The part of a document that describes the model."""
    return document["learner"]  # type: ignore[no-any-return]


def outputs_of(document: Document) -> int:
    """Values per row before the objective's transform."""
    parameters = learner_of(document)["learner_model_param"]
    return max(1, int(parameters["num_class"])) * max(1, int(parameters.get("num_target", "1")))


def booster_of(document: Document) -> tuple[str, dict[str, Any], list[Any] | None]:
    """The booster's kind (gbtree, dart, gblinear), its model, and the weights of DART's trees.

    DART's weights are in three places: until 3.2 around a gbtree, in 3.3 next to the model, from 3.4 inside it.
    """
    booster = learner_of(document)["gradient_booster"]
    inner = booster.get("gbtree", booster)
    model = inner["model"]
    weights = booster.get("weight_drop", model.get("weight_drop"))
    if booster["name"] == "gblinear":
        return "gblinear", model, None
    return ("gbtree" if weights is None else "dart"), model, weights


def base_scores(document: Document) -> Floats:
    """`base_score` as in the file, one per output; raises BadModel if it is not numbers."""
    text = str(learner_of(document)["learner_model_param"]["base_score"]).strip()
    parts = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    outputs = outputs_of(document)
    try:
        values = np.array([np.float32(part) for part in parts], np.float32)
    except ValueError:
        raise BadModel(f"base_score is {text[:60]!r}, which is no number; save it again with save_model") from None
    if len(values) not in (1, outputs):
        raise BadModel(f"base_score has {len(values)} values for {outputs} outputs; save it again with save_model")
    return np.resize(values, outputs)


def base_margins(document: Document, version: Version) -> Floats:
    """What every row starts from, by output, as XGBoost `version` reads it."""
    objective = str(learner_of(document)["objective"]["name"])
    scores = base_scores(document)
    with np.errstate(all="ignore"):
        if objective in _LOGIT or (objective == "binary:logitraw" and version < _FIRST_PLAIN_LOGITRAW):
            return np.array([-log_float32(np.float32(1) / score - np.float32(1)) for score in scores], np.float32)
        if objective in _LOG:
            return np.array([log_float32(score) for score in scores], np.float32)
    return scores


def adds_base_last(kind: str, version: Version) -> bool:
    """Whether a row's leaves are added up first and to its base afterwards: until 1.2, and DART's until 1.3."""
    return version < ((1, 4, 0) if kind == "dart" else (1, 3, 0))


def sorts_quantiles(document: Document, version: Version) -> bool:
    """Whether the several quantiles of a row are put in order after they were added up: from 3.4 on."""
    several = outputs_of(document) > 1
    return learner_of(document)["objective"]["name"] == "reg:quantileerror" and several and version >= (3, 4, 0)


def margins(document: Document, rows: Floats, version: Version, trees: int | None = None) -> Floats:
    """Scores before the transform, (rows, outputs), as XGBoost `version` adds them up; NaN is a missing value.

    `trees`: only the first so many.
    """
    kind, model, _ = booster_of(document)
    base = base_margins(document, version)
    if kind == "gblinear":
        # From 3.1 on gblinear starts every class from the first one's base.
        return _linear(model["weights"], rows, np.repeat(base[:1], len(base)) if version >= (3, 1, 0) else base)
    forest = forest_of(document)
    if trees is not None:
        forest = replace(forest, first=forest.first[:trees])
    sums = np.tile(base, (len(rows), 1))
    base_last = adds_base_last(kind, version)
    if base_last:
        sums = np.zeros_like(sums)
    for number, leaves in _leaves(forest, rows):
        group = forest.groups[number]
        values = leaves if forest.weights is None else leaves * forest.weights[number]
        sums[:, group] += values
    return sums + base if base_last else sums


def forest_of(document: Document) -> Forest:
    """The trees as arrays; raises BadModel for vector leaves, which no rule here covers."""
    _, model, drops = booster_of(document)
    trees = model["trees"]
    sizes = np.array([len(tree["left_children"]) for tree in trees], np.int64)
    first = np.cumsum(sizes) - sizes
    categories: dict[int, npt.NDArray[np.int64]] = {}
    for start, tree in zip(first.tolist(), trees, strict=True):
        if len(tree.get("base_weights", ())) > len(tree["left_children"]):
            raise BadModel("its leaves hold vectors (multi_strategy = multi_output_tree), which are not served")
        for node, begin, count in zip(
            tree.get("categories_nodes", ()),
            tree.get("categories_segments", ()),
            tree.get("categories_sizes", ()),
            strict=True,
        ):
            categories[start + int(node)] = np.asarray(tree["categories"][int(begin) : int(begin) + int(count)])

    def joined(name: str, dtype: Any) -> Any:
        return np.concatenate([np.asarray(tree[name], dtype) for tree in trees]) if len(trees) else np.zeros(0, dtype)

    return Forest(
        left=joined("left_children", np.int32),
        right=joined("right_children", np.int32),
        split=joined("split_indices", np.int32),
        condition=joined("split_conditions", np.float32),
        default_left=joined("default_left", np.bool_),
        first=first,
        groups=[int(group) for group in model["tree_info"]],
        weights=None if drops is None else [np.float32(drop) for drop in drops],
        categories=categories,
    )


def _leaves(forest: Forest, rows: Floats) -> Any:
    """The number of each tree and the leaf value of every row in it."""
    step = max(1, _CELLS // max(1, len(rows)))
    number = np.arange(len(rows))
    right_minus_left = forest.right - forest.left
    for start in range(0, len(forest.first), step):
        roots = forest.first[start : start + step]
        offset = np.repeat(roots, len(rows))
        row = np.tile(number, len(roots))
        at = offset.copy()
        walking = np.flatnonzero(forest.left[at] != -1)
        while len(walking):
            node = at[walking]
            value = rows[row[walking], forest.split[node]]
            go_left = value < forest.condition[node]
            if forest.categories:
                _follow_categories(forest, node, value, go_left)
            go_left = np.where(np.isnan(value), forest.default_left[node], go_left)
            at[walking] = offset[walking] + forest.left[node] + np.where(go_left, 0, right_minus_left[node])
            walking = walking[forest.left[at[walking]] != -1]
        leaves = forest.condition[at].reshape(len(roots), len(rows))
        for place in range(len(roots)):
            yield start + place, leaves[place]


def _follow_categories(forest: Forest, node: Any, value: Any, go_left: Any) -> None:
    for which in np.unique(node):
        categories = forest.categories.get(int(which))
        if categories is None:
            continue
        here = np.flatnonzero(node == which)
        codes = np.where(value[here] >= 0, np.minimum(value[here], _MAX_CATEGORY), -1)
        # A category beyond those of training, or below 0, goes left like one that is not listed.
        go_left[here] = ~np.isin(codes.astype(np.int64), categories)


def _linear(weights: Any, rows: Floats, base: Floats) -> Floats:
    table = np.asarray(weights, np.float32).reshape(rows.shape[1] + 1, len(base))
    sums = np.tile(table[-1] + base, (len(rows), 1))
    for column in range(rows.shape[1]):
        value = rows[:, column, None]
        sums = np.where(np.isnan(value), sums, sums + value * table[column])
    return sums

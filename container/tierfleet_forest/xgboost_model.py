"""Reads an XGBoost model document of any version from 1.0 to 3.4: the trees, the base of each output, the transform.

The version in the file decides how it is read, not the installed version. 3.1 and newer write one base_score per
output. Until 1.2, and until 1.3 with DART, XGBoost added the base after the trees.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .layout import ARGMAX, EXP, EXP_F64, IDENTITY, MAX_OUTPUTS, SET_LEFT, SIGMOID, SOFTMAX, STEP, TRUNCATE_FIRST
from .libm import log_float32
from .model_document import Document, count, flags, floats, integers
from .tree_model import NUMERIC, CategorySet, ConvertError, Numbers, TreeModel

Version = tuple[int, int, int]
NEWEST: Version = (3, 4, 99)
# The transform from margins to scores, by objective.
TRANSFORMS = {
    **dict.fromkeys(("binary:logistic", "reg:logistic"), SIGMOID),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"), EXP),
    "survival:aft": EXP_F64,
    **dict.fromkeys((
        "binary:logitraw", "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror",
        "reg:absoluteerror", "reg:quantileerror", "reg:expectileerror", "rank:pairwise", "rank:ndcg", "rank:map",
    ), IDENTITY),
    "binary:hinge": STEP,
    "multi:softprob": SOFTMAX,
    "multi:softmax": ARGMAX,
}  # fmt: skip
_MAX_CATEGORY = 2**24
_DECIMAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf)", re.IGNORECASE)


def tree_model(document: Document, reader: Version | None = None) -> TreeModel:
    """The trees of a model document. Raises ConvertError if it is not a model, or is not supported.

    All rounds are kept, because `Booster.predict` scores them all, even if the document has a `best_iteration`.
    reader: the version of XGBoost whose reading of the document counts, by default the one that saved it.
    """
    try:
        return _tree_model(document, reader or _version(document))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, ConvertError):
            raise
        why = f"{type(error).__name__}: {str(error)[:80]}"
        raise ConvertError(f"the document is not a model that XGBoost saved ({why}); save it again") from None


def _tree_model(document: Document, version: Version) -> TreeModel:
    learner = document["learner"]
    booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
    if booster["name"] not in ("gbtree", "dart"):
        raise ConvertError(f"the booster is {booster['name']!r}; only gbtree and dart hold trees")
    model = booster.get("gbtree", booster)["model"]
    # DART's weights are outside the gbtree until 3.2, next to the model in 3.3, and inside it from 3.4.
    weights = booster.get("weight_drop", model.get("weight_drop"))
    outputs = max(1, count(parameters["num_class"])) * max(1, count(parameters.get("num_target", "1")))
    if outputs > MAX_OUTPUTS:
        raise ConvertError(f"the model makes {outputs} scores a row; at most {MAX_OUTPUTS} are covered")
    objective = str(learner["objective"]["name"])
    _refuse_objective(objective, outputs, version)
    trees, output = list(model["trees"]), integers(model["tree_info"])
    if not trees:
        raise ConvertError("the model has no trees, so every row would get the same score; train at least one round")
    vectors: dict[str, Any] = {}
    if any(count(tree["tree_param"].get("size_leaf_vector", "1")) > 1 for tree in trees):
        if weights is not None:
            raise ConvertError("the leaves of a DART model hold vectors, which is not covered")
        vectors = _leaf_vectors(trees, outputs)
    drops = None if weights is None else floats(weights)
    if len(output) != len(trees) or (drops is not None and len(drops) != len(trees)):
        raise ConvertError("the counts of trees in the model differ; save it again")
    rounds = integers(model.get("iteration_indptr", [0, len(trees)]))
    if rounds[0] != 0 or rounds[-1] != len(trees) or (np.diff(rounds) < 0).any():
        raise ConvertError("the rounds of the model do not have all its trees in order; save it again")
    if not (output.min() >= 0 and output.max() < outputs):
        raise ConvertError(f"the trees do not make {outputs} outputs; save the model again")
    result = TreeModel(
        features=count(parameters["num_feature"]),
        base=_base_margins(parameters["base_score"], objective, outputs, version),
        transform=TRANSFORMS[objective],
        output=output.astype(np.uint16),
        weights=drops,
        metadata={
            "objective": objective,
            "feature_names": [str(name) for name in learner.get("feature_names", [])],
        },
        **vectors,
        **_nodes(trees, version),
    )
    base_last = version < ((1, 4, 0) if weights is not None else (1, 3, 0))
    return _with_base_last(result) if base_last and result.base.any() else result


def _version(document: Document) -> Version:
    parts = [int(part) for part in document["version"]]
    if len(parts) != 3:
        raise ConvertError(f"the model's version is {parts}, not three numbers; save it with Booster.save_model")
    version = (parts[0], parts[1], parts[2])
    if not (1, 0, 0) <= version <= NEWEST:
        dotted = ".".join(map(str, version))
        raise ConvertError(f"the model was saved by XGBoost {dotted}; versions 1.0 to 3.4 were compared")
    return version


def _refuse_objective(objective: str, outputs: int, version: Version) -> None:
    if objective not in TRANSFORMS:
        raise ConvertError(f"the objective {objective!r} is not covered; covered are {', '.join(sorted(TRANSFORMS))}")
    if objective == "reg:quantileerror" and outputs > 1 and version >= (3, 4, 0):
        raise ConvertError(
            "XGBoost 3.4 and newer sort several quantiles in each row, which is not covered; train one model per "
            "quantile"
        )


def _base_margins(text: object, objective: str, outputs: int, version: Version) -> Numbers:
    """The margin that every row starts from, by output: `base_score` before the objective's transform."""
    items = str(text).strip().removeprefix("[").removesuffix("]").split(",")
    if not all(_DECIMAL.fullmatch(item.strip()) for item in items):
        raise ConvertError(f"base_score is {str(text)[:60]!r}, which is no number; save the model again")
    scores = np.array([np.float32(item) for item in items], np.float32)
    if len(scores) not in (1, outputs):
        raise ConvertError(f"base_score has {len(scores)} values for {outputs} outputs; save the model again")
    # 1.3 changed what base_score means for binary:logitraw.
    logit = TRANSFORMS[objective] == SIGMOID or (objective == "binary:logitraw" and version < (1, 3, 0))
    with np.errstate(all="ignore"):
        if logit:
            scores = np.array([-log_float32(np.float32(1) / score - np.float32(1)) for score in scores], np.float32)
        elif TRANSFORMS[objective] in (EXP, EXP_F64):
            scores = np.array([log_float32(score) for score in scores], np.float32)
    if not np.isfinite(scores).all():
        raise ConvertError(f"base_score is {str(text)[:60]!r}, which gives no finite margin")
    return np.resize(scores, outputs)


def _leaf_vectors(trees: list[Any], outputs: int) -> dict[str, Any]:
    """A table of the leaves, for trees whose leaves hold one value per output."""
    leaves, values = [], []
    for tree in trees:
        if count(tree["tree_param"]["size_leaf_vector"]) != outputs:
            raise ConvertError(f"the leaves of a tree do not hold {outputs} values; save the model again")
        leaf = np.asarray(tree["left_children"]) == -1
        if "leaf_weights" in tree:  # from 3.2 on; then a leaf's right child is its row in this table
            vectors = floats(tree["leaf_weights"]).reshape(-1, outputs)
            place = integers(tree["right_children"])[leaf]
            if place.min() < 0:
                raise ConvertError("a leaf has no values; save the model again")
            values.append(vectors[place])
        else:
            values.append(floats(tree["base_weights"]).reshape(len(leaf), outputs)[leaf])
        leaves.append(leaf)
    return {"leaf_values": np.concatenate(values), "leaf_row": np.maximum(np.cumsum(np.concatenate(leaves)) - 1, 0)}


def _nodes(trees: list[Any], version: Version) -> dict[str, Any]:
    """The arrays of a TreeModel over all nodes."""
    sizes = [len(tree["left_children"]) for tree in trees]
    if min(sizes) < 1:
        raise ConvertError("a tree has no nodes; save the model again")

    def joined(name: str, read: Callable[[Any], Numbers]) -> Any:
        parts = [read(tree[name]) for tree in trees]
        if [len(part) for part in parts] != sizes:
            raise ConvertError(f"the number of {name} in a tree differs from its number of nodes; save the model again")
        return np.concatenate(parts)

    first = np.cumsum(sizes) - sizes
    start = np.repeat(first, sizes)
    left, right = joined("left_children", integers), joined("right_children", integers)
    if min(left.min(), right.min()) < -1 or (np.maximum(left, right) >= np.repeat(sizes, sizes)).any():
        raise ConvertError("a tree has a branch that leads out of it; save the model again")
    if version >= (1, 5, 0) and (right != left + 1)[left >= 0].any():  # where newer versions go, whatever the file says
        raise ConvertError("a tree's two children of a node are not next to each other; save the model again")
    category_set, sets = _categories(trees, first.tolist(), len(start), version)
    return {
        "roots": first,
        "left": np.where(left == -1, -1, left + start),
        "right": np.where(left == -1, -1, right + start),
        "feature": joined("split_indices", integers),
        "threshold": joined("split_conditions", floats),
        "missing_left": joined("default_left", flags),
        # Trees with vector leaves have no sum_hessian. The writer then counts leaves instead.
        "cover": joined("sum_hessian", floats) if "sum_hessian" in trees[0] else np.zeros(len(start), np.float32),
        "category_set": category_set,
        "sets": sets,
    }


def _categories(
    trees: list[Any], first: list[int], nodes: int, version: Version
) -> tuple[Numbers | None, list[CategorySet]]:
    numbers: dict[CategorySet, int] = {}
    category_set: Numbers | None = None
    for start, tree in zip(first, trees, strict=True):
        where, begins = integers(tree.get("categories_nodes", [])), integers(tree.get("categories_segments", []))
        counts, categories = integers(tree.get("categories_sizes", [])), integers(tree.get("categories", []))
        kinds = flags(tree.get("split_type", []))
        if len(kinds) and not np.array_equal(np.flatnonzero(kinds), where):
            raise ConvertError("a tree lists its categories wrongly; save the model again")
        for node, begin, size in zip(where.tolist(), begins.tolist(), counts.tolist(), strict=True):
            chosen = categories[begin : begin + size]
            if begin < 0 or len(chosen) != size or size < 1 or chosen.min() < 0 or chosen.max() >= _MAX_CATEGORY:
                raise ConvertError("a tree lists its categories wrongly; save the model again")
            if category_set is None:
                category_set = np.full(nodes, NUMERIC, np.int64)
            key = _category_set(chosen, bool(tree["default_left"][node]), version)
            category_set[start + node] = numbers.setdefault(key, len(numbers))
    return category_set, list(numbers)


def _category_set(chosen: Numbers, default_left: bool, version: Version) -> CategorySet:
    """The categories of a node as XGBoost `version` reads them. Any other value goes left, except in 1.6."""
    categories = np.unique(chosen)
    if version < (1, 6, 0):  # until then -0.5 was category 0
        return CategorySet(tuple(categories.tolist()), TRUNCATE_FIRST)
    if version < (1, 7, 0) and not default_left:
        # 1.6 sent a value that is beyond the set's bits, or no category, where it sent a missing value: here to the
        # right. So the set holds the categories that go left, and every other value goes right.
        known = np.arange(32 * (int(categories[-1]) // 32 + 1))
        return CategorySet(tuple(np.setdiff1d(known, categories).tolist()), SET_LEFT)
    return CategorySet(tuple(categories.tolist()))


def _with_base_last(model: TreeModel) -> TreeModel:
    """The same model whose base is added by trees of one leaf each, at the end."""
    outputs, nodes = model.outputs, len(model.left)
    last = np.arange(nodes, nodes + outputs)

    def longer(values: Any, more: Any) -> Any:
        return np.concatenate([values, np.broadcast_to(more, outputs).astype(values.dtype)])

    return replace(
        model,
        base=np.zeros(outputs, np.float32),
        roots=longer(model.roots, last),
        left=longer(model.left, -1),
        right=longer(model.right, -1),
        feature=longer(model.feature, 0),
        threshold=longer(model.threshold, model.base),
        missing_left=longer(model.missing_left, False),
        cover=longer(model.cover, 0),
        output=longer(model.output, np.arange(outputs)),
        weights=None if model.weights is None else longer(model.weights, 1),
        category_set=None if model.category_set is None else longer(model.category_set, NUMERIC),
    )

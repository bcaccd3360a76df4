"""A model document as another version of XGBoost writes it, with the scores that it had."""

from copy import deepcopy
from typing import Any

import numpy as np

from .document import Document
from .reading_rules import FIRST_WITH_UBJ, PARAMETERS, RANKING, order_matters, same_bits
from .tree_scores import adds_base_last, base_margins, booster_of, learner_of, outputs_of
from .versions import Version

_RANK_1 = {"lambda_rank_param": {"fix_list_weight": "0", "num_pairsample": "1"}}
_RANK_2: dict[str, dict[str, str]] = {"lambdarank_param": {}}
_NEUTRAL = {"reg:logistic": "5E-1", "binary:logistic": "5E-1"}
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_FILLED = (
    ("categories", ">i4"), ("categories_nodes", ">i4"), ("categories_segments", ">i8"), ("categories_sizes", ">i8"),
)  # fmt: skip


def converted(document: Document, source: Version, reader: Version) -> Document:
    """The model as XGBoost `reader` writes it, with the scores it has in `source` before the objective's transform.

    Call `refuse_unreadable` first: it says whether the scores after the transform are the same too.
    """
    outputs = outputs_of(document)
    base = base_margins(document, source)
    kind, _, _ = booster_of(document)
    if kind == "gblinear" and source >= (3, 1, 0):
        base = np.repeat(base[:1], outputs)
    converted = deepcopy(document)
    learner, parameters = learner_of(converted), learner_of(converted)["learner_model_param"]
    order = kind != "gblinear" and order_matters(document, kind, source, reader)
    parameters.setdefault("num_target", "1")
    parameters.setdefault("boost_from_average", "1")
    objective = learner["objective"]
    parameters["base_score"] = scientific(_first_base(document))
    if order or not same_bits(base_margins(converted, reader), base):
        name = str(objective["name"])
        plain_logitraw = name == "binary:logitraw" and reader < (1, 3, 0)
        parameters["base_score"] = "1E0" if name in _LOG else "5E-1" if name in _NEUTRAL or plain_logitraw else "0E0"
        _fold_in(converted, kind, base, last=order and adds_base_last(kind, source))
    _write_objective(objective, reader, outputs)
    _write_booster(converted, reader)
    learner.setdefault("attributes", {})
    learner.setdefault("feature_names", [])
    learner.setdefault("feature_types", [])
    converted["version"] = list(reader)
    return converted


def scientific(value: np.float32) -> str:
    """A float32 as XGBoost writes it: every version from 1.3 on reads it back exactly."""
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    return f"{mantissa}E{int(exponent)}"


def _first_base(document: Document) -> np.float32:
    text = str(learner_of(document)["learner_model_param"]["base_score"]).strip("[] ")
    return np.float32(text.split(",")[0])


def _fold_in(document: Document, kind: str, base: Any, *, last: bool) -> None:
    """Put each output's base into the model: into gblinear's bias, or into a round of trees of one leaf each.

    Float32 sums then run over the same numbers in the same order as before.
    """
    _, model, weights = booster_of(document)
    outputs = len(base)
    if kind == "gblinear":
        table = np.array(model["weights"], np.float32)
        table[-outputs:] += base
        model["weights"] = table.astype(">f4")
        return
    parallel = max(1, int(model["gbtree_model_param"].get("num_parallel_tree", "1")))
    features = learner_of(document)["learner_model_param"]["num_feature"]
    leaves = [
        _leaf(base[group] if place == 0 else np.float32(0), features)
        for group in range(outputs)
        for place in range(parallel)
    ]
    groups = [group for group in range(outputs) for _ in range(parallel)]
    before = len(model["trees"])
    known = [int(group) for group in model["tree_info"]]
    model["trees"] = [*model["trees"], *leaves] if last else [*leaves, *model["trees"]]
    model["tree_info"] = known + groups if last else groups + known
    for number, tree in enumerate(model["trees"]):
        tree["id"] = number
    model["gbtree_model_param"]["num_trees"] = str(before + len(leaves))
    if "iteration_indptr" in model:
        starts = [int(start) for start in model["iteration_indptr"]]
        more = len(leaves)
        model["iteration_indptr"] = [*starts, starts[-1] + more] if last else [0, *(start + more for start in starts)]
    if weights is not None:
        ones = [1.0] * len(leaves)
        weights[:] = [*weights, *ones] if last else [*ones, *weights]
    attributes = learner_of(document).get("attributes", {})
    if str(attributes.get("best_iteration", "")).isdigit():
        attributes["best_iteration"] = str(int(attributes["best_iteration"]) + 1)
    if str(attributes.get("best_ntree_limit", "")).isdigit():
        attributes["best_ntree_limit"] = str(int(attributes["best_ntree_limit"]) + parallel)


def _leaf(value: np.float32, features: str) -> dict[str, Any]:
    one = np.array([value], ">f4")
    return {
        "base_weights": one, **{name: np.zeros(0, dtype) for name, dtype in _FILLED},
        "default_left": np.zeros(1, "u1"), "id": 0, "left_children": np.array([-1], ">i4"),
        "loss_changes": np.zeros(1, ">f4"), "parents": np.array([2**31 - 1], ">i4"),
        "right_children": np.array([-1], ">i4"), "split_conditions": one, "split_indices": np.zeros(1, ">i4"),
        "split_type": np.zeros(1, "u1"), "sum_hessian": np.zeros(1, ">f4"),
        "tree_param": {"num_deleted": "0", "num_feature": features, "num_nodes": "1", "size_leaf_vector": "1"},
    }  # fmt: skip


def _write_objective(objective: dict[str, Any], reader: Version, outputs: int) -> None:
    name = str(objective["name"])
    if name in RANKING:
        wanted: dict[str, dict[str, str]] = _RANK_1 if reader < (2, 0, 0) else _RANK_2
    else:
        wanted = PARAMETERS[name]
    for parameter, values in wanted.items():
        objective[parameter] = {**values, **objective.get(parameter, {})}
    if name.startswith("multi:"):
        objective["softmax_multiclass_param"].setdefault("num_class", str(outputs))


def _write_booster(document: Document, reader: Version) -> None:
    learner = learner_of(document)
    kind, model, weights = booster_of(document)
    model.pop("cats", None)
    if kind == "gblinear":
        # Always one round: 3.1 and later treat a booster without rounds as untrained.
        model["boosted_rounds"] = max(1, int(model.get("boosted_rounds", 0)))
        learner["gradient_booster"] = {"model": model, "name": "gblinear"}
        return
    vector = "0" if reader < (2, 0, 0) else "1"
    if reader < (2, 0, 0):
        model["gbtree_model_param"]["size_leaf_vector"] = "0"
        model["gbtree_model_param"].setdefault("num_parallel_tree", "1")
    for number, tree in enumerate(model["trees"]):
        nodes = len(tree["left_children"])
        tree.setdefault("id", number)
        tree["tree_param"]["size_leaf_vector"] = vector
        tree["tree_param"].setdefault("num_deleted", "0")
        for name, dtype in _FILLED:
            tree.setdefault(name, np.zeros(0, dtype))
        tree.setdefault("split_type", np.zeros(nodes, "u1"))
        tree.pop("leaf_child_counts", None)
        if reader < (1, 3, 0):
            tree["leaf_child_counts"] = [0] * nodes
        if reader < FIRST_WITH_UBJ:
            tree["default_left"] = [bool(value) for value in tree["default_left"]]
    model.pop("weight_drop", None)
    if weights is None:
        learner["gradient_booster"] = {"model": model, "name": "gbtree"}
    elif reader < (3, 3, 0):
        inner = {"model": model, "name": "gbtree"}
        learner["gradient_booster"] = {"gbtree": inner, "name": "dart", "weight_drop": list(weights)}
    elif reader < (3, 4, 0):
        learner["gradient_booster"] = {"model": model, "name": "dart", "weight_drop": list(weights)}
    else:
        model["weight_drop"] = list(weights)
        learner["gradient_booster"] = {"model": model, "name": "gbtree"}

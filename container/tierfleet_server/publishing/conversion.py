"""What one version of XGBoost reads of another version's model, and the model as that version writes it.

The rules depend on the version in the file and the version of the reader, never on the installed XGBoost. They come
from loading every kind of model of ten versions in eleven (`make test-xgboost-versions`; docs/models.md has the table).
"""

from copy import deepcopy
from typing import Any

import numpy as np

from ..model.refusal import BadModel
from .document import Document
from .tree_scores import (
    adds_base_last,
    base_margins,
    booster_of,
    learner_of,
    outputs_of,
    sorts_quantiles,
)
from .versions import Version, dotted

FIRST_WITH_UBJ: Version = (1, 6, 0)
LAST_WITH_BINARY: Version = (3, 0, 99)
NEWEST_KNOWN: Version = (3, 4, 99)
_FIRST_WITH_CATEGORIES: Version = (1, 5, 0)
_FIRST_WITH_VECTOR_BASE: Version = (3, 1, 0)
_FIRST_WITH_TARGETS: Version = (1, 6, 0)
_FIRST_WITH_FLOAT_AFT: Version = (2, 1, 0)
# The first version with an objective, for objectives that 1.0 did not have.
_FIRST = {
    "reg:pseudohubererror": (1, 1, 0), "survival:aft": (1, 1, 0), "reg:absoluteerror": (1, 7, 0),
    "reg:quantileerror": (2, 0, 0), "reg:expectileerror": (3, 3, 0),
}  # fmt: skip
_SLOPE, _SCALE = {"huber_slope": "1"}, {"scale_pos_weight": "1"}
_RANK_1 = {"lambda_rank_param": {"fix_list_weight": "0", "num_pairsample": "1"}}
_RANK_2: dict[str, dict[str, str]] = {"lambdarank_param": {}}
# Parameters that a reader requires although scores do not depend on them.
_PARAMETERS: dict[str, dict[str, dict[str, str]]] = {
    **{name: {"reg_loss_param": _SCALE} for name in (
        "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:logistic", "binary:logistic",
        "binary:logitraw", "reg:gamma",
    )},
    "reg:pseudohubererror": {"reg_loss_param": _SCALE, "pseudo_huber_param": _SLOPE},
    "count:poisson": {"poisson_regression_param": {"max_delta_step": "0.7"}},
    "reg:tweedie": {"tweedie_regression_param": {"tweedie_variance_power": "1.5"}},
    "survival:aft": {"aft_loss_param": {"aft_loss_distribution": "normal", "aft_loss_distribution_scale": "1"}},
    "multi:softmax": {"softmax_multiclass_param": {}},
    "multi:softprob": {"softmax_multiclass_param": {}},
    "reg:quantileerror": {"quantile_loss_param": {}},
    "reg:expectileerror": {"expectile_loss_param": {}},
    "survival:cox": {},
    "binary:hinge": {},
    "reg:absoluteerror": {},
}  # fmt: skip
_RANKING = ("rank:pairwise", "rank:ndcg", "rank:map")
# What a reader without its parameters refuses: (objective, first reader, first that does without).
_INSISTS = (
    ("reg:gamma", (2, 0, 0), (3, 1, 0)),
    ("reg:squaredlogerror", (1, 0, 0), (3, 0, 0)),
    ("reg:pseudohubererror", (1, 0, 0), (1, 6, 0)),
)
_NEUTRAL = {"reg:logistic": "5E-1", "binary:logistic": "5E-1"}
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_FILLED = (
    ("categories", ">i4"), ("categories_nodes", ">i4"), ("categories_segments", ">i8"), ("categories_sizes", ">i8"),
)  # fmt: skip


def version_of(document: Document) -> Version:
    """The version of XGBoost that saved it; raises BadModel if the document does not say."""
    version = document.get("version")
    if not isinstance(version, list) or len(version) != 3 or not all(type(part) is int for part in version):
        raise BadModel("the model does not say which XGBoost saved it; save it with Booster.save_model")
    return version[0], version[1], version[2]


def refuse_unreadable(document: Document, source: Version, reader: Version) -> None:
    """Raise BadModel if no file gives XGBoost `reader` the scores that this model has in `source`."""
    learner = learner_of(document)
    objective = str(learner["objective"]["name"])
    if objective not in _PARAMETERS and objective not in _RANKING:
        raise BadModel(f"its objective {objective!r} is not known here; train with one of {', '.join(_PARAMETERS)}")
    first = _FIRST.get(objective, (1, 0, 0))
    if reader < first:
        raise BadModel(
            f"its objective {objective} came with XGBoost {first[0]}.{first[1]} and the image has "
            f"{reader[0]}.{reader[1]}; choose an image with {first[0]}.{first[1]} or later, or another objective"
        )
    if source > NEWEST_KNOWN:
        raise BadModel(
            f"it was saved by XGBoost {dotted(source)}, newer than the newest that was compared here "
            f"({NEWEST_KNOWN[0]}.{NEWEST_KNOWN[1]}); train with {NEWEST_KNOWN[0]}.{NEWEST_KNOWN[1]} or older. Loading "
            "it in an older XGBoost and saving it again does not help: that changes its scores"
        )
    if sorts_quantiles(document, source) != sorts_quantiles(document, reader):
        raise BadModel(
            "it predicts several quantiles, which XGBoost 3.4 and newer sort in each row and older ones do not: it was "
            f"saved by {dotted(source)} and would be scored by {dotted(reader)}; train one model per quantile, or "
            "train with the image's version"
        )
    if objective == "survival:aft" and (source < _FIRST_WITH_FLOAT_AFT) != (reader < _FIRST_WITH_FLOAT_AFT):
        raise BadModel(
            "its objective survival:aft is computed in double precision until XGBoost 2.0 and in single since 2.1, so "
            f"scores differ in their last digit between {dotted(source)}, which saved it, and the image's "
            f"{dotted(reader)}; train with a version on the image's side of 2.1"
        )
    kind, model, _ = booster_of(document)
    if kind != "gblinear" and reader < _FIRST_WITH_CATEGORIES and _has_categories(model):
        raise BadModel(
            f"it splits on categories, which XGBoost {reader[0]}.{reader[1]} does not; choose an image with 1.5 or "
            "later, or encode the categories as numbers before training"
        )
    if kind != "gblinear" and source[:2] == (1, 6) != reader[:2] and _has_categories(model):
        raise BadModel(
            f"it splits on categories and was saved by {dotted(source)}: XGBoost 1.6 sends a category that training "
            f"did not have another way than {dotted(reader)} does, so such rows would be scored otherwise; train it "
            "with 1.7 or newer, or encode the categories as numbers before training"
        )
    if kind != "gblinear" and reader < (1, 1, 0) and _is_pruned(model):
        raise BadModel("its trees were pruned, and XGBoost 1.0 does not load pruned trees; choose a newer image")
    if outputs_of(document) > 1 and _targets(learner) > 1 and reader < _FIRST_WITH_TARGETS:
        raise BadModel(f"it has several targets, which XGBoost {reader[0]}.{reader[1]} does not; choose 1.6 or later")


def differences(document: Document, form: str, source: Version, reader: Version) -> list[str]:
    """Why XGBoost `reader` would not load the file as it is, or score it otherwise; empty if it reads it exactly."""
    objective = learner_of(document)["objective"]
    kind, model, weights = booster_of(document)
    reasons = []
    if form == "ubj" and reader < FIRST_WITH_UBJ:
        reasons.append(f"XGBoost {reader[0]}.{reader[1]} reads no UBJ")
    if form == "binary" and reader > LAST_WITH_BINARY:
        reasons.append(f"XGBoost {reader[0]}.{reader[1]} no longer reads the old binary format")
    if form == "binary" and reader < source and source[:2] != reader[:2]:
        reasons.append(f"the old binary format of {source[0]}.{source[1]} was not written for {reader[0]}.{reader[1]}")
    if form == "json" and reader < FIRST_WITH_UBJ <= source:
        reasons.append("1.6 and newer write default_left as numbers")
    if reader < (1, 3, 0) and reader[:2] != source[:2]:
        reasons.append("1.0 to 1.2 read only their own files")
    if "[" in str(learner_of(document)["learner_model_param"]["base_score"]) and reader < _FIRST_WITH_VECTOR_BASE:
        reasons.append("3.1 and newer write base_score as an array, which older ones read as 0.5")
    if weights is not None and _dart_layout(document) != _dart_layout_of(reader) and reader < (3, 3, 0):
        reasons.append("3.3 and newer keep DART's weights in another place, where older ones do not see them")
    if kind == "gblinear" and reader >= _FIRST_WITH_VECTOR_BASE and not model.get("boosted_rounds"):
        reasons.append("3.1 and newer read base_score otherwise if gblinear does not say its rounds")
    if not any(text.startswith("3.1") for text in reasons) and not _same_bits(
        base_margins(document, source), base_margins(document, reader)
    ):
        reasons.append("1.3 changed what base_score means for binary:logitraw")
    if kind != "gblinear" and _order_matters(document, kind, source, reader):
        reasons.append("XGBoost added base_score after the trees until 1.2 (DART's until 1.3), and before them since")
    name = str(objective["name"])
    if name in _RANKING:
        if reader < (2, 0, 0) and "lambda_rank_param" not in objective:
            reasons.append("2.0 and newer do not write the ranking parameters that older ones ask for")
    else:
        reasons += [
            f"XGBoost {reader[0]}.{reader[1]} asks for parameters of {name} that {source[0]}.{source[1]} does not write"
            for which, first, end in _INSISTS
            if name == which and first <= reader < end and "reg_loss_param" not in objective
        ]
    return reasons


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
    order = kind != "gblinear" and _order_matters(document, kind, source, reader)
    parameters.setdefault("num_target", "1")
    parameters.setdefault("boost_from_average", "1")
    objective = learner["objective"]
    parameters["base_score"] = scientific(_first_base(document))
    if order or not _same_bits(base_margins(converted, reader), base):
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


def _same_bits(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _order_matters(document: Document, kind: str, source: Version, reader: Version) -> bool:
    last = adds_base_last(kind, source), adds_base_last(kind, reader)
    return last[0] != last[1] and bool(np.any(base_margins(document, source) != 0))


def _targets(learner: dict[str, Any]) -> int:
    return int(learner["learner_model_param"].get("num_target", "1"))


def _is_pruned(model: dict[str, Any]) -> bool:
    return any(int(tree["tree_param"].get("num_deleted", 0)) for tree in model["trees"])


def _has_categories(model: dict[str, Any]) -> bool:
    return any(len(tree.get("categories_nodes", ())) for tree in model["trees"])


def _dart_layout(document: Document) -> str:
    booster = learner_of(document)["gradient_booster"]
    return "around" if "gbtree" in booster else "beside" if "weight_drop" in booster else "inside"


def _dart_layout_of(version: Version) -> str:
    return "around" if version < (3, 3, 0) else "beside" if version < (3, 4, 0) else "inside"


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
    if name in _RANKING:
        wanted: dict[str, dict[str, str]] = _RANK_1 if reader < (2, 0, 0) else _RANK_2
    else:
        wanted = _PARAMETERS[name]
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

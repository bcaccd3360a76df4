"""XGBoost's old binary format, which SageMaker's training jobs wrote until 1.7 and XGBoost reads until 3.0.

Source: `LearnerModelParamLegacy`, `GBTreeModelParam`, `RegTree::Node` and `RTreeNodeStat` of XGBoost 1.0 to 1.7,
compared with what 1.0.2, 1.2.1, 1.3.3, 1.5.2, 1.6.2 and 1.7.6 write. Everything is little-endian.
"""

import re
import struct
from typing import Any

import numpy as np

from ..model.refusal import BadModel

_LEARNER = struct.Struct("<fIiiiIIi26i")
_FOREST = struct.Struct("<iiiiqii32i")
_TREE = struct.Struct("<iiiiii31i")
_LINEAR = struct.Struct("<Ii32i")
_NODE = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")])
_STATISTIC = np.dtype([("loss_change", "<f4"), ("sum_hessian", "<f4"), ("weight", "<f4"), ("leaf_children", "<i4")])
_FIRST_WITH_PARALLEL = (1, 6)
_ROOT = 2**31 - 1
_OBJECTIVE = re.compile(rb"[\0-\xff]{4}\0{4}((?:reg|binary|multi|rank|count|survival):[a-z]+|custom)")
_BOOSTERS = ("gbtree", "dart", "gblinear")
# What the objective's own parameters are called in a document; the binary format holds their values nowhere but in
# the attributes (`num_class` apart), so each is at its default, which scores do not depend on.
_PARAMETERS = {
    "multi:": "softmax_multiclass_param", "rank:": "lambda_rank_param", "count:poisson": "poisson_regression_param",
    "reg:tweedie": "tweedie_regression_param", "survival:aft": "aft_loss_param", "survival:cox": "",
    "reg:absoluteerror": "", "reg:gamma": "", "binary:hinge": "",
    "reg:pseudohubererror": "pseudo_huber_param",
}  # fmt: skip


class _Reader:
    """Takes bytes from the front; a length beyond the end is damage."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4 if data[:4] == b"binf" else 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise BadModel("the model in XGBoost's old binary format is damaged: it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def count(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        return self.take(self.count()).decode(errors="replace")

    def array(self, dtype: Any, count: int) -> Any:
        size = np.dtype(dtype).itemsize
        return np.frombuffer(self.take(count * size), dtype, count)


def is_headerless(data: Any) -> bool:
    """Whether it is the old binary format without its mark `binf`, as Booster.save_raw wrote it."""
    return len(data) > 160 and _OBJECTIVE.match(data[_LEARNER.size : _LEARNER.size + 64]) is not None


def read(data: bytes) -> dict[str, Any]:
    """The document that XGBoost's own reader would make of it; raises BadModel if it is damaged."""
    reader = _Reader(data)
    base_score, features, classes, has_attributes, _, major, minor, targets, *_ = reader.unpack(_LEARNER)
    objective, booster = reader.text(), reader.text()
    if booster not in _BOOSTERS:
        raise BadModel(f"the model in XGBoost's old binary format has the booster {booster[:40]!r}; save it again")
    if booster == "gblinear":
        gradient_booster = _linear(reader, features, max(1, classes))
    else:
        outputs = max(1, classes) * max(1, targets) if (major, minor) >= _FIRST_WITH_PARALLEL else None
        gradient_booster = _forest(reader, outputs, dart=booster == "dart")
    attributes = {}
    if has_attributes:
        attributes = {reader.text(): reader.text() for _ in range(_bounded(reader.count(), reader))}
    version = [major, minor, 0] if (major, minor) > (0, 0) else [1, 0, 0]
    return {
        "learner": {
            # XGBoost itself drops the objective's settings, which scores do not depend on.
            "attributes": {
                name: value
                for name, value in attributes.items()
                if not name.startswith("SAVED_PARAM_") and name != "objective"
            },
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": gradient_booster,
            "learner_model_param": {
                "base_score": str(np.float32(base_score)),
                "boost_from_average": "1",
                "num_class": str(classes),
                "num_feature": str(features),
                "num_target": str(max(1, targets) if (major, minor) >= _FIRST_WITH_PARALLEL else 1),
            },
            "objective": _objective(objective, classes, attributes),
        },
        "version": version,
    }


def _bounded(count: int, reader: _Reader) -> int:
    if count > len(reader.data):
        raise BadModel("the model in XGBoost's old binary format is damaged: a count in it is beyond its end")
    return count


def _objective(name: str, classes: int, attributes: dict[str, str]) -> dict[str, Any]:
    objective: dict[str, Any] = {"name": name}
    parameter = next((value for start, value in _PARAMETERS.items() if name.startswith(start)), "reg_loss_param")
    if parameter:
        saved = {"num_class": str(classes)} if name.startswith("multi:") else {}
        if "SAVED_PARAM_max_delta_step" in attributes and name == "count:poisson":
            saved["max_delta_step"] = attributes["SAVED_PARAM_max_delta_step"]
        objective[parameter] = saved
    return objective


def _forest(reader: _Reader, outputs: int | None, *, dart: bool) -> dict[str, Any]:
    trees, parallel, _, _, _, _, leaf_vector, *_ = reader.unpack(_FOREST)
    if trees < 0 or trees > len(reader.data) or leaf_vector > 1:
        raise BadModel("the model in XGBoost's old binary format is damaged: its number of trees is impossible")
    model: dict[str, Any] = {
        "gbtree_model_param": {"num_trees": str(trees)},
        "trees": [_tree(reader, number) for number in range(trees)],
        "tree_info": reader.array("<i4", trees).tolist() if trees else [],
    }
    if outputs is not None:  # older ones have another number there, which is always 1
        model["gbtree_model_param"]["num_parallel_tree"] = str(max(1, parallel))
        per_round = outputs * max(1, parallel)
        if trees % per_round == 0:
            model["iteration_indptr"] = list(range(0, trees + 1, per_round))
    if not dart:
        return {"model": model, "name": "gbtree"}
    drops = reader.array("<f4", _bounded(reader.count(), reader)) if trees else np.zeros(0, "<f4")
    inner = {"model": model, "name": "gbtree"}
    return {"gbtree": inner, "name": "dart", "weight_drop": [float(drop) for drop in drops]}


def _tree(reader: _Reader, number: int) -> dict[str, Any]:
    _, nodes, deleted, _, features, _, *_ = reader.unpack(_TREE)
    if nodes < 1:
        raise BadModel("the model in XGBoost's old binary format is damaged: a tree has no nodes")
    node, statistic = reader.array(_NODE, nodes), reader.array(_STATISTIC, nodes)
    parents = np.where(node["parent"] == -1, _ROOT, node["parent"] & _ROOT)
    empty4, empty8 = np.zeros(0, ">i4"), np.zeros(0, ">i8")
    return {
        "base_weights": statistic["weight"].astype(">f4"),
        "categories": empty4,
        "categories_nodes": empty4,
        "categories_segments": empty8,
        "categories_sizes": empty8,
        "default_left": (node["split"] >> 31).astype("u1"),
        "id": number,
        "left_children": node["left"].astype(">i4"),
        "loss_changes": statistic["loss_change"].astype(">f4"),
        "parents": parents.astype(">i4"),
        "right_children": node["right"].astype(">i4"),
        "split_conditions": node["value"].astype(">f4"),
        "split_indices": (node["split"] & _ROOT).astype(">i4"),
        "split_type": np.zeros(nodes, "u1"),
        "sum_hessian": statistic["sum_hessian"].astype(">f4"),
        "tree_param": {
            "num_deleted": str(deleted), "num_feature": str(features), "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }  # fmt: skip


def _linear(reader: _Reader, features: int, outputs: int) -> dict[str, Any]:
    reader.unpack(_LINEAR)
    weights = reader.array("<f4", _bounded(reader.count(), reader))
    if len(weights) != (features + 1) * outputs:
        raise BadModel("the model in XGBoost's old binary format is damaged: its weights do not fit its features")
    return {"model": {"boosted_rounds": 0, "weights": weights.astype(">f4")}, "name": "gblinear"}

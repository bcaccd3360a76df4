"""Models of the costliest shape: trees that are one long chain, so that a row visits every node on its way."""

import json
from typing import Any

import numpy as np
import xgboost


def chain_model(*, depth: int, trees: int) -> bytes:
    """A UBJ model of one feature; a row of 1 goes down to the end of each chain."""
    data = xgboost.DMatrix(np.array([[0.0], [1.0]], np.float32), np.array([0.0, 1.0]))
    one = xgboost.train({"max_depth": 1, "nthread": 1, "min_child_weight": 0, "lambda": 0}, data, 1)
    document = json.loads(one.save_raw("json"))
    forest = document["learner"]["gradient_booster"]["model"]
    tree = _chain(forest["trees"][0], depth)
    forest["trees"] = [{**tree, "id": number} for number in range(trees)]
    forest["tree_info"] = [0] * trees
    forest["iteration_indptr"] = list(range(trees + 1))
    forest["gbtree_model_param"]["num_trees"] = str(trees)
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(document).encode()))
    return bytes(booster.save_raw("ubj"))


def _chain(tree: dict[str, Any], depth: int) -> dict[str, Any]:
    """Node 2k splits, its left child 2k + 1 is a leaf, its right child 2k + 2 goes on."""
    nodes = 2 * depth + 1
    inner = np.arange(nodes) % 2 == 0
    inner[-1] = False
    numbers = np.arange(nodes)
    parents = np.where(numbers % 2 == 1, numbers - 1, numbers - 2)
    parents[0] = 2**31 - 1
    return {
        **tree,
        "base_weights": [0.0] * nodes,
        "default_left": [0] * nodes,
        "left_children": np.where(inner, numbers + 1, -1).tolist(),
        "right_children": np.where(inner, numbers + 2, -1).tolist(),
        "loss_changes": [0.0] * nodes,
        "parents": parents.tolist(),
        "split_conditions": np.where(inner, 0.5, 0.25).tolist(),
        "split_indices": [0] * nodes,
        "split_type": [0] * nodes,
        "sum_hessian": [1.0] * nodes,
        "tree_param": {**tree["tree_param"], "num_nodes": str(nodes)},
    }

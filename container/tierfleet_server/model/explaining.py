"""The cost of a row's contributions, and the models that are refused them.

Measured with XGBoost 3.0.5 on one processor: 2 ns a step of TreeSHAP (`forest.Paths`) and 10 ns a node; 0.4 to 0.5 ns
for each tree, output and feature, since XGBoost clears and adds up a row of sums for each; 0.5 us to write a number.
One tree's paths are in memory while it is walked, 8 bytes for the square of its depth: beyond what the allocator keeps,
12 ns for each of these. A flat forest takes 1 to 1.3 ns a step. Neither can be interrupted within a row.
"""

from typing import NamedTuple

from tierfleet_forest import Forest

from ..reply_size import BYTES_A_NUMBER, MAX_REPLY_BYTES
from .model_file import ModelFacts

MAX_DEPTH = 1024
MAX_SECONDS_A_ROW = 2.0
_FOREST_STEP_NS = 1.3
_STEP_NS, _NODE_NS, _SUM_NS, _PATH_NS, _COPY_NS, _WRITE_NS = 2, 10, 0.5, 12, 10, 500
_PATH_BYTES, _NODE_BYTES, _TREE_BYTES, _FEATURE_BYTES, _NUMBER_BYTES = 8, 4, 64, 24, 8
_PATHS_KEPT = 128 * 1024 // _PATH_BYTES
# Of `{"score": [], "bias": [], "contributions": []}, ` a row, and of `[], ` an output.
_REPLY_BYTES_A_ROW, _REPLY_BYTES_AN_OUTPUT = 64, 4


class Explaining(NamedTuple):
    """For one row: processor seconds, numbers and bytes in its reply, and the memory that computing takes.

    `names_bytes` is the size of the features' names in a reply. `refusal` says why there are no contributions, and is
    empty if there are.
    """

    seconds_a_row: float
    numbers_a_row: int
    reply_bytes_a_row: int
    work_bytes: int
    names_bytes: int
    refusal: str


def explaining(facts: ModelFacts, names_bytes: int) -> Explaining:
    """The cost of a Booster's contributions; `names_bytes` is the size of its features' names in a reply."""
    features, outputs, trees, depth = facts.features, facts.outputs, facts.trees, facts.depth
    # TreeSHAP keeps the paths of a tree, and its calls nest as deeply as the tree.
    paths = (depth + 3) ** 2
    a_tree = outputs * (features + 1) * _SUM_NS + max(0, paths - _PATHS_KEPT) * _PATH_NS
    of_xgboost = facts.shap * _STEP_NS + facts.nodes * _NODE_NS + trees * a_tree
    tables = _NODE_BYTES * facts.nodes + _TREE_BYTES * trees + _FEATURE_BYTES * features
    tables += _NUMBER_BYTES * _numbers(features, outputs)
    refusal = (
        f"the deepest tree of this model has {depth} levels; contributions are computed for at most {MAX_DEPTH}; "
        "train it with a smaller max_depth"
        if depth > MAX_DEPTH
        else ""
    )
    return _cost(features, outputs, of_xgboost, _PATH_BYTES * paths + tables, names_bytes, refusal)


def explaining_forest(forest: Forest, names_bytes: int) -> Explaining:
    """The same for a flat forest."""
    rows_bytes = _NUMBER_BYTES * _numbers(forest.features, forest.outputs)
    work_bytes = forest.contribution_bytes + rows_bytes
    steps_ns = forest.contribution_work * _FOREST_STEP_NS
    return _cost(forest.features, forest.outputs, steps_ns, work_bytes, names_bytes, forest.no_contributions)


def _numbers(features: int, outputs: int) -> int:
    """In the reply to a row: for each output its score, its bias and a contribution of each feature."""
    return outputs * (features + 2)


def _cost(
    features: int, outputs: int, library_ns: float, work_bytes: int, names_bytes: int, refusal: str
) -> Explaining:
    numbers = _numbers(features, outputs)
    reply_bytes = BYTES_A_NUMBER * numbers + _REPLY_BYTES_AN_OUTPUT * outputs + _REPLY_BYTES_A_ROW
    return Explaining(
        seconds_a_row=(library_ns + numbers * (_COPY_NS + _WRITE_NS)) / 1e9,
        numbers_a_row=numbers,
        reply_bytes_a_row=reply_bytes,
        work_bytes=work_bytes,
        names_bytes=names_bytes,
        refusal=refusal or _refusal(library_ns / 1e9, reply_bytes + names_bytes),
    )


def _refusal(seconds: float, reply_bytes: int) -> str:
    if seconds > MAX_SECONDS_A_ROW:
        return (
            f"the contributions of one row of this model take some {seconds:.1f} s of a processor, and may take "
            f"{MAX_SECONDS_A_ROW:g}; train it with fewer or smaller trees"
        )
    if reply_bytes > MAX_REPLY_BYTES:
        return (
            f"the contributions of one row of this model may take {reply_bytes} bytes, and a reply may have "
            f"{MAX_REPLY_BYTES}; train it with fewer features or outputs"
        )
    return ""

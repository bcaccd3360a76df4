"""Reads LightGBM's text models (Booster.save_model, format v2 to v4), which sum and compare in double.

LightGBM predicts from doubles and reads every value from -1e-35 to 1e-35 as 0.0. A float32 value therefore goes left at
a threshold `t` exactly if it is below the next float32 above `t`. For a `t` inside that range, one of the range's ends
is the limit.
"""

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np

from . import layout
from .model_document import count
from .tree_model import NUMERIC, CategorySet, ConvertError, Numbers, TreeModel, float32_above, joined

_IDENTITY = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg",
)  # fmt: skip
_TRANSFORMS = {
    **dict.fromkeys(_IDENTITY, layout.IDENTITY),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), layout.EXP),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy"), layout.SIGMOID),
    "multiclass": layout.SOFTMAX,
}
_WITH_SIGMOID = ("binary", "multiclassova")  # LightGBM refuses these without one
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the two bits above them say which values are missing
_MISSING = np.array([layout.MISSING_NEVER, layout.MISSING_ZERO, layout.MISSING_NAN], np.uint8)
_ZERO = np.float32(layout.ZERO)


def is_lightgbm(data: bytes) -> bool:
    """Whether a file begins as LightGBM's text models do."""
    return re.match(rb"tree\r?\nversion=v", data) is not None


def tree_model(data: bytes) -> TreeModel:
    """The trees of a text model. Raises ConvertError if it is damaged or not supported."""
    try:
        return _tree_model(data.decode())
    except (KeyError, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, ConvertError):
            raise
        why = f"{type(error).__name__}: {str(error)[:80]}"
        raise ConvertError(f"the LightGBM model is damaged ({why}); save it again with Booster.save_model") from None


def _tree_model(text: str) -> TreeModel:
    body, end, _ = text.partition("\nend of trees")
    if not end:
        raise ConvertError("the LightGBM model ends too early; save it again with Booster.save_model")
    head, *trees = re.split(r"\n\s*Tree=\d+\r?\n", body)
    header = _fields(head)
    if header.get("version") not in ("v2", "v3", "v4"):
        raise ConvertError(f"the LightGBM model is of format {header.get('version')}; v2 to v4 are covered")
    outputs, features = count(header["num_tree_per_iteration"]), count(header["max_feature_idx"]) + 1
    if not trees or outputs < 1 or len(trees) % outputs or header.get("num_class", str(outputs)) != str(outputs):
        raise ConvertError(f"the LightGBM model has {len(trees)} trees for {outputs} outputs; save it again")
    _check_sizes(header, body)
    transform, parameter = _transform(header.get("objective", ""), outputs)
    arrays = _arrays([_fields(tree) for tree in trees])
    return TreeModel(
        features=features,
        base=np.zeros(outputs, np.float64),
        output=(np.arange(len(trees)) % outputs).astype(np.uint16),
        divisor=len(trees) // outputs if "\naverage_output" in head else 1,
        transform=transform,
        transform_parameter=parameter,
        metadata={"objective": header.get("objective", ""), "feature_names": header.get("feature_names", "").split()},
        **arrays,
    )


def _check_sizes(header: dict[str, str], body: str) -> None:
    """LightGBM cuts the text into trees by the sizes in its head, not by the lines that begin one."""
    if "tree_sizes" not in header or "\r" in body:
        return
    starts = [match.start() for match in re.finditer(r"^Tree=", body, re.MULTILINE)]
    sizes = [len(f"{body}\n"[a:b].encode()) for a, b in pairwise([*starts, len(body) + 1])]
    if header["tree_sizes"].split() != [str(size) for size in sizes]:
        raise ConvertError("the sizes of the LightGBM model's trees are not those in its head; save it again")


def _fields(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.strip().partition("=") for line in text.splitlines())}


def _transform(objective: str, outputs: int) -> tuple[int, float]:
    """The transform and its parameter. A model without an objective was trained with a custom one."""
    name, *settings = objective.split() or [""]
    if name and (name not in _TRANSFORMS or "sqrt" in settings):
        raise ConvertError(f"the objective {objective!r} is not covered; covered are {', '.join(sorted(_TRANSFORMS))}")
    if name != "multiclass" and name != "multiclassova" and outputs > 1 and name:
        raise ConvertError(f"the objective {objective!r} with {outputs} outputs is not covered")
    sigmoid = [setting.removeprefix("sigmoid:") for setting in settings if setting.startswith("sigmoid:")]
    parameter = float(sigmoid[0]) if sigmoid else 1.0
    if not 0 < parameter < math.inf or (not sigmoid and name in _WITH_SIGMOID):
        raise ConvertError(f"the objective {objective!r} has no sigmoid above 0; save the LightGBM model again")
    return _TRANSFORMS.get(name, layout.IDENTITY), parameter


def _tree(fields: dict[str, str]) -> tuple[dict[str, Numbers], dict[int, CategorySet]]:
    """One tree's arrays, its splits first and then its leaves, and the categories of its splits by place."""
    leaves = count(fields["num_leaves"])
    splits = leaves - 1
    if "Tree" in fields:
        raise ConvertError("a tree of the LightGBM model has no number; save it again")
    if leaves < 1 or fields.get("is_linear", "0") != "0":
        raise ConvertError("the LightGBM model has linear models in its leaves (linear_tree), which is not covered")

    def numbers(name: str, wanted: int, dtype: Any) -> Numbers:
        values = _numbers(fields[name] if wanted else "", dtype)
        if len(values) != wanted:
            raise ConvertError(
                f"a tree of the LightGBM model has {len(values)} {name} instead of {wanted}; save it again"
            )
        return values

    def padded(values: Numbers, fill: Any = 0) -> Numbers:
        return np.concatenate([values, np.full(leaves, fill, values.dtype)])

    def children(name: str) -> Numbers:
        child = numbers(name, splits, np.int64)
        return padded(np.where(child < 0, splits + ~child, child), -1)

    decision, threshold = numbers("decision_type", splits, np.int64), numbers("threshold", splits, np.float64)
    categorical = decision & _CATEGORICAL == 1
    missing = _MISSING[decision >> 2 & 3]
    # An unknown category and NaN go right.
    missing_left = (decision & _DEFAULT_LEFT != 0) & ~categorical
    sets = _sets(fields, threshold, np.flatnonzero(categorical).tolist())
    # `x <= inf` is true for every value, also for infinity. An empty category set sends every value left too.
    for node in np.flatnonzero((threshold == np.inf) & ~categorical).tolist():
        if missing[node] == layout.MISSING_ZERO:
            raise ConvertError("a tree of the LightGBM model splits zeros from all other values, which is not covered")
        missing_left[node] |= missing[node] == layout.MISSING_NEVER
        sets[node] = CategorySet(())
    missing[list(sets)] = layout.MISSING_NAN
    counts = fields.get("internal_count", "").split() + fields.get("leaf_count", "").split()
    arrays = {
        "left": children("left_child"),
        "right": children("right_child"),
        "feature": padded(numbers("split_feature", splits, np.int64)),
        "threshold": padded(_thresholds(threshold)),
        "missing_left": padded(missing_left),
        "missing": padded(missing),
        "cover": np.array(counts if len(counts) == splits + leaves else [0] * (splits + leaves), np.float32),
        "values": np.concatenate([np.zeros(splits), numbers("leaf_value", leaves, np.float64)]),
    }
    return arrays, sets


def _numbers(text: str, dtype: Any) -> Numbers:
    if "_" in text:  # Python's reader would skip it
        raise ConvertError(f"a list of the LightGBM model holds {text[:40]!r}, which are no numbers; save it again")
    return np.array(text.split(), dtype)


def _sets(fields: dict[str, str], threshold: Numbers, nodes: list[int]) -> dict[int, CategorySet]:
    if not nodes:
        return {}
    bounds = _numbers(fields["cat_boundaries"], np.int64).tolist()
    words = _numbers(fields["cat_threshold"], np.uint32)
    if count(fields["num_cat"]) != len(bounds) - 1 or bounds[0] != 0 or (np.diff(bounds) < 0).any():
        raise ConvertError("a tree of the LightGBM model has another number of category splits; save it again")
    sets = {}
    for node in nodes:
        which = int(threshold[node])
        bits = np.unpackbits(words[bounds[which] : bounds[which + 1]].astype("<u4").view(np.uint8), bitorder="little")
        sets[node] = CategorySet(tuple(np.flatnonzero(bits).tolist()), layout.SET_LEFT | layout.TRUNCATE_FIRST)
    return sets


def _thresholds(threshold: Numbers) -> Numbers:
    if np.isnan(threshold).any():
        raise ConvertError("a tree of the LightGBM model compares with NaN; save it again")
    above = float32_above(threshold)
    above = np.where((threshold >= 0) & (threshold <= _ZERO), np.nextafter(_ZERO, np.float32(1)), above)
    limits: Numbers = np.where((threshold < 0) & (threshold >= -_ZERO), -_ZERO, above)
    return limits.astype(np.float32)


def _arrays(trees: list[dict[str, str]]) -> dict[str, Any]:
    parts = [_tree(fields) for fields in trees]
    arrays_of_all: dict[str, Any] = joined([arrays for arrays, _ in parts])
    numbers: dict[CategorySet, int] = {}
    category_set = np.full(len(arrays_of_all["left"]), NUMERIC, np.int64)
    for begin, (_, sets) in zip(arrays_of_all["roots"].tolist(), parts, strict=True):
        for node, chosen in sets.items():
            category_set[begin + node] = numbers.setdefault(chosen, len(numbers))
    return {**arrays_of_all, "category_set": category_set if numbers else None, "sets": list(numbers)}

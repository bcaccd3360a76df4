"""The categories that XGBoost 3.1 and newer keep with a model that was trained on a data frame."""

from typing import Any

import numpy as np

from .forest import numbers
from .parameters import known, whole
from .ubj import Bytes, TypedArray, UbjError

_TYPES = 32  # numbers of XGBoost's own for the types of its arrays; 3.4 uses up to 22


def check_categories(data: Bytes, cats_object: object, features: int) -> None:
    """UbjError unless every place that `cats` names lies within it. XGBoost trusts these numbers."""
    names = ("enc", "feature_segments", "sorted_idx")
    cats = known("cats", cats_object, (*names, "is_ref", "sorted"), names)
    if not isinstance(cats["enc"], list) or len(cats["enc"]) not in (0, features):
        raise UbjError(f"its cats do not fit {features} features")
    counts = [_column(data, column) for column in cats["enc"]]
    segments, order = (numbers(data, cats[name]) for name in names[1:])
    if segments.tolist() not in ([], [0, *np.cumsum(counts).tolist()]):
        raise UbjError("its cats count their categories wrongly")
    total = sum(counts)
    if len(order) not in (0, total) or (len(order) and not 0 <= order.min() <= order.max() < max(counts)):
        raise UbjError("its cats are sorted wrongly")
    if any(not isinstance(cats.get(name, False), bool) for name in ("is_ref", "sorted")):
        raise UbjError("its cats hold a flag that is neither true nor false")


def _column(data: Bytes, value: Any) -> int:
    column = known("cats.enc", value, ("offsets", "type", "values"), ("values",))
    values = column["values"]
    size = values.length if isinstance(values, TypedArray) else len(numbers(data, values))
    if "offsets" not in column:
        whole("cats.enc.type", column.get("type"), 0, _TYPES)
        return size
    offsets = numbers(data, column["offsets"])
    if not len(offsets):
        return 0
    if offsets[0] != 0 or offsets[-1] > size or np.any(np.diff(offsets) < 0):
        raise UbjError("its cats name texts outside of them")
    return len(offsets) - 1

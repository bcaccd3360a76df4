"""The flat forest of a model that is packaged: made of the packaged bytes, compared with the file's own scores."""

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tierfleet_forest
from tierfleet_forest import ConvertError
from tierfleet_forest.convert import convert_document

from ..model import native
from ..model.flat_forest import refuse_costly
from ..model.refusal import BadModel
from .document import read_document
from .tree_scores import Floats
from .versions import IMAGE_XGBOOST, dotted

# The reader allows a file's probes as much: C libraries differ in the last place of an exponential.
_MAX_SCORE_DISTANCE = 4
_EXPLAINED_ROWS = 4  # a row of a large model takes XGBoost a sixth of a second


class PackagedForest(NamedTuple):
    """A forest's bytes, empty where the model stays a Booster; and why, as a note or as a warning."""

    data: bytes
    note: str = ""
    warning: str = ""


def packaged_forest(
    ubj: bytes, file: bytes, rows: Floats, expected: Floats, *, contributions: bool = False
) -> PackagedForest:
    """The forest of a model that the dense server reads as `ubj`; `file` is the one that it names as its source.

    Its margins of `rows` must be the `expected` ones bit for bit. Where the installed XGBoost reads `ubj`, its margins
    and scores are compared too. contributions: with the covers of the nodes, if the model has them.
    """
    if not tierfleet_forest.available:
        return PackagedForest(b"", f"no flat forest: {tierfleet_forest.unavailable_reason}")
    try:
        data, note = _converted(ubj, file, contributions=contributions)
        forest = tierfleet_forest.loads(data)
        refuse_costly(forest)
    except (ConvertError, BadModel) as error:
        return PackagedForest(b"", f"no flat forest, XGBoost serves it: {error}")
    shape = (len(rows), -1)
    forest_margins = np.array(forest.margins(rows), np.float32).reshape(shape)
    differ = _differ(forest_margins, expected)
    who = "the file"
    if not differ.any() and native.version()[:2] >= IMAGE_XGBOOST[:2]:
        who = f"XGBoost {dotted(native.version())}"
        handle, call = native.Handle(ubj), (rows.ctypes.data, *rows.shape)
        differ = _differ(forest_margins, np.array(handle.margins(*call), np.float32).reshape(shape))
        by_xgboost = np.array(handle.predict_dmatrix(*call), np.float32).reshape(shape)
        differ |= _differ(np.array(forest.predict(rows), np.float32).reshape(shape), by_xgboost, _MAX_SCORE_DISTANCE)
        if not forest.no_contributions:
            rows = rows[:_EXPLAINED_ROWS]
            explained = np.frombuffer(handle.contributions(rows.ctypes.data, *rows.shape), np.float32)
            own = np.frombuffer(forest.contributions(rows), np.float32)
            differ = np.append(differ, _differ(own.reshape(len(rows), -1), explained.reshape(len(rows), -1)))
    if differ.any():
        why = f"{int(differ.sum())} of {len(rows)} compared rows would be scored otherwise than by {who}"
        return PackagedForest(b"", "", f"no flat forest: {why}; XGBoost serves it. Please report it with the file")
    return PackagedForest(data, note)


def _converted(ubj: bytes, file: bytes, *, contributions: bool) -> tuple[bytes, str]:
    """The forest, and a note if it lacks the contributions that were asked for; raises ConvertError."""
    # As the dense image's XGBoost reads it, so that a forest and its Booster agree.
    convert = partial(convert_document, read_document(ubj), file, reader=IMAGE_XGBOOST)
    if not contributions:
        return convert(), ""
    try:
        return convert(contributions=True), ""
    except ConvertError as error:
        return convert(), f"the flat forest has no contributions: {error}"


def _differ(one: Floats, other: Floats, most: int = 0) -> npt.NDArray[np.bool_]:
    """By row, whether numbers are more than so many float32 apart; NaN is like NaN."""
    apart = (np.abs(_place(one) - _place(other)) > most) & ~(np.isnan(one) & np.isnan(other))
    different: npt.NDArray[np.bool_] = apart.any(axis=1)
    return different


def _place(values: Floats) -> npt.NDArray[np.int64]:
    """The number of each float32 when they are counted from minus infinity up; both zeros have one."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)

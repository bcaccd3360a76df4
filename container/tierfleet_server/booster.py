"""A loaded model: what the server asks for scores, whatever holds the trees."""

from typing import NamedTuple, Protocol

import numpy as np

from . import native
from .model_file import ModelFacts
from .prepared import check
from .preprocessing import Preprocessing
from .refusal import BadModel
from .ubj import Bytes


class Rows(NamedTuple):
    """Dense float32 values in memory, row after row, NaN being missing; `owner` keeps them alive."""

    address: int
    rows: int
    width: int
    owner: object


class Model(Protocol):
    """The seam for other formats than XGBoost's own."""

    features: int
    outputs: int
    preprocessing: Preprocessing
    work_per_row: int

    def predict(self, rows: Rows) -> list[float]:
        """Scores, row after row; every row has the same number of them."""


class BoosterModel:
    """A model that XGBoost holds. `work_per_row` is its number of trees, which each row has to walk."""

    __slots__ = ("_predict", "facts", "features", "outputs", "preprocessing", "work_per_row")

    def __init__(self, handle: native.Handle, facts: ModelFacts, preprocessing: Preprocessing) -> None:
        self.facts = facts
        self.features = facts.features
        self.outputs = facts.outputs
        self.preprocessing = preprocessing
        self.work_per_row = facts.trees
        # In-place prediction ignores DART's weights, so only gbtree goes that way.
        self._predict = handle.predict_dense if facts.booster == "gbtree" else handle.predict_dmatrix

    def predict(self, rows: Rows) -> list[float]:
        """The same scores as Booster.predict(DMatrix)."""
        return self._predict(rows.address, rows.rows, rows.width)


def open_model(data: bytes) -> tuple[native.Handle, ModelFacts]:
    """A model from the bytes of a UBJ or JSON file; raises BadModel or, if it is too big, MemoryError."""
    ubj, facts = check(data, native.version())
    return open_checked(ubj, facts), facts


def open_checked(ubj: Bytes, facts: ModelFacts) -> native.Handle:
    """A model from bytes that were checked; raises as `open_model`."""
    handle = native.Handle(ubj)
    _probe(handle, facts)
    return handle


def _probe(handle: native.Handle, facts: ModelFacts) -> None:
    """Score one empty row, since XGBoost sets some objectives up only at the first predict."""
    row = np.full(facts.features, np.nan, np.float32)
    predict = handle.predict_dense if facts.booster == "gbtree" else handle.predict_dmatrix
    try:
        predict(row.ctypes.data, 1, facts.features)
    except native.XGBoostError as error:
        raise BadModel(f"XGBoost cannot score with this model: {error}") from None

"""Loaded models: the interface that the server uses, and XGBoost's implementation."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from . import native
from .explaining import Explaining, explaining
from .model_file import ModelFacts, json_bytes
from .prepared import check
from .preprocessing import Preprocessing
from .refusal import BadModel, Refusal
from .ubj import Bytes


class Rows(NamedTuple):
    """Dense float32 values in memory, row by row, NaN for missing; `owner` keeps them alive."""

    address: int
    rows: int
    width: int
    owner: object


class Model(Protocol):
    """The interface of a model in any format. `form` names the format in lists and metrics."""

    form: str
    features: int
    outputs: int
    preprocessing: Preprocessing
    work_per_row: int

    def predict(self, rows: Rows) -> list[float]:
        """Scores, row after row; every row has the same number of them."""

    def predict_now(self, rows: Rows) -> list[float]:
        """The same for a few rows, which take less time than a hand-over of the interpreter."""


@runtime_checkable
class Explainable(Model, Protocol):
    """A model with contributions of features; `explaining` has their cost, or why there are none."""

    explaining: Explaining

    def contributions(self, rows: Rows) -> bytes:
        """float32: row after row, of each its outputs, of each its features and then the bias; raises Refusal (406)."""

    def names_json(self) -> bytes:
        """The names of the features, as the items of a JSON list."""


class BoosterModel:
    """A model in XGBoost. `work_per_row`: the nodes that a row visits at worst, or the weights of gblinear.

    `heap_bytes` is the memory of its trial, None without one. `object_bytes` is the memory of its Python objects, which
    the C allocator does not count.
    """

    __slots__ = (
        "_handle", "_names", "_predict", "_predict_now", "explaining", "facts", "features", "form", "heap_bytes",
        "object_bytes", "outputs", "preprocessing", "work_per_row",
    )  # fmt: skip

    def __init__(
        self,
        handle: native.Handle,
        facts: ModelFacts,
        preprocessing: Preprocessing,
        heap_bytes: int | None = None,
    ) -> None:
        self.form = "booster"
        self.heap_bytes = heap_bytes
        self.object_bytes = preprocessing.object_bytes
        self.facts = facts
        self.features = facts.features
        self.outputs = facts.outputs
        self.preprocessing = preprocessing
        self.work_per_row = facts.path_length or facts.features * facts.outputs
        self._handle = handle
        self._names = b""
        self.explaining = explaining(facts, _names_bytes(facts, preprocessing.feature_names))
        # In-place prediction ignores DART's weights, so only gbtree goes that way.
        dense = facts.booster == "gbtree"
        self._predict = handle.predict_dense if dense else handle.predict_dmatrix
        self._predict_now = handle.predict_dense_now if dense else handle.predict_dmatrix

    def predict(self, rows: Rows) -> list[float]:
        """The same scores as Booster.predict(DMatrix)."""
        return self._predict(rows.address, rows.rows, rows.width)

    def predict_now(self, rows: Rows) -> list[float]:
        """The same without releasing the interpreter, for a gbtree model."""
        return self._predict_now(rows.address, rows.rows, rows.width)

    def contributions(self, rows: Rows) -> bytes:
        """The same as Booster.predict(DMatrix, pred_contribs=True), with all outputs also where there is one."""
        try:
            return self._handle.contributions(rows.address, rows.rows, rows.width)
        except native.XGBoostError as error:
            said = str(error).rpartition("Check failed: ")[2]
            raise Refusal(
                406, f"XGBoost cannot compute contributions with this model ({said}); "
                "its trees need the sums of Hessians that training stores",
            ) from None  # fmt: skip

    def names_json(self) -> bytes:
        """Those of the metadata, else of the model file, else XGBoost's own: f0, f1 and so on."""
        if not self._names:
            self._names = names_json(self.preprocessing.feature_names or self._handle.feature_names(), self.features)
        return self._names


def names_json(names: Iterable[str], features: int) -> bytes:
    """Names of features as the items of a JSON list; XGBoost's own if there are none."""
    text = bytearray()
    for name in names:
        text += json.dumps(name).encode() + b", "
    if not text:
        text += b"".join([b'"f%d", ' % column for column in range(features)])
    return bytes(text[:-2])


def names_json_bytes(names: Sequence[str], features: int) -> int:
    """The most that `names_json` takes."""
    return json_bytes(names) if names else features * len(f'"f{features}", ')


def _names_bytes(facts: ModelFacts, names: tuple[str, ...]) -> int:
    return facts.names_bytes if facts.names_bytes and not names else names_json_bytes(names, facts.features)


def open_model(data: bytes) -> tuple[native.Handle, ModelFacts]:
    """A model from the bytes of a UBJ or JSON file; raises BadModel or, if it is too big, MemoryError."""
    ubj, facts = check(data, native.version())
    return open_checked(ubj, facts), facts


def open_checked(ubj: Bytes, facts: ModelFacts) -> native.Handle:
    """A model from checked bytes; raises like `open_model`."""
    try:
        handle = native.Handle(ubj)
    except BadModel:
        if facts.objective == "reg:gamma" and facts.version < (2, 1, 0):
            raise BadModel(
                f"XGBoost {'.'.join(map(str, facts.version))} saved this reg:gamma model without the parameters of "
                "its objective, which XGBoost 3 needs; save it as JSON, add "
                '"reg_loss_param": {"scale_pos_weight": "1"} to learner.objective, which changes no score, '
                "and publish that"
            ) from None
        raise
    _probe(handle, facts)
    return handle


def _probe(handle: native.Handle, facts: ModelFacts) -> None:
    """Score one empty row, because XGBoost initialises some objectives only at the first predict."""
    row = np.full(facts.features, np.nan, np.float32)
    predict = handle.predict_dense if facts.booster == "gbtree" else handle.predict_dmatrix
    try:
        predict(row.ctypes.data, 1, facts.features)
    except native.XGBoostError as error:
        raise BadModel(f"XGBoost cannot score with this model: {error}") from None

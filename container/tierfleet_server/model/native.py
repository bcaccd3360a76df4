"""XGBoost through its documented C API, without its Python package, SciPy and pandas.

Every call releases the GIL but `predict_dense_now`. One-row predicts take half the time of `Booster.inplace_predict`.
"""

import ctypes
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from .refusal import BadModel
from .ubj import Bytes

Result = TypeVar("Result")
_Floats = ctypes.POINTER(ctypes.c_float)
_Shape = ctypes.POINTER(ctypes.c_uint64)


class XGBoostError(RuntimeError):
    """The C API refused; the message is XGBoost's own first line."""


def _open() -> ctypes.CDLL:
    package = importlib.util.find_spec("xgboost")
    if package is None or package.origin is None:
        raise ImportError("no xgboost package; install what container/requirements.txt names")
    library = ctypes.CDLL(str(Path(package.origin).parent / "lib" / "libxgboost.so"))
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library


_lib = _open()
# iteration_end 0 means all rounds, as Booster.predict does without an iteration_range.
_PREDICT = json.dumps(
    {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "missing": float("nan"),
     "strict_shape": False, "cache_id": 0}
).encode()  # fmt: skip
_MARGINS = _PREDICT.replace(b'"type": 0', b'"type": 1')
_CONTRIBUTIONS = _PREDICT.replace(b'"type": 0', b'"type": 2')
# One thread: those of the server use the processors already.
_DMATRIX = json.dumps({"missing": float("nan"), "nthread": 1}).encode()
_DENSE = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}'


def _call(function: str, *arguments: object) -> None:
    if getattr(_lib, function)(*arguments):
        _raise_last_error()


def _raise_last_error() -> NoReturn:
    message = _last_error()
    # The C API has no code for it: std::bad_alloc is only in the text.
    if "bad_alloc" in message:
        raise MemoryError("XGBoost ran out of memory")
    raise XGBoostError(message)


def _last_error() -> str:
    text = str(_lib.XGBGetLastError().decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Stack trace")]
    return (lines[0] if lines else "no message")[:300]


def version() -> tuple[int, int, int]:
    """The version of the XGBoost library in use."""
    major, minor, patch = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _lib.XGBoostVersion(ctypes.byref(major), ctypes.byref(minor), ctypes.byref(patch))
    return major.value, minor.value, patch.value


def _address(values: Bytes | npt.NDArray[np.float32]) -> int:
    return int(np.frombuffer(values, np.uint8).ctypes.data)


class _PerThread(threading.local):
    """What a thread's predicts reuse: a proxy DMatrix, slots for the result."""

    def __init__(self) -> None:
        self.proxy = ctypes.c_void_p()
        _call("XGProxyDMatrixCreate", ctypes.byref(self.proxy))
        self.shape, self.dimensions, self.result = _Shape(), ctypes.c_uint64(), _Floats()
        self.slots = (ctypes.byref(self.shape), ctypes.byref(self.dimensions), ctypes.byref(self.result))


_thread = _PerThread()


def _count(thread: _PerThread) -> int:
    """How many numbers the thread's last predict made."""
    count = 1
    for dimension in range(thread.dimensions.value):
        count *= thread.shape[dimension]
    return count


def _numbers(thread: _PerThread, count: int) -> list[float]:
    return thread.result[:count]


def _copy(thread: _PerThread, count: int) -> bytes:
    return ctypes.string_at(thread.result, 4 * count)


_predict_dense = _lib.XGBoosterPredictFromDense
# PyDLL calls without releasing the GIL.
_predict_dense_now = ctypes.PyDLL(_lib._name).XGBoosterPredictFromDense


class Handle:
    """One XGBoost model in memory. Frees it when the last reference goes."""

    __slots__ = ("_handle",)

    def __init__(self, model: Bytes | None = None) -> None:
        self._handle = ctypes.c_void_p()
        _call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        # The scheduler runs calls side by side, so each takes one thread. XGBoost's warnings are no lines of JSON.
        for name, value in ((b"nthread", b"1"), (b"verbosity", b"0")):
            _call("XGBoosterSetParam", self._handle, name, value)
        if model is not None:
            try:
                start: bytes | ctypes.c_void_p
                start = model if isinstance(model, bytes) else ctypes.c_void_p(_address(model))
                _call("XGBoosterLoadModelFromBuffer", self._handle, start, ctypes.c_uint64(len(model)))
            except XGBoostError as error:
                raise BadModel(f"XGBoost does not load this model: {error}") from None

    def __del__(self) -> None:
        if self._handle:
            _lib.XGBoosterFree(self._handle)
            self._handle = ctypes.c_void_p()

    def predict_dense(self, address: int, rows: int, width: int) -> list[float]:
        """Scores of `rows` x `width` float32 values at `address`, NaN being missing: row after row.

        Equal to Booster.predict(DMatrix) for gbtree; for any other booster use `predict_dmatrix`.
        """
        return self._predict(_predict_dense, address, rows, width)

    def predict_dense_now(self, address: int, rows: int, width: int) -> list[float]:
        """The same without releasing the GIL, which another thread may return late."""
        return self._predict(_predict_dense_now, address, rows, width)

    def _predict(self, call: Callable[..., int], address: int, rows: int, width: int) -> list[float]:
        thread = _thread
        if call(self._handle, _DENSE % (address, rows, width), _PREDICT, thread.proxy, *thread.slots):
            _raise_last_error()
        if rows == 1 and thread.dimensions.value == 1 and thread.shape[0] == 1:
            return [thread.result[0]]
        return _numbers(thread, _count(thread))

    def margins(self, address: int, rows: int, width: int) -> list[float]:
        """Scores before the objective's transform, through a DMatrix: row after row."""
        return self._through_dmatrix(address, rows, width, _MARGINS, _numbers)

    def predict_dmatrix(self, address: int, rows: int, width: int) -> list[float]:
        """The same through a DMatrix, which is right for every booster and slower."""
        return self._through_dmatrix(address, rows, width, _PREDICT, _numbers)

    def contributions(self, address: int, rows: int, width: int) -> bytes:
        """`pred_contribs` as float32: row after row, of each its outputs, of each its features and then the bias."""
        return self._through_dmatrix(address, rows, width, _CONTRIBUTIONS, _copy)

    def feature_names(self) -> Iterator[str]:
        """The names of the columns; none if the model has none. Read it to the end at once, in one thread."""
        count, names = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char_p)()
        _call("XGBoosterGetStrFeatureInfo", self._handle, b"feature_name", ctypes.byref(count), ctypes.byref(names))
        return ((names[at] or b"").decode(errors="replace") for at in range(count.value))

    def _through_dmatrix(
        self, address: int, rows: int, width: int, how: bytes, take: Callable[[_PerThread, int], Result]
    ) -> Result:
        thread, matrix = _thread, ctypes.c_void_p()
        dense = _DENSE % (address, rows, width)
        _call("XGDMatrixCreateFromDense", dense, _DMATRIX, ctypes.byref(matrix))
        try:
            _call("XGBoosterPredictFromDMatrix", self._handle, matrix, how, *thread.slots)
            return take(thread, _count(thread))
        finally:
            _lib.XGDMatrixFree(matrix)

    def to_ubj(self) -> bytes:
        """The model as UBJ."""
        size, start = ctypes.c_uint64(), ctypes.c_void_p()
        _call(
            "XGBoosterSaveModelToBuffer",
            self._handle, b'{"format": "ubj"}', ctypes.byref(size), ctypes.byref(start),
        )  # fmt: skip
        return ctypes.string_at(start.value or 0, size.value)


def smallest_model() -> bytes:
    """A model of one feature, trained here on two rows, as UBJ."""
    rows, matrix, handle = np.array([0, 1], np.float32), ctypes.c_void_p(), Handle()
    _call("XGDMatrixCreateFromDense", _DENSE % (_address(rows), 2, 1), _DMATRIX, ctypes.byref(matrix))
    try:
        label = b'{"data":[%d,true],"shape":[2],"typestr":"<f4","version":3}' % _address(rows)
        _call("XGDMatrixSetInfoFromInterface", matrix, b"label", label)
        _call("XGBoosterSetParam", handle._handle, b"num_feature", b"1")
        _call("XGBoosterUpdateOneIter", handle._handle, 0, matrix)
    finally:
        _lib.XGDMatrixFree(matrix)
    return handle.to_ubj()

"""The C library's logarithm and exponentials. NumPy's own differ from them in the last bit."""

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .tree_model import Numbers


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)  # what Python itself is linked with: to search for the file takes 11 ms and ldconfig
    except TypeError:  # Windows
        return None


_libm = _library()


def _function(name: str, kind: Any, otherwise: Callable[[float], float]) -> Callable[[float], float]:
    try:
        function = getattr(_libm, name)
    except AttributeError:  # no C library here: this rounds correctly, except for one value in billions
        return otherwise
    function.restype, function.argtypes = kind, [kind]
    return function  # type: ignore[no-any-return]


def _exp_otherwise(value: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.exp(np.float64(value)))


def _log_otherwise(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf if value == 0 else math.nan


_logf = _function("logf", ctypes.c_float, _log_otherwise)
_expf = _function("expf", ctypes.c_float, _exp_otherwise)
_exp = _function("exp", ctypes.c_double, _exp_otherwise)


def log_float32(value: np.float32) -> np.float32:
    """`logf`, which XGBoost uses to turn base_score into a margin."""
    return np.float32(_logf(float(value)))


def exponential(values: Numbers) -> Numbers:
    """`expf` for float32 values, `exp` for float64 values."""
    function = _expf if values.dtype == np.float32 else _exp
    flat = [function(value) for value in values.ravel().tolist()]
    return np.array(flat, values.dtype).reshape(values.shape)

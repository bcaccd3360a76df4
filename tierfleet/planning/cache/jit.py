"""Numba, with types that mypy can follow.

The machine code of each function is kept next to its module (__pycache__), so only the first call ever compiles it.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of numbers and arrays to machine code; other threads run meanwhile (no GIL)."""
    return cast("Function", numba.njit(cache=True, nogil=True)(function))


def inlined(function: Function) -> Function:
    """The same, written out where it is called: for inner loops, since a call with arrays takes longer than they do."""
    return cast("Function", numba.njit(cache=True, nogil=True, inline="always")(function))


def _population_count(_typing: Any, _word: Any) -> Any:
    """How many bits of an unsigned 64-bit word are set: one instruction."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[ir.Value]) -> ir.Value:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


population_count = cast("Callable[[Any], int]", intrinsic(_population_count))

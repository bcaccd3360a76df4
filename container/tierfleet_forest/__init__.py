"""Flat forests: trained trees in a thirteenth of the memory, with the scores of the library that trained them, bit for bit.

`load` and `loads` read a file (docs/flat-forest.md) with the compiled part. Where that was not built, `available` is
False, `unavailable_reason` says why, and both raise ForestError; `convert` works without it, and needs NumPy.
"""

import os

from .convert import convert
from .tree_model import ConvertError

try:
    from ._forest import Forest, ForestError, load, loads
except ImportError as error:
    available = False
    unavailable_reason = f"the compiled part is missing ({error}); build it with a C compiler: pip install ."

    class ForestError(ValueError):  # type: ignore[no-redef]
        """A file that is no sound flat forest; the message says why."""

    class Forest:  # type: ignore[no-redef]
        """Only a name where the compiled part is missing."""

    def load(file: str | os.PathLike[str] | int, /) -> Forest:
        """Raise ForestError."""
        raise ForestError(unavailable_reason)

    def loads(data: bytes, /) -> Forest:
        """Raise ForestError."""
        raise ForestError(unavailable_reason)

else:
    available = True
    unavailable_reason = ""

__all__ = [
    "ConvertError", "Forest", "ForestError", "available", "convert", "load", "loads", "unavailable_reason",
]  # fmt: skip

"""Flat forests: trained trees in a thirteenth of XGBoost's memory, with exactly the same scores.

`load` and `loads` read a file (docs/flat-forest.md) with the compiled part. If that was not built, `available` is
False, `unavailable_reason` says why, and both raise ForestError. `convert` needs NumPy, but not the compiled part.
"""

from .convert import convert
from .tree_model import ConvertError

try:
    from ._forest import Forest, ForestError, csv_rows, csv_text, load, loads
except ImportError as error:
    from .uncompiled import Forest, ForestError, csv_rows, csv_text, load, loads  # type: ignore[assignment]

    available = False
    unavailable_reason = f"the compiled part is missing ({error}); build it with a C compiler: pip install ."
else:
    available = True
    unavailable_reason = ""

__all__ = [
    "ConvertError", "Forest", "ForestError", "available", "convert", "csv_rows", "csv_text", "load", "loads",
    "unavailable_reason",
]  # fmt: skip

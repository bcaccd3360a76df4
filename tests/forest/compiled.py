"""Where the compiled reader must be there, and where it cannot be."""

import shutil

import pytest
import tierfleet_forest

# With a C compiler, pip install -e . has built the reader. A skipped test would then hide a broken build.
needs_compiled = pytest.mark.skipif(
    not tierfleet_forest.available and shutil.which("cc") is None and shutil.which("gcc") is None,
    reason="no C compiler, so the reader was not built",
)

"""Looks into an artefact in memory. Damage counts as nothing found, because validation says what is wrong with it."""

import tarfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import TypeVar

Found = TypeVar("Found")


def found_in(archive: bytes, look: Callable[[tarfile.TarFile], Found]) -> Found | None:
    """What `look` finds in a tar.gz; None if the archive, or what is read of it, is damaged."""
    try:
        with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as packed:
            return look(packed)
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, KeyError, TypeError, RecursionError):
        return None

"""Short texts that change with what an endpoint is made of. Names and logical ids end in them."""

import base64
import hashlib
import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from tierfleet.config.container import Container
from tierfleet.images import TIERFLEET_IMAGE

CHARACTERS: Final = 6
_CONTAINER: Final = Path(__file__).resolve().parents[3] / "container"
# What container/.dockerignore leaves out of the image: bytecode, caches of tools, notes of an installation.
LEFT_OUT: Final = ("__pycache__", "*.pyc", ".*_cache", "*.egg-info", "*.so", "build")


def short_digest(value: Any) -> str:
    """Six characters of base32 (30 bits of SHA-256), such as `q3f7xk`. value: JSON-ready data."""
    return base64.b32encode(_digest(value).digest()).decode().lower()[:CHARACTERS]


def id_digest(value: Any) -> str:
    """Eight hexadecimal characters in capitals, for a logical id. value: JSON-ready data."""
    return _digest(value).hexdigest()[:8].upper()


def content_of(*containers: Container) -> str | None:
    """The content of our own image where one of these containers has it. The others' images have versions."""
    return image_content() if any(each.image == TIERFLEET_IMAGE for each in containers) else None


@cache
def image_content(directory: Path = _CONTAINER) -> str:
    """SHA-256 of the sources of the image `tierfleet`; of no files where only the package is installed."""
    files = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    kept = [file for file in files if not any(fnmatchcase(part, out) for part in file.parts for out in LEFT_OUT)]
    hashes = [[file.as_posix(), hashlib.sha256((directory / file).read_bytes()).hexdigest()] for file in kept]
    return _digest(hashes).hexdigest()


def _digest(value: Any) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

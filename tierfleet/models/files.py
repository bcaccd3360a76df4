"""Model files on disk, named the way they will be keyed: `<tenant>/<version>.ubj`, `.json` or `.tar.gz`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tierfleet.runtime.names import WORD_PATTERN

_SUFFIXES = (".tar.gz", ".ubj", ".json")


@dataclass(frozen=True)
class ModelFile:
    """One version of one tenant's model."""

    tenant: str
    version: str
    file: Path

    @property
    def packaged(self) -> bool:
        """Whether it is an artefact already, ready to upload."""
        return self.file.name.endswith(".tar.gz")


def find_models(path: Path) -> list[ModelFile]:
    """The models of a directory `<path>/<tenant>/<version>.<suffix>`, or the one file, in name order.

    Raises ValueError where there is none, and with every misnamed folder.
    """
    files = sorted(_candidates(path))
    if misnamed := [file for file in files if not re.fullmatch(WORD_PATTERN, file.parent.name)]:
        names = ", ".join(str(file) for file in misnamed)
        raise ValueError(f"{names}: the folder must be the tenant's id ({WORD_PATTERN}); rename it")
    if not files:
        raise ValueError(f"{path} holds no models; expected <tenant>/<version> with {', '.join(_SUFFIXES)}")
    return [ModelFile(file.parent.name, _version(file), file) for file in files]


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_file():
        path = path.resolve()
        yield path
        return
    for suffix in _SUFFIXES:
        yield from path.glob(f"*/*{suffix}")


def _version(file: Path) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if file.name.endswith(suffix)), "")
    if not suffix:
        raise ValueError(f"{file}: a model is {', '.join(_SUFFIXES)}; save it with Booster.save_model")
    return file.name.removesuffix(suffix)

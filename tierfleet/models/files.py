"""Model files on disk, named the way they will be keyed: `<tenant>/<version>.ubj`, `.json` or `.tar.gz`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tierfleet.runtime.names import WORD_PATTERN

SUFFIXES = (".tar.gz", ".ubj", ".json")


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
    models = every_model([path])
    if misnamed := [model.file for model in models if not re.fullmatch(WORD_PATTERN, model.tenant)]:
        names = ", ".join(str(file) for file in misnamed)
        raise ValueError(f"{names}: the folder must be the tenant's id ({WORD_PATTERN}); rename it")
    return models


def every_model(paths: Sequence[Path]) -> list[ModelFile]:
    """The models of several directories or files, whatever their folders are called; each file once, in name order.

    Raises ValueError for a path that is not there or has none.
    """
    found: dict[Path, ModelFile] = {}
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; give a model file or a directory of <tenant>/<version>")
        files = sorted(_candidates(path))
        if not files:
            raise ValueError(f"{path} holds no models; expected <tenant>/<version> with {', '.join(SUFFIXES)}")
        for file in files:
            found.setdefault(file.resolve(), ModelFile(file.parent.name, _version(file), file))
    return list(found.values())


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path if path.parent.name else path.resolve()
        return
    for suffix in SUFFIXES:
        yield from path.glob(f"*/*{suffix}")


def _version(file: Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), "")
    if not suffix:
        raise ValueError(f"{file}: a model is {', '.join(SUFFIXES)}; save it with Booster.save_model")
    return file.name.removesuffix(suffix)

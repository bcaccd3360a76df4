"""Model files on disk, named the way they will be keyed: `<tenant>/<version>.ubj`, `.json` or `.tar.gz`."""

import errno
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

    @property
    def target_model(self) -> str:
        """The key below `models/` that it gets, `<tenant>/<version>.tar.gz`."""
        return f"{self.tenant}/{self.version}.tar.gz"

    def read(self) -> bytes:
        """The file's bytes. Raises OSError, also for what is no plain file: a read of a pipe would wait for ever."""
        check_plain(self.file)
        return self.file.read_bytes()


def check_plain(file: Path) -> None:
    """Raises OSError if the path is missing, or is a directory, a pipe, a socket or a device."""
    file.stat()
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory; give a model file", str(file))
    if not file.is_file():
        raise OSError(errno.EINVAL, f"it {_NOT_PLAIN}", str(file))


_NOT_PLAIN = "is a pipe, a socket or a device; save the model to a plain file"


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
    models: dict[Path, ModelFile] = {}
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist; give a model file or a directory of <tenant>/<version>")
        files = sorted(_candidates(path))
        if not files:
            raise ValueError(f"{path} holds no models; expected <tenant>/<version> with {', '.join(SUFFIXES)}")
        for file in files:
            models.setdefault(file.resolve(), ModelFile(file.parent.name, _version(file), file))
    return list(models.values())


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not taken for a model; `why` is what it is and what to do, as the rest of a sentence."""

    file: Path
    why: str


def skipped_files(paths: Sequence[Path]) -> list[SkippedFile]:
    """The files below directories that look like models, or could be meant as one, and are not taken, in name order.

    Hidden files and texts, tables, scripts and pictures are left alone, unless they hold a model.
    """
    skipped = []
    for path in paths:
        if not path.is_dir():
            continue
        taken = {file.resolve() for file in _candidates(path)}
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path)
            if file.is_dir() or any(part.startswith(".") for part in inside.parts) or file.resolve() in taken:
                continue
            why = _why_not(file, len(inside.parts))
            if why is not None:
                skipped.append(SkippedFile(file, why))
    return skipped


def _why_not(file: Path, depth: int) -> str | None:
    if file.exists() and not file.is_file():
        return _NOT_PLAIN
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    what, form = _recognised(head)
    name, suffix = file.name.lower(), file.suffix.lower()
    is_model = form is not None or name.endswith((*SUFFIXES, ".tgz"))
    if what is not None and not name.endswith((*SUFFIXES, ".tgz")):
        return what
    if name.endswith(SUFFIXES) and file.name.endswith(SUFFIXES) and depth != 2:
        lies = "is one folder too deep" if depth > 2 else "is next to the tenants' folders"
        folder = file.resolve().parent.name
        itself = f", or give {file} itself if {folder} is its tenant" if depth < 2 and folder else ""
        return f"{lies}; move it to <tenant>/<version>{next(end for end in SUFFIXES if name.endswith(end))}{itself}"
    if is_model:
        ending = (
            ".tar.gz"
            if name.endswith(".tgz")
            else suffix
            if name.endswith(SUFFIXES)
            else _ENDING_OF.get(form or "", "")
        )
        called = {"ubj": "a UBJ model", "json": "a JSON model", "binary": "a model in XGBoost's old binary format"}
        kind = called.get(form or "", "an archive")
        return f"is {kind} under another ending; name it <tenant>/<version>{ending}"
    if suffix in _PICKLES:
        return "is named like a pickle, which runs code when it is loaded; save it with Booster.save_model('model.ubj')"
    if suffix in _NO_MODELS or name in ("readme", "license", "makefile"):
        return None
    return "is not a known kind of model; save models with Booster.save_model('model.ubj')"


def _recognised(head: bytes) -> tuple[str | None, str | None]:
    """What a foreign file is, or else which of XGBoost's formats; needs the extra `models`, else (None, None)."""
    try:
        from tierfleet_server.publishing.foreign import foreign_format, model_format
    except ImportError:
        return None, None
    what = foreign_format(head) if head.strip() else None
    return what, None if what else model_format(head)


_ENDING_OF = {"ubj": ".ubj", "json": ".json", "binary": ".ubj"}
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".sav")
_NO_MODELS = (
    ".txt", ".md", ".rst", ".csv", ".tsv", ".parquet", ".log", ".py", ".ipynb", ".sh", ".sql", ".toml", ".yaml",
    ".yml", ".ini", ".cfg", ".html", ".pdf", ".png", ".jpg", ".svg", ".sha256", ".md5",
)  # fmt: skip


def _candidates(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path if path.parent.name else path.resolve()
        return
    for suffix in SUFFIXES:
        yield from (file for file in path.glob(f"*/*{suffix}") if not file.parent.name.startswith("."))


def _version(file: Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if file.name.endswith(suffix)), "")
    if not suffix:
        why = _why_not(file, 2) or f"has another ending than {', '.join(SUFFIXES)}; save it with Booster.save_model"
        raise ValueError(f"{file} {why}")
    return file.name.removesuffix(suffix)

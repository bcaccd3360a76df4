"""From a model file to the artefact that is published."""

import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from tierfleet.models import sources
from tierfleet.models.archives import found_in
from tierfleet.models.files import ModelFile

if TYPE_CHECKING:
    from tierfleet_server.model.artefact import Metadata
    from tierfleet_server.publishing.rounds import Rounds
    from tierfleet_server.publishing.served_model import Forest

    from tierfleet.models.target import Target

_METADATA_FOLDER = ".tierfleet"


@dataclass(frozen=True)
class PackageOptions:
    """What a user asks of packaging.

    missing: the number that meant a missing value in training. libsvm_base: 1 if callers count columns from 1.
    forest: put a flat forest next to the model, or alone in its place, if it gives the same scores; "auto": alone for
    the dense server, none for AWS's image. contributions: the forest can explain its scores, which doubles it.
    """

    rounds: "Rounds" = "auto"
    missing: float | None = None
    libsvm_base: int = 0
    preprocessing: dict[str, Any] = field(default_factory=dict)
    forest: "Forest | Literal['auto']" = "auto"
    contributions: bool = False


@dataclass(frozen=True)
class Package:
    """An artefact, and what was done to make it and what to know of it, in sentences.

    source: the file that it was made from, where a flat forest is all that the artefact holds.
    """

    archive: bytes
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    source: bytes = b""


def package_file(model: ModelFile) -> bytes:
    """The tar.gz of a model file for the dense server; raises ValueError like `package`."""
    return package(model).archive


def package(
    model: ModelFile, target: "Target | None" = None, options: PackageOptions | None = None, *, verify: bool = True
) -> Package:
    """The tar.gz of a model file for an image, by default the dense server.

    An artefact that was packaged before is taken as it is; so is one that holds a bare model, if the image reads that
    exactly, or a bare flat forest. verify: compare scores, which validation has done already. Raises ValueError with
    one sentence for a model that must not be served.
    """
    # Needs XGBoost: the extra "models".
    from tierfleet_server.model.flat_forest import is_forest
    from tierfleet_server.model.refusal import BadModel
    from tierfleet_server.publishing.packaging import forest_alone, metadata_of, pack_served
    from tierfleet_server.publishing.served_model import served_model

    from tierfleet.models.target import DENSE

    content, chosen, asked = model.read(), target or DENSE, options or PackageOptions()
    # An archive that a user made is changed only on request.
    forest: Forest = asked.forest if asked.forest != "auto" else "none" if model.packaged else chosen.forest
    bare = bare_model(content) if model.packaged else content
    bare_forest = model.packaged and bare is not None and is_forest(bare[:8])
    if bare_forest and chosen.stock:
        raise ValueError(f"{model.file}: AWS's image reads no flat forests; package the file that training wrote")
    if bare is None or bare_forest:
        before = "holds a flat forest" if bare_forest else "was packaged before"
        stays = f"{before} and stays as it is; package the file that training wrote"
        if others := _other_steps(content, asked):
            raise ValueError(f"{model.file}: {stays} to give it another {' and '.join(others)}")
        given = asked.contributions or asked.forest in ("beside", "alone") or asked.rounds != "auto"
        return Package(content, warnings=(stays,) if given else (), source=sources.beside(model.file, content))
    try:
        served = served_model(
            bare,
            reader=chosen.reader,
            stock=chosen.stock,
            rounds=asked.rounds,
            verify=verify,
            forest=forest,
            contributions=asked.contributions,
        )
        if forest == "alone":
            served = forest_alone(served, stock=chosen.stock)
        if model.packaged and served.data == bare and not served.forest and asked == PackageOptions():
            return Package(content, tuple(served.notes), tuple(served.warnings))
        metadata = metadata_of(
            served,
            stock=chosen.stock,
            missing=asked.missing,
            libsvm_base=asked.libsvm_base,
            preprocessing=asked.preprocessing,
        )
        archive = pack_served(served, metadata)
        source = bare if is_forest(served.data) else b""
        return Package(archive, tuple(served.notes), tuple(served.warnings), source)
    except BadModel as error:
        raise ValueError(f"{model.file}: {error}") from error


def _other_steps(archive: bytes, asked: PackageOptions) -> list[str]:
    """What was asked for the rows and is not in the metadata of an artefact."""
    wanted = {"missing": asked.missing, "libsvm_base": asked.libsvm_base, "preprocessing": asked.preprocessing}
    given = [name for name, value in wanted.items() if value != getattr(PackageOptions(), name)]
    recorded = found_in(archive, _metadata) if given else None
    return [name for name in given if recorded is None or getattr(recorded, name) != wanted[name]]


def _metadata(packed: tarfile.TarFile) -> "Metadata | None":
    from tierfleet_server.model.artefact import METADATA, Metadata
    from tierfleet_server.model.refusal import BadModel

    content = packed.extractfile(str(METADATA))
    try:
        return Metadata.from_json(content.read()) if content is not None else None
    except BadModel:
        return None


def bare_model(archive: bytes) -> bytes | None:
    """The model of an artefact that was not packaged by tierfleet; None if it was, or holds anything else too."""
    return found_in(archive, _only_file)


def _only_file(packed: tarfile.TarFile) -> bytes | None:
    from tierfleet_server.model.archive import MAX_UNPACKED_BYTES

    members = packed.getmembers()
    files = [member for member in members if member.isreg()]
    if any(PurePosixPath(member.name).parts[:1] == (_METADATA_FOLDER,) for member in members):
        return None
    if len(files) != 1 or len(members) > 2 or files[0].size > MAX_UNPACKED_BYTES:
        return None
    content = packed.extractfile(files[0])
    return content.read() if content is not None else None

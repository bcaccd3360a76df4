"""The tar.gz that an artefact travels in: packed the same way every time, unpacked without trusting it."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from .artefact import METADATA
from .refusal import BadModel, shown

# Chosen by measurement (benchmarks/model_server.py, "fetch to first reply"): see docs/adr/0013.
GZIP_LEVEL = 1
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_FILES = 16
_BLOCK_BYTES = 1 << 20
_METADATA_IN_TAR = PurePosixPath(METADATA)


def pack(files: dict[str, bytes], *, gzip_level: int = GZIP_LEVEL) -> bytes:
    """A tar.gz of files by path; the same bytes for the same files, whoever packs them and when."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=gzip_level, mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(packed: Path, directory: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Extract an artefact into a new directory; raises BadModel and leaves no directory if it is not one.

    Only regular files at the root and our metadata are allowed: no link, device, `..`, nor over `max_bytes`.
    """
    directory.mkdir(parents=True)
    try:
        with gzip.open(packed) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                _extract(archive, directory, max_bytes)
            # Tar ends before gzip does; only gzip's end tells whether all of it came, and came right.
            for _ in range(max_bytes // _BLOCK_BYTES + 1):
                if not stream.read(_BLOCK_BYTES):
                    return
            raise BadModel(f"the artefact unpacks to more than {max_bytes} bytes")
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        _remove(directory)
        raise BadModel(f"the artefact is truncated or no tar.gz ({error}); publish it again") from None
    except BaseException:
        _remove(directory)
        raise


def _extract(archive: tarfile.TarFile, directory: Path, max_bytes: int) -> None:
    total = files = 0
    for member in archive:
        path = PurePosixPath(member.name)
        if member.isdir() and path.parts in ((), (METADATA.parts[0],)):
            continue
        files += 1
        total += member.size
        if not member.isreg() or member.issparse():
            raise BadModel(f"the artefact holds {shown(member.name)}, which is not a regular file")
        if path.is_absolute() or ".." in path.parts or (len(path.parts) != 1 and path != _METADATA_IN_TAR):
            raise BadModel(
                f"the artefact holds {shown(member.name)}; only one model file at the root and "
                f"{METADATA} are allowed; for code use an inference pipeline (docs/container.md)"
            )
        if files > MAX_FILES or total > max_bytes:
            raise BadModel(f"the artefact unpacks to more than {MAX_FILES} files or {max_bytes} bytes")
        source = archive.extractfile(member)
        target = directory / path
        target.parent.mkdir(exist_ok=True)
        if source is None or target.exists():
            raise BadModel(f"the artefact holds {shown(member.name)} twice")
        with source, target.open("xb") as file:
            while block := source.read(_BLOCK_BYTES):
                file.write(block)


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    directory.rmdir()

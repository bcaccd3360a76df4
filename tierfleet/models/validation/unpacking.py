"""An artefact unpacked without trusting it, and everything that is wrong with it: a server stops at the first."""

import gzip
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from tierfleet_server.model.archive import MAX_FILES
from tierfleet_server.model.artefact import FOREST, METADATA

from tierfleet.models.validation.findings import Finding

_BLOCK_BYTES: Final = 1 << 20
# Headers and padding between two files; tar programs end an archive with some 10 kB of zeros.
_MAX_OVERHEAD_BYTES: Final = 2 * _BLOCK_BYTES
_OURS: Final = (PurePosixPath(METADATA), PurePosixPath(FOREST))
# A folder costs 512 bytes unpacked and almost none packed.
_MAX_FOLDERS: Final = 1000
_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.DIRTYPE: "a directory",
}


class _OverheadError(Exception):
    """More bytes between two files than headers need."""


def unpack_with_findings(packed: Path, directory: Path, *, max_bytes: int) -> list[Finding]:
    """Extract into a new directory what may be in an artefact, and say what else the archive holds.

    Allowed: regular files at the root, and the metadata. Reads no more than `max_bytes` of files and 2 MiB of anything
    else, so that a decompression bomb costs no more than a model.
    """
    directory.mkdir(parents=True)
    findings: list[Finding] = []
    try:
        with gzip.open(packed) as stream:
            bounded = _Bounded(stream)
            bounded.allow(_MAX_OVERHEAD_BYTES)
            with tarfile.open(fileobj=cast(Any, bounded), mode="r|") as archive:
                if not _extract(archive, bounded, directory, max_bytes, findings):
                    return findings
            bounded.allow(_MAX_OVERHEAD_BYTES)
            while bounded.read(_BLOCK_BYTES):
                pass
    except _OverheadError:
        findings.append(
            _error(
                f"unpacks to more than {_MAX_OVERHEAD_BYTES >> 20} MiB beyond its files, as a decompression bomb does"
            )
        )
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        findings.append(_error(f"is truncated or not a tar.gz ({error}); package the model again"))
    return findings


class _Bounded:
    """A stream with a limited number of readable bytes until the next `allow`."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, 0

    def allow(self, size_bytes: int) -> None:
        self._left = size_bytes

    def read(self, size_bytes: int) -> bytes:
        block = self._stream.read(size_bytes)
        self._left -= len(block)
        if self._left < 0:
            raise _OverheadError
        return block


def _extract(
    archive: tarfile.TarFile, bounded: _Bounded, directory: Path, max_bytes: int, findings: list[Finding]
) -> bool:
    """Whether the archive was read to its end."""
    total = files = folders = 0
    seen: set[PurePosixPath] = set()
    while True:
        bounded.allow(_MAX_OVERHEAD_BYTES)
        member = archive.next()
        # A file that is skipped must not stay in memory with its headers, and nothing looks back.
        cast(Any, archive).members.clear()
        if member is None:
            return True
        path = PurePosixPath(member.name)
        if member.isdir() and path.parts in ((), (METADATA.parts[0],)):
            folders += 1
            if folders <= _MAX_FOLDERS:
                continue
            findings.append(_error(f"names its folders more than {_MAX_FOLDERS} times"))
            return False
        files += 1
        if member.size < 0:  # a pax header or a base-256 field may say so
            findings.append(_error(f"says that {member.name!r:.80} has {member.size} bytes"))
            return False
        total += member.size
        if files > MAX_FILES:
            findings.append(_error(f"holds more than {MAX_FILES} files; a model is one file"))
            return False
        if total > max_bytes:
            findings.append(_error(f"unpacks to more than {max_bytes} bytes ({member.name!r:.80} ends at {total})"))
            return False
        problem = _problem(member, path, seen)
        seen.add(path)
        if problem:
            findings.append(_error(problem))
        source = archive.extractfile(member) if member.isreg() else None
        if source is None:
            continue
        bounded.allow(member.size + _MAX_OVERHEAD_BYTES)
        target = directory / path if not problem else Path("/dev/null")
        target.parent.mkdir(exist_ok=True)
        with source, target.open("wb") as file:
            while block := source.read(_BLOCK_BYTES):
                file.write(block)


def _problem(member: tarfile.TarInfo, path: PurePosixPath, seen: set[PurePosixPath]) -> str | None:
    name = f"{member.name!r:.80}"
    if path.is_absolute() or ".." in path.parts:
        return f"holds {name}, which leads out of the folder it is unpacked into"
    if not member.isreg() or member.issparse():
        return f"holds {name}, which is {_KINDS.get(member.type, 'not a regular file')}; only regular files are allowed"
    if len(path.parts) != 1 and path not in _OURS:
        return (
            f"holds {name}; only one model file at the root, {METADATA} and {FOREST} are allowed; for code use an "
            "inference pipeline (docs/container.md)"
        )
    return f"holds {name} twice" if path in seen else None


def _error(message: str) -> Finding:
    return Finding("error", "archive", f"the artefact {message}")

"""Fleet files of a commit and of now, copied for a comparison."""

import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A file of the fleet's directory by its name; None where there is none.
Read = Callable[[str], bytes | None]


class GitVersionsError(ValueError):
    """A file or commit that cannot be compared; the message says which and what to do."""


@dataclass(frozen=True)
class Versions:
    """Copies of one fleet file, as in a commit and as it is now; None where there is none.

    origins: where each folder of copies comes from, in git's words, such as HEAD:config/ and config/.
    """

    name: str
    before: Path | None
    after: Path | None
    origins: Mapping[Path, str]


def with_origins(text: str, versions: Sequence[Versions]) -> str:
    """The text, with each copy's name replaced by the commit and path it was copied from."""
    for version in versions:
        for folder, origin in version.origins.items():
            text = text.replace(f"{folder}/", origin)
    return text


def changed_versions(path: Path, against: str, folder: Path) -> list[Versions]:
    """The fleet files that differ from the commit `against`, copied to `folder`/before and `folder`/after.

    path: a fleet file, or a directory of them, including files that only the commit has. A file differs when its
    bytes differ, or the bytes of a tenant list that it names. Raises GitVersionsError for a name unknown to git.
    """
    directory = path if path.is_dir() else path.parent
    _check(directory, against)
    within = _git(directory, "rev-parse", "--show-prefix").stdout.decode().rstrip("\n")
    here = "" if directory == Path() else f"{directory}/"
    origins = {folder / "before": f"{against}:{within}", folder / "after": here}

    def committed(name: str) -> bytes | None:
        shown = _git(directory, "show", f"{against}:./{name}")
        return None if shown.returncode else shown.stdout

    def present(name: str) -> bytes | None:
        file = directory / name
        return file.read_bytes() if file.is_file() else None

    versions = []
    for name in _names(path, against) if path.is_dir() else [path.name]:
        old, new = _with_lists(name, committed), _with_lists(name, present)
        if not old and not new:
            raise GitVersionsError(f"{path} exists neither here nor in {against}; check the path")
        if old != new:
            copies = [_copied(files, folder / when) for when, files in (("before", old), ("after", new))]
            before, after = (copy and copy / name for copy in copies)
            versions.append(Versions(name.removesuffix(".toml"), before, after, origins))
    return versions


def _check(directory: Path, against: str) -> None:
    if not directory.is_dir():
        raise GitVersionsError(f"there is no directory {directory}; check the path")
    try:
        repository = _git(directory, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        raise GitVersionsError("git is not installed; install it, or give two versions to compare") from None
    if repository.returncode:
        raise GitVersionsError(f"{directory.resolve()} is not in a git repository; give two versions to compare")
    # A name that begins with a dash would be an option.
    if (
        against.startswith("-")
        or _git(directory, "rev-parse", "--quiet", "--verify", f"{against}^{{commit}}").returncode
    ):
        raise GitVersionsError(f"git has no commit {against!r}; give a commit, a branch or a tag with --against")


def _names(directory: Path, against: str) -> list[str]:
    listed = _git(directory, "ls-tree", "-z", "--name-only", against, "./").stdout.decode().split("\0")
    here = (file.name for file in directory.glob("*.toml"))
    return sorted({Path(name).name for name in listed if name.endswith(".toml")} | set(here))


def _with_lists(name: str, read: Read) -> dict[str, bytes]:
    """The bytes of a fleet file and of the lists of tenants that it names, by file name; empty where it is absent."""
    content = read(name)
    if content is None:
        return {}
    files = {name: content}
    for listed in _tenants_files(content):
        if Path(listed).name == listed and (content_of_list := read(listed)) is not None:
            files[listed] = content_of_list
    return files


def _tenants_files(content: bytes) -> Iterable[str]:
    try:
        tiers = tomllib.loads(content.decode()).get("tiers", {})
    except (ValueError, RecursionError):
        return  # whoever loads it says what is wrong
    for tier in tiers.values() if isinstance(tiers, dict) else ():
        warm_up = tier.get("warm_up") if isinstance(tier, dict) else None
        if isinstance(warm_up, dict) and isinstance(warm_up.get("tenants_file"), str):
            yield warm_up["tenants_file"]


def _copied(files: dict[str, bytes], folder: Path) -> Path | None:
    if not files:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _git(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=directory, capture_output=True, check=False)  # noqa: S607

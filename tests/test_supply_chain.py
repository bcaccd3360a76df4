"""What is built and run from elsewhere is named by its content, and the audit covers all of it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def test_every_action_is_named_by_its_commit() -> None:
    used = [line for file in WORKFLOWS for line in file.read_text().splitlines() if re.search(r"\buses:", line)]
    assert len(used) >= 8
    for line in used:
        pinned = r"\s*(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
        assert re.fullmatch(pinned, line), f"{line.strip()}: use a full commit hash, and its version as a comment"


def test_one_action_has_one_version() -> None:
    text = "".join(file.read_text() for file in WORKFLOWS)
    versions: dict[str, set[str]] = {}
    for action, version in re.findall(r"uses: (\S+)@(.+)", text):
        versions.setdefault(action, set()).add(version)
    assert all(len(pins) == 1 for pins in versions.values()), versions


def test_no_workflow_runs_what_it_downloads_or_may_write_by_default() -> None:
    for file in WORKFLOWS:
        text = file.read_text()
        assert not re.search(r"(curl|wget)[^\n]*\|\s*(ba)?sh|docker://|pull_request_target", text), file
        assert re.search(r"(?m)^permissions:\n  contents: read$", text), file


def test_every_file_of_pins_is_audited() -> None:
    """A direct dependency that constraints.txt does not name would not be audited."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--requirement constraints.txt" in makefile
    assert "--require-hashes --requirement container/requirements.txt" in makefile
    constrained = {_name(line) for line in _pins(ROOT / "constraints.txt")}
    for file in ROOT.glob("requirements*.txt"):
        if file.name in ("requirements-supply-chain.txt", "requirements-security.txt"):
            continue  # a separate tool, part of no release
        missing = {_name(line) for line in _pins(file)} - constrained
        assert not missing, f"{file.name}: add {sorted(missing)} to constraints.txt"


def test_every_pin_is_exact() -> None:
    for file in (*ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"):
        for line in _pins(file):
            assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^*,;\s]+( *;.*)?$", line), f"{file.name}: {line}"


def _pins(file: Path) -> list[str]:
    lines = [line.split(" #")[0].strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _name(line: str) -> str:
    return re.split(r"[\[=<>;~ ]", line, maxsplit=1)[0].lower().replace("_", "-")

"""README.md and two pages, run word by word in a clean clone: the commands, and the output that is shown."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_cloud import NotRunningError, running
from local_cloud.testing.fleets import ROOT

PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "five-models.md"]
# What the tests themselves run in, and what would run them again.
ELSEWHERE = {"make install", "source .venv/bin/activate"}
NEEDS_AN_ACCOUNT = "needs an account"
# Each of these asks AWS. A new one on a page must be listed here.
ACCOUNT_COMMANDS = {
    "README.md": [
        "tierfleet preflight config/fraud-prod.toml",
        "node_modules/.bin/cdk deploy fraud-prod/Models",
        "tierfleet models publish config/fraud-prod.toml models",
        "node_modules/.bin/cdk deploy fraud-prod/Fleet",
    ],
    "tutorial.md": [],
    "five-models.md": [],
}
# What pip would give today is only asked with --pip. Without it, what the page's own words trained there is taken.
INSTALLS, TRAINS = "installs packages", "trains with what was installed"
TRAINED = ROOT / "tests" / "model_cases" / "five-models"
_BLOCK = re.compile(r"(?:^<!-- ([^\n]+) -->\n)?^```(sh|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page: `sh` is run, `text` is what the block before it prints; `...` leaves lines out."""

    note: str
    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(note or "", kind, text) for note, kind, text in _BLOCK.findall(page.read_text())]


def uncommented(text: str) -> list[str]:
    return [line for line in (re.split(r"\s+# ", line)[0].strip() for line in text.splitlines()) if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_commands_is_one_that_is_run(page: Path) -> None:
    """A block of another kind, or an indented one, would be skipped silently."""
    rest = _BLOCK.sub("", page.read_text())
    assert set(re.findall(r"^```(\w+)", rest, re.MULTILINE)) <= {"toml", "json", "python"}
    assert re.findall(r"^(?: {4}|\$ )(?:tierfleet|make|pip|cdk|git|source) .*", rest, re.MULTILINE) == []


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of this clone as git knows them, committed into a repository of their own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    directory = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    author = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    for arguments in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_runs(
    page: Path, clone: Path, no_credentials: None, request: pytest.FixtureRequest
) -> None:
    with_pip = request.config.getoption("--pip")
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    env.pop("COLUMNS", None)
    printed, account = "", []
    try:
        for block in blocks(page):
            if block.kind == "text":
                assert_shown(block.text, printed)
                continue
            commands = uncommented(block.text)
            if block.note == NEEDS_AN_ACCOUNT:
                account += commands
                continue
            if set(commands) <= ELSEWHERE:
                continue
            if block.note == INSTALLS and not with_pip:
                this_python(clone / "training" / "bin" / "python")
                continue
            if block.note == TRAINS and not with_pip:
                shutil.copytree(TRAINED, clone, dirs_exist_ok=True, ignore=shutil.ignore_patterns("trained.json"))
                continue
            expected = re.fullmatch(r"ends with (\d+)", block.note)
            script = "set -e\n" + block.text
            done = subprocess.run(
                ["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == (int(expected[1]) if expected else 0), f"{block.text}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr
            printed = done.stdout
            if block.note == TRAINS and request.config.getoption("--update-snapshots"):
                keep_trained(clone, block)
            if "booster.predict" in block.text:
                lines = printed.splitlines()
                assert lines[-1] == lines[0], "the score of the endpoint is XGBoost's own, to the last digit"
    finally:
        stop(clone)
    assert account == ACCOUNT_COMMANDS[page.name]
    assert not (clone / ".local-cloud").exists(), "the page leaves the local emulator running"


def test_what_is_kept_was_trained_by_the_words_of_the_page() -> None:
    """If the block changes: pytest tests/local_cloud/test_pages_run.py -k five --pip --update-snapshots, on 3.12."""
    [block] = [block for block in blocks(ROOT / "docs" / "five-models.md") if block.note == TRAINS]
    by = json.loads((TRAINED / "trained.json").read_text())
    assert by["block_sha256"] == digest(block)
    assert tuple(map(int, by["xgboost"].split("."))) >= (3, 4)


def digest(block: Block) -> str:
    return hashlib.sha256(block.text.encode()).hexdigest()


def keep_trained(clone: Path, block: Block) -> None:
    """What the block made, with the versions that made it, for the runs without pip."""
    shutil.rmtree(TRAINED, ignore_errors=True)
    for name in ("own", "expected"):
        shutil.copytree(clone / name, TRAINED / name)
    shutil.copy(clone / "garage.json", TRAINED)
    code = (
        "import json, pandas, sklearn, xgboost\nprint(json.dumps([m.__version__ for m in (xgboost, sklearn, pandas)]))"
    )
    python = clone / "training" / "bin" / "python"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    versions = dict(zip(("xgboost", "scikit-learn", "pandas"), json.loads(told.stdout), strict=True))
    trained = {"block_sha256": digest(block), **versions}
    (TRAINED / "trained.json").write_text(json.dumps(trained, indent=1) + "\n")


def this_python(file: Path) -> None:
    """A command that is the interpreter of the tests; a link would lose its packages."""
    file.parent.mkdir(parents=True)
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    file.chmod(0o755)


def assert_shown(text: str, printed: str) -> None:
    """Every line of the page is printed, in this order; between `...` and the next line there may be others."""
    lines = iter(printed.splitlines())
    for line in text.splitlines():
        if line.strip() not in ("...", ""):
            assert any(candidate == line for candidate in lines), f"not printed, or not in this order: {line}"


def stop(directory: Path) -> None:
    try:
        running(directory / ".local-cloud").stop()
    except NotRunningError:
        return

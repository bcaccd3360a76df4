"""The package where its compiled part is missing, and its wheel."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "container" / "tierfleet_forest"
_WITHOUT = """
import sys
sys.modules["tierfleet_forest._forest"] = None
import tierfleet_forest
assert not tierfleet_forest.available
print(tierfleet_forest.unavailable_reason)
for load, argument in ((tierfleet_forest.load, "model.forest"), (tierfleet_forest.loads, b"12")):
    try:
        load(argument)
    except tierfleet_forest.ForestError as error:
        print(error)
"""


def test_without_the_compiled_part_it_says_so() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT], env={"PYTHONPATH": str(PACKAGE.parent)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    reason, path, data = run.stdout.splitlines()
    assert "build it with a C compiler" in reason
    assert path == (
        "model.forest cannot be read: the compiled part of tierfleet_forest is missing; see unavailable_reason"
    )
    assert data.startswith("a forest of 2 bytes cannot be read")


def test_every_build_compiles_the_same() -> None:
    """The project, the package on its own and the image: one list of sources, and flags that keep sums exact."""
    projects = [tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (ROOT, PACKAGE)]
    extensions = [project["tool"]["setuptools"]["ext-modules"] for project in projects]
    assert [len(modules) for modules in extensions] == [1, 1]
    (whole,), (alone,) = extensions
    for name in ("sources", "depends"):
        assert [Path(file).name for file in whole[name]] == alone[name]
        assert all((PACKAGE / file).is_file() for file in alone[name])
    assert {key: whole[key] for key in whole.keys() - {"sources", "depends"}} == {
        key: alone[key] for key in alone.keys() - {"sources", "depends"}
    }
    assert whole["optional"] is whole["py-limited-api"] is True
    dockerfile = (ROOT / "container" / "Dockerfile").read_text()
    for word in (*whole["extra-compile-args"], *alone["sources"], "-lm", "_forest.abi3.so"):
        assert word in dockerfile
    assert {file.name for file in PACKAGE.glob("*.[ch]")} == {*alone["sources"], *alone["depends"]}

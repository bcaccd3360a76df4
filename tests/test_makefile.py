"""Every make target names files and modules that exist: a moved test would otherwise silently not run."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from local_cloud.testing.fleets import ROOT

TARGETS = re.findall(r"^([a-z][a-z0-9-]*):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_runs_exists(target: str) -> None:
    # --assume-old: how the environment is installed is not the question.
    printed = subprocess.run(
        ["make", "--dry-run", "--assume-old=install", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    files = re.findall(r"(?<=\s)(?:tests|tools|benchmarks|local_cloud)/[\w./-]*\.py", printed)
    assert [file for file in files if not (ROOT / file).is_file()] == []
    modules = re.findall(r"python -m ((?:benchmarks|tests|tools)[\w.]*)", printed)
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_what_a_target_runs_can_import_what_it_needs() -> None:
    """From the root, with the target's own PYTHONPATH, as make runs it; pytest's path has more folders."""
    recipes = set(
        re.findall(r"(?:PYTHONPATH=(\S+) )?\$\(BIN\)/python (-m [\w.]+|\S+\.py)", (ROOT / "Makefile").read_text())
    )
    failures = []
    for path in {path for path, _ in recipes}:
        here = [what for of, what in recipes if of == path and what != "-m pip"]
        modules = [what.removeprefix("-m ") for what in here if what.startswith("-m ")]
        code = f"""
import importlib.util, runpy, sys
for script in {sorted(set(here) - {f"-m {name}" for name in modules})}:
    sys.path[0] = script.rpartition("/")[0]
    runpy.run_path(script, run_name="imported")
sys.path[0] = ""
for name in {sorted(modules)}:
    spec = importlib.util.find_spec(name)
    importlib.import_module(f"{{name}}.__main__" if spec.submodule_search_locations else name)
"""
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        failures += [done.stderr] * bool(done.returncode)
    assert failures == []


def test_the_moves_are_tested_with_either_early_start() -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "--assume-old=install", "test-early-start"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    runs = [line for line in printed.splitlines() if "--early-start" in line]
    assert [line.count("tests/local_cloud/") for line in runs] == [5, 5]


def test_the_files_that_make_test_begins_with_exist() -> None:
    listed = (ROOT / "tests" / "conftest.py").read_text().partition("_LONG_FILES = (")[2].partition("\n)")[0]
    names = re.findall(r'"(.+)"', listed)
    assert names
    assert [name for name in names if not (ROOT / "tests" / name).is_file()] == []

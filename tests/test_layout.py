"""The folders are small enough to read, and every package is checked: its layers, its circles, its types."""

import configparser
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

from local_cloud.testing.fleets import ROOT

MOST_MODULES = 20
PRODUCT = ("tierfleet", "local_cloud", "constructs_lib", "stacks", "container")
# Tests prove themselves by running; examples are for readers without mypy.
UNTYPED = ("tests", "examples")


def modules() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.splitlines() if (ROOT / name).exists()]


def test_no_folder_has_more_modules_than_the_house_rules_allow() -> None:
    counts = Counter(str(module.parent) for module in modules())
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_every_package_of_the_product_is_checked_for_layers_and_circles() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    packages = {
        module.parent.name
        for module in modules()
        if module.name == "__init__.py" and module.parts[0] in PRODUCT and not _is_nested(module)
    }
    assert set(contracts["importlinter"]["root_packages"].split()) == packages
    assert set(contracts["importlinter:contract:circles"]["ancestors"].split()) == packages


def test_mypy_reads_every_module() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    read = tuple(Path(name) for name in settings["files"])
    unread = [module for module in modules() if module.parts[0] not in UNTYPED]
    assert [str(module) for module in unread if not any(module.is_relative_to(folder) for folder in read)] == []


def _is_nested(module: Path) -> bool:
    return (ROOT / module.parent.parent / "__init__.py").exists()

"""The table of what we replace in ministack: complete, checked before anything is replaced, and callable alike."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import local_cloud
from local_cloud import patches
from local_cloud.core import ministack_names, patching
from local_cloud.core.patching import Patch, PatchError


def library(**names: Any) -> Any:
    return SimpleNamespace(__name__="library", **names)


def patch(owner: Any, name: str, was: str, replacement: Any = None) -> Patch:
    return Patch(owner=owner, name=name, was=was, replacement=replacement or (lambda *_: "ours"), why="a test")


def test_ministack_is_the_one_that_we_patch() -> None:
    assert patching.differences(patches.PATCHES, ministack_names.USED) == []


def test_an_upgrade_that_changes_names_fails_with_a_list_and_replaces_nothing() -> None:
    upgraded = library(kept=lambda a: a, changed=lambda a, account: (a, account), table={"Gone": lambda a: a})
    before = dict(vars(upgraded))
    table = [
        patch(upgraded, "kept", "(a)"),
        patch(upgraded, "changed", "(a)"),
        patch(upgraded, "table[Cancel]", "(params)"),
        patch(upgraded, "vanished", "(a)"),
    ]
    with pytest.raises(PatchError) as refused:
        patching.apply(table, {"json": {"dumps": "(obj)"}, "no_such_module": {"name": "dict"}}, "library 2.0")
    message = str(refused.value)
    assert "library 2.0 is not what local_cloud patches" in message
    assert "library.changed is (a, account); it was (a)" in message
    assert "library.table[Cancel] is gone; it was (params)" in message
    assert "library.vanished is gone" in message
    assert "json.dumps is (obj, *, skipkeys=False" in message
    assert "no_such_module.name is gone" in message
    assert "library.kept" not in message
    assert vars(upgraded) == before


def test_patches_are_applied_and_may_be_applied_again() -> None:
    here = library(call=lambda a: a, table={"Cancel": lambda params: params})
    table = [patch(here, "call", "(a)"), patch(here, "table[Cancel]", "(params)")]
    for _ in range(2):
        patching.apply(table, {}, "library 1.0")
    assert (here.call(1), here.table["Cancel"](1)) == ("ours", "ours")


def test_a_renamed_parameter_or_another_default_is_a_difference() -> None:
    """We pass some arguments by name, and some of our replacements rely on a default."""
    here = library(call=lambda tenant, limit=10: (tenant, limit))
    assert patching.differences([patch(here, "call", "(tenant, limit=10)")], {}) == []
    for was in ("(tenant_id, limit=10)", "(tenant, limit=20)", "(tenant)", "dict"):
        assert len(patching.differences([patch(here, "call", was)], {})) == 1


@pytest.mark.parametrize("entry", patches.PATCHES, ids=lambda entry: f"{entry.owner.__name__}.{entry.name}")
def test_a_replacement_takes_what_the_original_takes(entry: Patch) -> None:
    assert entry.why
    if not entry.was.startswith("("):
        return
    # Keyword arguments that ministack passes by position have other names in our code.
    parameters = eval(f"lambda {entry.was[1:-1]}: 0", {"frozenset": frozenset})  # noqa: S307 - from our own table
    kinds = inspect.signature(parameters).parameters.values()
    positional = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD]
    required = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    keywords = {p.name: None for p in kinds if p.kind is p.KEYWORD_ONLY}
    ours = inspect.signature(entry.replacement, follow_wrapped=False)
    ours.bind(*required)
    if entry.name != "_drain_stderr_bounded":  # called with its defaults only
        ours.bind(*positional, **keywords)


def test_every_name_of_ministack_that_the_code_uses_is_in_a_table() -> None:
    replaced = {(entry.owner.__name__, entry.name.partition("[")[0]) for entry in patches.PATCHES}
    used = {(module, name) for module, names in ministack_names.USED.items() for name in names}
    in_code = names_in_code()
    listed = used | replaced
    assert {name for name in in_code if name not in listed} == set()
    assert used - in_code == set(), "listed, and no longer used"


def test_the_process_says_what_an_upgrade_has_changed(tmp_path: Path) -> None:
    """In place of a start: the first line of its output, which `start` makes an error of."""
    program = (
        "from local_cloud import server; from local_cloud.core import ministack_names;"
        "ministack_names.USED['ministack.services.iam'] = {'_roles': '(name)'}; server.main()"
    )
    arguments = ["--state-dir", str(tmp_path), "--account", "111122223333", "--region", "eu-west-1", "--parent", "1"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    message = json.loads(ended.stdout.splitlines()[0])["refused"]
    assert "ministack.services.iam._roles is AccountScopedDict; it was (name)" in message
    assert "Install the version that requirements-local.txt pins" in message


def names_in_code() -> set[tuple[str, str]]:
    """(module, name) of every attribute and function of ministack that local_cloud reads, calls or replaces."""
    names = set()
    for file in Path(local_cloud.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ministack")
            for alias in node.names
        }
        modules = {local for local, (module, name) in imported.items() if is_module(f"{module}.{name}")}
        names |= {imported[local] for local in imported.keys() - modules}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                module, name = imported[node.value.id]
                names.add((f"{module}.{name}", node.attr))
    return names


def is_module(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True

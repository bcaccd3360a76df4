"""docs/reliability.md claims nothing that no test shows."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()


def names_of(pattern: str) -> set[str]:
    """The names of the tests in these files."""
    nodes = (node for file in TESTS.rglob(pattern) for node in ast.parse(file.read_text()).body)
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))

    assert named
    assert named - names_of("test_*.py") == set()


def test_every_line_of_a_table_of_faults_or_moves_names_a_test() -> None:
    tables = re.findall(r"(?m)^\| (?:Move|Fault|While it runs) \|.*\n(?:^\|.*\n)+", PAGE)
    rows = [row for table in tables for row in table.splitlines()[2:]]

    assert len(rows) > 10
    assert [row for row in rows if "`test_" not in row] == []


def test_every_test_of_moves_guardrails_and_faults_is_on_the_page() -> None:
    files = ("serving/test_moves.py", "serving/test_guardrail.py", "serving/test_faults.py")

    assert {name for file in files for name in names_of(file)} - set(re.findall(r"`(test_\w+)`", PAGE)) == set()

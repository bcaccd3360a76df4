"""docs/local-cloud-rules.md lists every rule with its test, and every property without effect."""

import ast
import re
from pathlib import Path

from local_cloud.services.cloudformation.properties import IGNORED

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "local-cloud-rules.md").read_text()


def conformance_tests() -> dict[str, str]:
    """Name of each test that names an AWS page -> that page."""
    pages = {}
    for file in TESTS.rglob("test_*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                page = re.search(r"https://docs\.aws\.amazon\.com/\S+", ast.get_docstring(node) or "")
                if page:
                    pages[node.name] = page[0]
    return pages


def test_every_rule_is_in_the_table_with_its_page() -> None:
    listed = dict(re.findall(r"\| `(test_\w+)` \| \[[^\]]*\]\((\S+)\) \|", PAGE))

    assert listed == conformance_tests()


def test_every_property_without_effect_is_listed_with_its_reason() -> None:
    listed = dict(re.findall(r"\| `(AWS::\S+` `\w+)` \| (.+) \|", PAGE))

    assert listed == {f"{kind}` `{name}": reason for (kind, name), reason in IGNORED.items()}

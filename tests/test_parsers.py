"""Whoever answers a broken JSON or TOML document answers every one: a deep one, and one with a number too long."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARSERS = {"json.loads", "json.load", "tomllib.loads", "tomllib.load"}
# A number of 5,000 digits is a ValueError, and no JSONDecodeError or TOMLDecodeError.
NEEDED = {"ValueError", "RecursionError"}
PARTS = {"ValueError", "JSONDecodeError", "TOMLDecodeError", "UnicodeDecodeError"}


def caught_around_parsers(tree: ast.Module) -> Iterator[tuple[int, set[str]]]:
    """The line of each parser's call in a `try` that answers bad documents, and what catches around it."""
    caught: dict[ast.Call, set[str]] = {}
    for block in ast.walk(tree):
        if not isinstance(block, ast.Try):
            continue
        types = [ast.walk(handler.type) for handler in block.handlers if handler.type is not None]
        names = {getattr(node, "id", getattr(node, "attr", "")) for nodes in types for node in nodes}
        for node in (node for part in block.body for node in ast.walk(part)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in PARSERS:
                caught.setdefault(node, set()).update(names)
    yield from ((call.lineno, names) for call, names in caught.items() if names & PARTS)


def test_every_parser_that_answers_bad_documents_answers_deep_and_long_ones() -> None:
    wrong, seen = [], 0
    for folder in ("tierfleet", "container", "local_cloud"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for line, caught in caught_around_parsers(ast.parse(file.read_text(encoding="utf-8"))):
                seen += 1
                if not caught >= NEEDED and "Exception" not in caught:
                    wrong.append(f"{file.relative_to(ROOT)}:{line} catches {', '.join(sorted(caught))}")
    assert wrong == []
    assert seen > 20

"""Every rule of AWS that the local emulator follows, with AWS's page: `python -m tests.local_cloud.rules`.

The name of a test is the rule; its docstring names the page that the rule comes from.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent


def rules() -> dict[str, dict[str, str]]:
    """File below this folder -> name of each of its tests that names an AWS page -> that page."""
    files: dict[str, dict[str, str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                page = re.search(r"https://docs\.aws\.amazon\.com/\S+", ast.get_docstring(node) or "")
                if page:
                    files.setdefault(file.relative_to(TESTS).as_posix(), {})[node.name] = page[0]
    return files


if __name__ == "__main__":
    for file, pages in rules().items():
        print(file)
        for name, page in pages.items():
            print(f"  {name.removeprefix('test_').replace('_', ' ')}: {page}")

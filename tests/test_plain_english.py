"""The words of CONTRIBUTING.md: one word for one thing, in code, messages and documentation."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.testing.fleets import ROOT

# What not to write, and what to write instead.
DIALECT = {
    r"stand-ins?": "local emulator, ministack, or fake",
    r"local cloud": "local emulator",
    r"(?-i:MMEs?)": "multi-model endpoint",
    r"shared endpoints?": "multi-model endpoint",
    r"artifacts?": "artefact",
    r"(?:stand|stands|stood)(?!-)": "is",
    r"of which|of whom": "whose, or a second sentence",
    r"those (?:that|who)": "the ones that, or the noun",
    r"nobody": "no one, no caller",
    r"anyway": "even so, or nothing",
    r"mend(?:s|ed|ing)?": "fix",
    r"judg(?:e|es|ed|ing)": "check, decide",
    r"beside": "next to, with",
    r"anew": "again",
    r"in silence": "silently",
    r"passed over": "skipped",
    r"belongs? into": "belongs in",
    r"yardsticks?": "reference",
    r"hence|whence|thereof|therein|whilst|albeit": "a modern word",
}
PATTERN = re.compile("|".join(rf"(?P<w{n}>(?<![\w-]){words}(?![\w-]))" for n, words in enumerate(DIALECT)), re.I)
INSTEAD = list(DIALECT.values())

# Names that others gave, and the rules themselves.
ALLOWED = re.compile(
    r"ModelArtifacts|A shared endpoint came into service"  # AWS's name; a description in the templates
    r"|--forest beside|beside\|alone|beside or alone|alone, beside or none|`beside`|str\(beside\)",  # an option's value
    re.I,
)
RULES = {"CONTRIBUTING.md", "tests/test_plain_english.py"}

SUFFIXES = {".py", ".md", ".toml", ".mjs", ".js", ".c", ".h"}


def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        name
        for name in listed.splitlines()
        if (Path(name).suffix in SUFFIXES or Path(name).name == "Makefile")
        and name not in RULES
        and (ROOT / name).exists()
    ]


def prose(name: str, text: str) -> Iterator[tuple[int, str]]:
    """The lines a person reads. In Python: comments, strings of several words, and the names of tests.

    The title in the name of an ADR is a line too.
    """
    if name.startswith("docs/adr/"):
        yield 0, Path(name).stem.replace("-", " ")
    if not name.endswith(".py"):
        yield from enumerate(text.splitlines(), 1)
        return
    fstring = getattr(tokenize, "FSTRING_MIDDLE", None)  # Python 3.12 splits f-strings into pieces
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        words = token.type in (tokenize.STRING, fstring) and " " in token.string
        if words or token.type == tokenize.COMMENT:
            yield from enumerate(token.string.splitlines(), token.start[0])
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            yield token.start[0], token.string.replace("_", " ")


def dialect(name: str, text: str) -> list[str]:
    lines = []
    if PATTERN.search(text) or PATTERN.search(re.sub("[_-]", " ", name + text)):
        for number, line in prose(name, text):
            for match in PATTERN.finditer(ALLOWED.sub("", line)):
                assert match.lastgroup
                lines.append(f"{name}:{number}: {match[0]!r}; write: {INSTEAD[int(match.lastgroup[1:])]}")
    if name.endswith(".py") and re.search(r"\bfound\b", text):
        tree = ast.parse(text)
        # Fields of a class may be keys of a JSON document, which stay.
        fields = {
            id(line.target)
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for line in node.body
            if isinstance(line, ast.AnnAssign)
        }
        for node in ast.walk(tree):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields
            if stored and node.id == "found":
                lines.append(f"{name}:{node.lineno}: a variable called 'found'; write: the noun")
    return lines


def test_texts_use_the_words_of_the_glossary() -> None:
    problems = [line for name in files() for line in dialect(name, (ROOT / name).read_text(encoding="utf-8"))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("x.md", "The stand-in deploys it.", "'stand-in'"),
        ("docs/adr/0001-nobody-deploys-it.md", "The tenant deploys it.", "'nobody'"),
        ("x.py", "# Nobody reads this.\n", "'Nobody'"),
        ("x.py", 'raise ValueError(f"line {n} must be mended")\n', "'mended'"),
        ("x.py", "found = 1\n", "'found'"),
        ("x.py", "def test_a_call_that_nobody_makes() -> None: ...\n", "'nobody'"),
        ("x.py", "for found in range(3):\n    pass\n", "'found'"),
    ],
)
def test_dialect_is_reported(name: str, text: str, word: str) -> None:
    assert word in "".join(dialect(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", "stand_in = emulator.stand\n"),
        ("x.py", 'tenant = "nobody"\n'),
        ("x.py", "def stands_in() -> None: ...\n"),
        ("x.py", "# a standard of understanding\n"),
        ("x.md", "[the tier](https://example.com/the-stand-in.html)"),
    ],
)
def test_names_and_links_are_no_dialect(name: str, text: str) -> None:
    assert dialect(name, text) == []

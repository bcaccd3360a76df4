"""What the pages name is there: links with their anchors, files, make targets, commands with their options."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from local_cloud.testing.fleets import ROOT
from tierfleet.cli import app

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = (
    "benchmarks|config|constructs_lib|container|docs|examples|lambda(?=/warm_up)|local_cloud|stacks|tests|tierfleet"
)


def code(page: Path) -> Iterator[str]:
    """Every code span, and every line of a code block without its comment."""
    text = page.read_text().replace("\\\n", " ")
    for block in re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from (re.split(r"\s#\s", line)[0].strip() for line in block.splitlines())
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        yield from (line.strip(),) if line.startswith("    ") else re.findall(r"`([^`]+)`", line)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(words: str) -> list[TyperCommand]:
    """What `tierfleet` is followed by: a command, or several with commas between them."""
    command, named, left = get_command(app), [], words.split()
    while isinstance(command, TyperGroup) and left and re.fullmatch(r"[a-z]+,?", left[0]):
        group, several = command, True
        while several and left:
            word = left.pop(0)
            several = word.endswith(",")
            assert word.strip(",") in group.commands, f"tierfleet {words}: no command {word.strip(',')}"
            command = group.commands[word.strip(",")]
            named.append(command)
    return [command for command in named if isinstance(command, TyperCommand)]


def options(command: TyperCommand) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    for words in code(page):
        for path in re.findall(rf"(?<![\w/.-])((?:{FOLDERS}|tools)/[\w./*-]*[\w*/])", words):
            if not list(ROOT.glob(path)):
                missing.append(path)
        for target in re.findall(r"^make ([a-z0-9-]+)", words):
            if f"\n{target}: " not in (ROOT / "Makefile").read_text():
                missing.append(words)
        for arguments in re.findall(r"^(?:\$ )?tierfleet ([a-z].*)", words):
            known = set(chain.from_iterable(map(options, commands(arguments))))
            missing += sorted(set(re.findall(r"(?<!\S)--[a-z0-9-]+", arguments)) - known)
    assert missing == []


def test_the_documentation_says_which_commands_print_no_json() -> None:
    def all_of(command: object, path: str) -> Iterator[tuple[str, TyperCommand]]:
        if isinstance(command, TyperGroup):
            for name, below in command.commands.items():
                yield from all_of(below, f"{path} {name}".strip())
        else:
            assert isinstance(command, TyperCommand)
            yield path, command

    without = {path for path, command in all_of(get_command(app), "") if "--json" not in options(command)}
    listed = re.search(r"All of them but (.*?) take `--json`", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    assert listed
    spans = [span.split(", ") for span in re.findall(r"`([^`]+)`", listed[1])]
    groups = [(first.split()[0], [first.split()[1], *rest]) for first, *rest in spans]
    assert {f"{group} {name}" for group, names in groups for name in names} == without


def test_the_front_page_links_every_page() -> None:
    front = (ROOT / "docs" / "index.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"]({name}" not in front} == set()


def test_every_page_says_first_what_the_reader_can_do_after_it() -> None:
    """One paragraph below the title, before any section, list or table."""
    without = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        first = page.read_text().split("\n\n")[1]
        if first.startswith(("#", "|", "```", "- ")):
            without.append(page.name)
    assert without == []


def test_the_tree_of_the_architecture_has_every_package() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text().partition("## Parts")[2].partition("## Stacks")[0]
    packages = {
        file.parent.name
        for root in ("tierfleet", "local_cloud", "container")
        for file in (ROOT / root).rglob("__init__.py")
        if file.parent.parent.name not in {"cli", "services"}
    }
    assert {name for name in packages if f"{name}/" not in tree} == set()


def test_no_two_assumptions_have_one_number() -> None:
    numbers = re.findall(r"^### (\d+)\.", (ROOT / "docs" / "aws-assumptions.md").read_text(), re.MULTILINE)
    assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1))

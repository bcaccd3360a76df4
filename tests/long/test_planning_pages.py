"""The planning pages: the tool computes their tables, and the commands print their examples."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG, ROOT
from tierfleet.cli import app
from tools import planning_tables


def test_the_tables_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["planning_tables", "--check"])
    assert planning_tables.main() == 0


@pytest.mark.parametrize("example", ["churn", "fraud"])
def test_the_examples_are_what_the_commands_print(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CONFIG, tmp_path / "config")
    section = (ROOT / "docs/planning.md").read_text().split(f"## Example: the {example} fleet")[1].split("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].replace("\\\n", " ").splitlines()
    excerpt = re.findall(r"```text\n(.*?)```", section, re.DOTALL)[0].splitlines()
    printed = ""
    for command in commands:
        if command.startswith("mkdir"):
            without = re.sub(r".*{ model = .*\n", "", (tmp_path / "config/fraud-prod.toml").read_text())
            (tmp_path / "unplanned").mkdir()
            (tmp_path / "unplanned/fraud-prod.toml").write_text(without)
            continue
        answer = CliRunner().invoke(app, command.split()[1:], env={"COLUMNS": "1000"})
        assert answer.exit_code == 0, answer.output
        printed = answer.output
    assert excerpt
    for line in excerpt:
        assert not line or line.rstrip() in printed.splitlines(), line

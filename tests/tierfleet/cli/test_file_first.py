"""`--config FILE` is the fleet file on every command that has one."""

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tierfleet.cli import app
from tierfleet.cli.file_first import _taken as taken

runner = CliRunner()
FILE = str(CONFIG / "fraud-dev.toml")


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (["config", "show"], [], []),
        (["config", "check"], [], []),
        (["cost"], [], ["--json"]),
        (["diff"], [], ["--json"]),
    ],
)
def test_the_option_does_what_the_argument_does(command: list[str], before: list[str], after: list[str]) -> None:
    by_argument = runner.invoke(app, [*command, *before, FILE, *after])
    for option in (["--config", FILE], [f"--config={FILE}"]):
        by_option = runner.invoke(app, [*command, *before, *option, *after])
        assert (by_option.exit_code, by_option.output) == (by_argument.exit_code, by_argument.output)


@pytest.mark.parametrize("command", ["list", "publish", "rollback", "remove", "gc"])
def test_the_models_commands_say_so_in_their_help(command: str) -> None:
    shown = runner.invoke(app, ["models", command, "--help"], env={"COLUMNS": "100"}).stdout
    assert "--config" in shown
    assert "--local" in shown


def test_what_is_left_keeps_its_order() -> None:
    args = ["m07", "--local", "--to", "3", "--config", "x.toml", "--json", "--", "--local"]
    assert taken(args, with_local=True) == (["m07", "--to", "3", "--json", "--", "--local"], "x.toml", True)
    assert taken(["--local"], with_local=False) == (["--local"], None, False)


def test_an_option_without_a_file_is_refused() -> None:
    result = runner.invoke(app, ["config", "show", "--config"])
    assert result.exit_code == 2
    assert "--config needs a fleet file" in result.output

"""Numbers that are none, on the whole command line: every option that takes a number refuses infinity and NaN."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from tierfleet.cli import app
from tierfleet.cli.option_groups import FiniteNumbers

_OWN_ADVICE = ("--missing",)


def _commands(group: typer.Typer, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for below in group.registered_groups:
        if below.typer_instance is not None and below.name:
            yield from _commands(below.typer_instance, (*above, below.name))
    for command in group.registered_commands:
        assert command.name
        yield (*above, command.name), command


def _number_options() -> Iterator[tuple[tuple[str, ...], str]]:
    for words, command in _commands(app):
        for parameter in inspect.signature(command.callback).parameters.values():
            if "float" in str(get_args(parameter.annotation)[:1]):
                option = f"--{parameter.name.replace('_', '-')}"
                if option not in _OWN_ADVICE:
                    yield words, option


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
@pytest.mark.parametrize(
    "command",
    ["plan synthesize churn --out a.csv --days", "plan curve a.csv --capacity-mib", "local drive --seconds"],
)
def test_infinity_and_nan_are_one_clear_error(command: str, number: str) -> None:
    answer = CliRunner().invoke(app, [*command.split(), number])
    assert answer.exit_code == 2
    assert "Invalid value for" in answer.output


def test_every_command_with_numbers_checks_them() -> None:
    classes = {words: command.cls for words, command in _commands(app)}
    assert all(classes[words] is FiniteNumbers for words, _ in _number_options())

"""Numbers that are none, on the whole command line: every option that takes a number refuses infinity and NaN."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tierfleet.cli import app

_OWN_ADVICE = ("--missing",)


def _number_options(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, below in getattr(command, "commands", {}).items():
        yield from _number_options(below, (*words, name))
    for parameter in command.params:
        option = parameter.opts[0]
        if "float" in str(parameter.type_descriptor.annotation) and option not in _OWN_ADVICE:
            yield words, option


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
@pytest.mark.parametrize(("words", "option"), list(_number_options(typer.main.get_command(app))))
def test_infinity_and_nan_are_one_clear_error(words: tuple[str, ...], option: str, number: str) -> None:
    answer = CliRunner().invoke(app, [*words, option, number])
    assert answer.exit_code == 2
    sentence = re.sub(r"[│\s]+", " ", answer.output)
    # Where a number has a range, the message has the range.
    assert re.search(rf"{number} is not a finite number|is not in the range|should be (less|greater)", sentence)

"""What is wrong with a fleet file, in the words of the person who wrote it."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import ErrorDetails

from tierfleet.columns import shortened

Severity = Literal["error", "warning", "note"]


# A key of a thousand characters would push the message off the screen.
_LONGEST_NAME = 100
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# In the words of TOML.
_SHAPES = {
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "mapping_type": "should be a table",
    "tuple_type": "should be a list",
    "bool_type": "should be true or false",
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "string_type": "should be text",
}


@dataclass(frozen=True)
class Problem:
    """One problem: its place, the value, what is wrong and what is allowed, and what to do."""

    table: str
    key: str
    value: Any
    message: str
    fix: str
    severity: Severity = "error"
    file: str = ""

    def __str__(self) -> str:
        table, key = shortened(self.table, _LONGEST_NAME), shortened(self.key, _LONGEST_NAME)
        place = f"[{table}] {key}" if table else key
        shown = "" if self.value is None else f" = {_shown(self.value)}"
        text = f"{self.severity}: {self.file}: {place}{shown}: {self.message}; {self.fix}"
        # A message may name keys and values of the file, whose line breaks would make two problems of one.
        return _CONTROL.sub(lambda character: repr(character[0])[1:-1], text)


class ConfigError(ValueError):
    """A fleet file cannot be used; lists every problem in it, never just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """Those problems that make a file unusable."""
    return [problem for problem in problems if problem.severity == "error"]


def from_pydantic(error: ErrorDetails, table: Sequence[str], known_keys: Sequence[str]) -> Problem:
    """The problem behind one pydantic error of the table called `table`.

    `known_keys`: the keys the innermost table knows, for a key it does not.
    """
    *inner, key = [str(part) for part in error["loc"] if part != "[key]"]
    where = ".".join((*table, *inner))
    value = error["input"] if error["type"] != "missing" else None
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        message, _, fix = str(context["error"]).partition("; ")
        return Problem(where, key, value, message, fix)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known_keys, n=1)
        fix = f"did you mean {near[0]}?" if near else "remove it"
        return Problem(where, key, value, f"unknown key; this table has {', '.join(known_keys)}", fix)
    if error["type"] == "missing":
        return Problem(where, key, None, "is missing", "add it; docs/configuration.md says what it means")
    if error["type"] == "string_pattern_mismatch":
        return Problem(where, key, value, f"must match {context['pattern']}", "write it in that form")
    if error["type"] == "literal_error":
        return Problem(where, key, value, f"must be {context['expected']}", "choose one of these")
    if error["type"] in _SHAPES:
        return Problem(where, key, value, _SHAPES[error["type"]], "write it in that shape")
    message = error["msg"][0].lower() + error["msg"][1:]
    message = message.replace("input should", "should").replace("tuple should", "should")
    return Problem(where, key, value, message.replace(" after validation", ""), "change the value")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        return "..."
    return text if len(text) <= 80 else text[:77] + "..."

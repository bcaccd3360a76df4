"""Each construct's docstring begins with an example: a call that its signature takes, or lines of a fleet file."""

import ast
import importlib
import inspect
import pkgutil
import re

import pytest
from constructs import Construct

import constructs_lib


def constructs() -> list[type[Construct]]:
    modules = [
        importlib.import_module(info.name) for info in pkgutil.walk_packages(constructs_lib.__path__, "constructs_lib.")
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Construct)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]


@pytest.mark.parametrize("construct", constructs(), ids=lambda construct: construct.__name__)
def test_the_example_is_one_that_works(construct: type[Construct]) -> None:
    text = inspect.getdoc(construct) or ""
    calls = re.findall(rf"`({construct.__name__}\([^`]*\))", text)
    if not calls:
        assert re.search(r"`[\w\[\].]+(?: = |\]`)", text), "neither a call nor a line of a fleet file"
        return
    call = ast.parse(calls[0].replace("\n", " ")).body[0].value  # type: ignore[attr-defined]
    while not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):  # an attribute of the construct
        call = call.value if isinstance(call, ast.Attribute) else call.func
    names = {keyword.arg: None for keyword in call.keywords}
    inspect.signature(construct.__init__).bind(None, *call.args, **names)
    assert isinstance(call.args[1], ast.Constant)

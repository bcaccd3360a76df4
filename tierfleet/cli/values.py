"""What no option of any command takes: NaN and infinity, which pass every range, and text that is not UTF-8."""

import math
from collections.abc import Callable
from typing import Any, Final

import typer

# Their commands say more about it.
_SAY_IT_THEMSELVES: Final = ("missing",)
_CHECKED: Final = "_tierfleet_checked"


def check_values(command: Any) -> None:
    """Have the command, and every command of a group, refuse such values with exit code 2."""
    if getattr(command, _CHECKED, False):
        return
    setattr(command, _CHECKED, True)
    for parameter in command.params:
        parameter.callback = _checking(parameter.callback)
    for part in getattr(command, "commands", {}).values():
        check_values(part)


def _checking(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    def check(ctx: Any, parameter: Any, value: Any) -> Any:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, float) and not math.isfinite(one) and _given(ctx, parameter):
                raise typer.BadParameter(f"{one} is not a finite number.", ctx=ctx, param=parameter)
            if isinstance(one, str) and not _is_utf8(one):
                raise typer.BadParameter("it is not UTF-8 text.", ctx=ctx, param=parameter)
        return value if callback is None else callback(ctx, parameter, value)

    return check


def _given(ctx: Any, parameter: Any) -> bool:
    if parameter.name in _SAY_IT_THEMSELVES:
        return False
    source = ctx.get_parameter_source(parameter.name)
    return source is not None and "DEFAULT" not in source.name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

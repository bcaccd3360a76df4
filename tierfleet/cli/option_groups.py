"""Options of a command in dataclasses: one parameter of the command for many options of the command line.

@dataclass(frozen=True)
class Output:
    html: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None

@grouped
def plan_fleet(source: Annotated[str, typer.Argument()], output: Output) -> None: ...    # takes SOURCE and --html
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: each field of a dataclass parameter is an option, under the field's name."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            hints = get_type_hints(parameter.annotation, include_extras=True)
            parameters += [_parameter(option, hints[option.name]) for option in fields(parameter.annotation)]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def flat(**given: Any) -> None:
        filled = {
            name: group(**{option.name: given.pop(option.name) for option in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **filled)

    flat.__name__, flat.__doc__, flat.__module__ = command.__name__, command.__doc__, command.__module__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # Typer reads the signature of a command, not its code.
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flat


def given(*groups: Any) -> dict[str, object]:
    """Option to value, as in `--tenant-column`, over all groups."""
    return {
        f"--{option.name.replace('_', '-')}": getattr(group, option.name)
        for group in groups
        for option in fields(group)
    }


def _parameter(option: Field[Any], hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if option.default is MISSING else option.default
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)

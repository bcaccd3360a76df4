"""Reading fleet files: TOML in, a checked FleetConfig or every problem at once out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from tierfleet.config.files import (
    FileError,
    fleet_files,
    plain,
    read_lines,
    read_toml,
    shown_path,
    unfit_texts,
    with_tuples,
)
from tierfleet.config.generation import check_generations
from tierfleet.config.hosting import TIERS, AnyTier
from tierfleet.config.hosting.asynchronous import async_multi_model_problem, is_async_multi_model
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.model import FleetConfig
from tierfleet.config.problems import ConfigError, Problem, errors_of, from_pydantic
from tierfleet.config.rules.fleet import check_fleet
from tierfleet.config.rules.size import check_sizes
from tierfleet.config.section import MAX_WORD_CHARACTERS
from tierfleet.config.shapes import how_to_write, known_keys
from tierfleet.runtime.names import WORD_PATTERN


@dataclass(frozen=True)
class CheckedFile:
    """A fleet file after every check: `config` is None if one of the problems is an error."""

    path: Path
    config: FleetConfig | None
    problems: tuple[Problem, ...]


def load(path: Path) -> FleetConfig:
    """The fleet of one file.

    >>> fleet = load(Path("config/fraud-prod.toml"))
    >>> fleet.region, fleet.default_tier, sorted(fleet.tiers["whale"].tenants)
    ('eu-west-1', 'tail', ['m01', 'm04', 'm12', 'm18', 'm29'])

    Raises ConfigError with every error of the file.
    """
    checked = check_file(path)
    if checked.config is None:
        raise ConfigError(errors_of(checked.problems))
    return checked.config


def load_all(path: Path) -> list[FleetConfig]:
    """The fleets of every `*.toml` in a directory, in name order, or of one file.

    Raises ConfigError with all their errors; a directory without fleet files is one.
    """
    checked = check_files([path])
    if errors := [error for file in checked for error in errors_of(file.problems)]:
        raise ConfigError(errors)
    return [file.config for file in checked if file.config]


def check_files(paths: Sequence[Path]) -> list[CheckedFile]:
    """Each file checked, and all of them against each other: two files must not describe the same fleet.

    A directory means its `*.toml` files.
    """
    checked = []
    for path in paths:
        try:
            checked += [check_file(file) for file in fleet_files(path)]
        except FileError as error:
            checked.append(_unreadable(path, error))
    first: dict[str, Path] = {}
    for index, file in enumerate(checked):
        if file.config is None:
            continue
        # As stacks are called.
        identity = f"{file.config.fleet}-{file.config.environment}"
        if (other := first.setdefault(identity, file.path)) != file.path:
            problem = Problem(
                table="",
                key="fleet, environment",
                value=identity,
                message=f"{shown_path(other)} describes the same fleet and environment",
                fix="give one of them another environment",
                file=shown_path(file.path),
            )
            checked[index] = CheckedFile(file.path, None, (*file.problems, problem))
    return checked


def check_file(path: Path) -> CheckedFile:
    """One file checked: syntax, keys, values, then the rules that need more than one table."""
    try:
        document = read_toml(path)
    except FileError as error:
        return _unreadable(path, error)
    problems = _read_tenant_files(document, path.parent)
    unread = {problem.table for problem in problems}
    texts = list(unfit_texts(document))
    document = with_tuples(document)
    parts = _validate_tables(document, problems)
    tables = document.get("tiers", {})
    every_tier_is_sound = isinstance(tables, dict) and parts.get("tiers", {}).keys() == tables.keys()
    between_tables = check_fleet(parts, shown_path(Path(path.stem)), every_tier_is_sound=every_tier_is_sound)
    # A list that could not be read is not also empty.
    problems += [problem for problem in between_tables if not (problem.table in unread and problem.key == "tenants")]
    places = {(problem.table, problem.key) for problem in problems}
    problems += [problem for problem in texts if (problem.table, problem.key) not in places]
    if parts.keys() == FleetConfig.model_fields.keys() and every_tier_is_sound and _has_one_default(parts["tiers"]):
        whole = FleetConfig.model_construct(**parts)
        problems += [*check_sizes(whole), *check_generations(whole)]
    config = None if errors_of(problems) else FleetConfig.model_validate(document)
    file = shown_path(path)
    placed = (replace(item, file=file, value=plain(item.value)) for item in problems)
    # Several containers may find the same fault in one value of their tier.
    return CheckedFile(path, config, tuple({str(problem): problem for problem in placed}.values()))


def _has_one_default(tiers: Mapping[str, AnyTier]) -> bool:
    return sum(isinstance(tier, MultiModelTier) and tier.default for tier in tiers.values()) == 1


def _unreadable(path: Path, error: FileError) -> CheckedFile:
    return CheckedFile(path, None, (Problem("", "file", None, error.message, error.fix, file=shown_path(path)),))


def _read_tenant_files(document: dict[str, Any], directory: Path) -> list[Problem]:
    """Put the lines of each `warm_up.tenants_file` in the place of `warm_up.tenants`."""
    problems = []
    tiers = document.get("tiers")
    for name, tier in tiers.items() if isinstance(tiers, dict) else ():
        warm_up = tier.get("warm_up") if isinstance(tier, dict) else None
        file_name = warm_up.get("tenants_file") if isinstance(warm_up, dict) else None
        if not isinstance(warm_up, dict) or not isinstance(file_name, str):
            continue
        where = f"tiers.{name}.warm_up"
        if "tenants" in warm_up:
            message = "tenants and tenants_file are both given; give one of them"
            problems.append(Problem(where, "tenants_file", file_name, message, "remove one of them"))
            continue
        file = directory / file_name
        if file.parent != directory or file.name in ("", ".", ".."):
            message = f"not a file in the fleet file's directory, {shown_path(directory)}"
            problems.append(Problem(where, "tenants_file", file_name, message, "name a file there"))
            continue
        try:
            warm_up["tenants"] = read_lines(file)
        except FileError as error:
            message = f"the file {shown_path(file)} {error.message}"
            problems.append(Problem(where, "tenants_file", file_name, message, error.fix))
    return problems


def _validate_tables(document: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Validate each top-level key, and each tier, on its own: the rules then still see every part that is sound."""
    parts: dict[str, Any] = {}
    known = list(FleetConfig.model_fields)
    for key in document.keys() - FleetConfig.model_fields.keys():
        details = {"type": "extra_forbidden", "loc": (key,), "input": document[key], "msg": ""}
        problems.append(from_pydantic(details, (), known))  # type: ignore[arg-type]
    for key, field in FleetConfig.model_fields.items():
        if key == "tiers" and isinstance(document.get("tiers"), dict):
            parts["tiers"] = _validate_tiers(document["tiers"], problems)
        elif key in document:
            _validate(parts, key, field.annotation, document[key], problems)
        elif field.is_required():
            details = {"type": "missing", "loc": (key,), "input": None, "msg": ""}
            problems.append(from_pydantic(details, (), known))  # type: ignore[arg-type]
        else:
            parts[key] = field.get_default(call_default_factory=True, validated_data=parts)
    return parts


def _validate_tiers(tables: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    tiers: dict[str, Any] = {}
    for name, table in sorted(tables.items()):
        hosting = table.get("hosting") if isinstance(table, dict) else None
        model = TIERS.get(hosting) if isinstance(hosting, str) else None
        if not re.fullmatch(WORD_PATTERN, name) or len(name) > MAX_WORD_CHARACTERS:
            message = f"a tier's name must match {WORD_PATTERN}, with at most {MAX_WORD_CHARACTERS} characters"
            problems.append(Problem("tiers", name, None, message, "use lowercase letters, digits and single hyphens"))
        elif not isinstance(table, dict):
            message, fix = "a tier is a table", f'write [tiers.{name}] and below it hosting = "multi-model"'
            problems.append(Problem("tiers", name, table, message, fix))
        elif is_async_multi_model(hosting):
            problems.append(async_multi_model_problem(f"tiers.{name}", hosting))
        elif model is None:
            message, fix = f"must be one of {', '.join(TIERS)}", "say how the tier is hosted"
            problems.append(Problem(f"tiers.{name}", "hosting", hosting, message, fix))
        else:
            reported = len(problems)
            _validate(tiers, name, model, table, problems, ("tiers",))
            problems[reported:] = [_of_another_shape(problem, str(hosting)) for problem in problems[reported:]]
    return tiers


def _of_another_shape(problem: Problem, hosting: str) -> Problem:
    """Says whose key it is, where a tier has a key of another hosting shape."""
    if (explanation := TIERS[hosting].explained(problem)) is not problem:
        return explanation
    has_it = [word for word, model in TIERS.items() if problem.key in model.model_fields]
    if problem.table.count(".") != 1 or not has_it or hosting in has_it:
        return problem
    *most, last = has_it
    having = f"{', '.join(most)} and {last}" if most else last
    message = f"{'an' if hosting[0] in 'aeiou' else 'a'} {hosting} tier has no {problem.key}; {having} tiers have one"
    return replace(problem, message=message, fix="remove it, or choose another hosting")


def _validate(
    parts: dict[str, Any],
    key: str,
    annotation: Any,
    value: Any,
    problems: list[Problem],
    above: tuple[str, ...] = (),
) -> None:
    try:
        parts[key] = _adapter(None if above else key, annotation).validate_python(value, strict=True)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            # pydantic counts the sound items only; the others have their own error.
            if details["type"] == "too_short" and details["ctx"]["actual_length"] < len(details["input"]):
                continue
            loc = details["loc"]
            table = (*above, key) if loc else above
            details["loc"] = loc or (key,)
            problem = from_pydantic(details, table, known_keys(annotation, loc))
            if details["type"].endswith("_type") and (fix := how_to_write(annotation, loc, problem.key, problem.value)):
                problem = replace(problem, fix=fix)
            problems.append(problem)


@cache
def _adapter(key: str | None, annotation: Any) -> TypeAdapter[Any]:
    """Of a top-level key with its limits, or of a table of the model `annotation`. Making one takes milliseconds."""
    if key is None:
        return TypeAdapter(annotation)
    field = FleetConfig.model_fields[key]
    # Not the field itself: its default means nothing here.
    limited: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(limited)

"""Reading fleet files: TOML in, a checked FleetConfig or every problem at once out."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tierfleet.config.model import DedicatedTier, FleetConfig, MultiModelTier
from tierfleet.config.problems import ConfigError, Problem, errors_of, from_pydantic
from tierfleet.config.rules import check_fleet
from tierfleet.runtime.names import WORD_PATTERN

_TIER_MODELS: dict[str, type[MultiModelTier | DedicatedTier]] = {
    "multi-model": MultiModelTier,
    "dedicated": DedicatedTier,
}


@dataclass(frozen=True)
class CheckedFile:
    """A fleet file after every check: `config` is None where an error stands among the problems."""

    path: Path
    config: FleetConfig | None
    problems: tuple[Problem, ...]


def load(path: Path) -> FleetConfig:
    """The fleet of one file. Raises ConfigError with every error of the file."""
    checked = check_file(path)
    if checked.config is None:
        raise ConfigError(errors_of(checked.problems))
    return checked.config


def load_all(path: Path) -> list[FleetConfig]:
    """The fleets of every `*.toml` in a directory, in name order, or of one file.

    Raises ConfigError with all their errors.
    """
    checked = check_files(sorted(path.glob("*.toml")) if path.is_dir() else [path])
    if errors := [error for file in checked for error in errors_of(file.problems)]:
        raise ConfigError(errors)
    return [file.config for file in checked if file.config]


def check_files(paths: Sequence[Path]) -> list[CheckedFile]:
    """Each file checked, and all of them against each other: two files must not describe the same fleet."""
    checked = [check_file(path) for path in paths]
    first: dict[tuple[str, str], Path] = {}
    for index, file in enumerate(checked):
        if file.config is None:
            continue
        identity = (file.config.fleet, file.config.environment)
        if (other := first.setdefault(identity, file.path)) != file.path:
            problem = Problem(
                table="",
                key="fleet, environment",
                value=list(identity),
                message=f"{other} describes the same fleet and environment",
                fix="give one of them another environment",
                file=str(file.path),
            )
            checked[index] = CheckedFile(file.path, None, (*file.problems, problem))
    return checked


def check_file(path: Path) -> CheckedFile:
    """One file checked: syntax, keys, values, then the rules that need more than one table."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return _unreadable(path, f"cannot be read ({error.strerror})", "check the path")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return _unreadable(path, f"is not valid TOML: {error}", "mend the line")
    problems = _read_tenant_files(document, path.parent)
    parts = _validate_tables(document, problems)
    tables = document.get("tiers", {})
    every_tier_is_sound = isinstance(tables, dict) and parts.get("tiers", {}).keys() == tables.keys()
    problems += check_fleet(parts, path.stem, every_tier_is_sound=every_tier_is_sound)
    config = None
    if not errors_of(problems):
        config = FleetConfig.model_validate_json(json.dumps(document))
    return CheckedFile(path, config, tuple(replace(problem, file=str(path)) for problem in problems))


def _unreadable(path: Path, message: str, fix: str) -> CheckedFile:
    return CheckedFile(path, None, (Problem("", "file", None, message, fix, file=str(path)),))


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
            message = "tenants and tenants_file are both given; one list only"
            problems.append(Problem(where, "tenants_file", file_name, message, "remove one of them"))
            continue
        file = directory / file_name
        if file.parent != directory or not file.is_file():
            message = f"no such file beside the fleet file, in {directory}"
            problems.append(Problem(where, "tenants_file", file_name, message, "create it or mend the name"))
            continue
        lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
        warm_up["tenants"] = [line for line in lines if line]
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
            _validate(parts, key, field, document[key], problems)
        elif field.is_required():
            details = {"type": "missing", "loc": (key,), "input": None, "msg": ""}
            problems.append(from_pydantic(details, (), known))  # type: ignore[arg-type]
        else:
            parts[key] = field.default
    return parts


def _validate_tiers(tables: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    tiers: dict[str, Any] = {}
    for name, table in sorted(tables.items()):
        hosting = table.get("hosting") if isinstance(table, dict) else None
        model = _TIER_MODELS.get(hosting) if isinstance(hosting, str) else None
        if not re.fullmatch(WORD_PATTERN, name):
            message = f"a tier's name must match {WORD_PATTERN}"
            problems.append(Problem("tiers", name, None, message, "use lowercase letters, digits and single hyphens"))
        elif model is None:
            message, fix = "must be multi-model or dedicated", "say how the tier is hosted"
            problems.append(Problem(f"tiers.{name}", "hosting", hosting, message, fix))
        else:
            _validate(tiers, name, FieldInfo(annotation=model), table, problems, ("tiers",))
    return tiers


def _validate(
    parts: dict[str, Any],
    key: str,
    field: FieldInfo,
    value: Any,
    problems: list[Problem],
    above: tuple[str, ...] = (),
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    try:
        # JSON mode: strict, yet a TOML array may become a tuple.
        parts[key] = adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            loc = details["loc"]
            table = (*above, key) if loc else above
            details["loc"] = loc or (key,)
            problems.append(from_pydantic(details, table, _known_keys(field.annotation, loc)))


def _known_keys(annotation: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the innermost table on the way `loc` through the models, empty where it is no table of ours."""
    for part in (*loc[:-1], None):
        candidates = [annotation, *get_args(annotation)]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model is not None and (part is None or part in model.model_fields):
            if part is None:
                return list(model.model_fields)
            annotation = model.model_fields[str(part)].annotation
        elif model is None and len(candidates) == 3:  # Mapping[key, value]
            annotation = candidates[2]
    return []

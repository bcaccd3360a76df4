"""Profiles as TOML: read with every mistake named, and written."""

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from tierfleet.errors import InputError
from tierfleet.planning.profiles.profile import PredictTime, Profile

_QUANTILES = ("p50", "p95", "p99")
_BARE_KEY = "[A-Za-z0-9_-]+"
_NUMBERS = (
    "reserve_mib",
    "reserve_share",
    "fixed_mib",
    "artefact_mb_per_model_mb",
    "file_mb_per_model_mb",
    "extract_seconds_per_model_mb",
)


def shipped_profiles_file() -> Path:
    """The profiles that come with tierfleet."""
    return Path(str(files("tierfleet") / "data/profiles.toml"))


def load_profiles(file: Path | None = None) -> dict[str, Profile]:
    """The profiles of a file, or the shipped ones, by name. Raises InputError with every mistake."""
    path = file or shipped_profiles_file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"profiles {path} cannot be read: {error}; give a TOML file") from error
    tables = document.get("profiles")
    if not isinstance(tables, Mapping) or not tables:
        raise InputError(f"profiles {path}: no [profiles.<name>]; see {shipped_profiles_file()} for the form")
    mistakes: list[str] = []
    profiles = {}
    for name, table in tables.items():
        of_table = _mistakes(table)
        mistakes += [f"profiles {path}: [profiles.{name}] {mistake}" for mistake in of_table]
        if not of_table:
            profiles[name] = _profile(name, table)
    if mistakes:
        raise InputError("\n".join(mistakes))
    return profiles


def profile_toml(profile: Profile) -> str:
    """One profile as a table of a profiles file."""
    predict = dict(profile.predict)
    lines = [
        f"[profiles.{profile.name if re.fullmatch(_BARE_KEY, profile.name) else json.dumps(profile.name)}]",
        f"title = {json.dumps(profile.title)}",
        f"date = {profile.measured_on}",
        f"source = {json.dumps(profile.source)}",
        f"prototype = {str(profile.prototype).lower()}",
        f"parallel_loads = {json.dumps(profile.parallel_loads)}",
        *(f"{name} = {getattr(profile, name):.6g}" for name in _NUMBERS),
        "points = [",
    ]
    for (mb, mib), (_, seconds) in zip(profile.resident, profile.load, strict=True):
        fields = f"model_mb = {mb:.6g}, resident_mib = {mib:.4g}, load_seconds = {seconds:.4g}"
        if mb in predict:
            times = ", ".join(f"{name} = {getattr(predict[mb], name):.4g}" for name in _QUANTILES)
            fields += f", predict_ms = {{ {times} }}"
        lines.append(f"    {{ {fields} }},")
    return "\n".join([*lines, "]", ""])


def _mistakes(table: Any) -> list[str]:
    if not isinstance(table, Mapping):
        return ["must be a table"]
    mistakes = [f"{key}: is missing or no text" for key in ("title", "source") if not isinstance(table.get(key), str)]
    wrong = [key for key in _NUMBERS if not _is_number(table.get(key))]
    mistakes += [f"{key} = {table.get(key)!r}: write a number from 0" for key in wrong]
    if type(table.get("date")) is not date:
        mistakes.append("date: write YYYY-MM-DD")
    if not isinstance(table.get("prototype"), bool):
        mistakes.append("prototype: write true or false")
    loads = table.get("parallel_loads")
    if loads != "vcpus" and not (type(loads) is int and loads >= 1):
        mistakes.append(f'parallel_loads = {loads!r}: write a whole number from 1 or "vcpus"')
    if _is_number(table.get("reserve_share")) and table["reserve_share"] >= 1:
        mistakes.append("reserve_share: must be below 1")
    if table.get("artefact_mb_per_model_mb") == 0:
        mistakes.append("artefact_mb_per_model_mb: must be above 0")
    points = table.get("points")
    keys = ("model_mb", "resident_mib", "load_seconds")
    if not isinstance(points, list) or not points:
        return [*mistakes, "points: write at least one { model_mb, resident_mib, load_seconds, predict_ms }"]
    if not all(isinstance(point, Mapping) and all(_is_number(point.get(key)) for key in keys) for point in points):
        return [*mistakes, f"points: each needs the numbers {', '.join(keys)}"]
    sizes = [point["model_mb"] for point in points]
    if any(later <= earlier for earlier, later in pairwise(sizes)):
        mistakes.append("points: order them by model_mb, each size once")
    times = [point["predict_ms"] for point in points if "predict_ms" in point]
    sound = all(isinstance(time, Mapping) and all(map(_is_number, map(time.get, _QUANTILES))) for time in times)
    if not times or not sound or any(not time["p50"] <= time["p95"] <= time["p99"] for time in times):
        mistakes.append("points: at least one needs predict_ms = { p50, p95, p99 } in milliseconds, in rising order")
    return mistakes


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _profile(name: str, table: Mapping[str, Any]) -> Profile:
    points = table["points"]
    return Profile(
        name=name,
        title=table["title"],
        source=table["source"],
        measured_on=table["date"],
        prototype=table["prototype"],
        parallel_loads=table["parallel_loads"],
        **{key: float(table[key]) for key in _NUMBERS},
        resident=tuple((float(point["model_mb"]), float(point["resident_mib"])) for point in points),
        load=tuple((float(point["model_mb"]), float(point["load_seconds"])) for point in points),
        predict=tuple(
            (float(point["model_mb"]), PredictTime(**{q: float(point["predict_ms"][q]) for q in _QUANTILES}))
            for point in points
            if "predict_ms" in point
        ),
    )

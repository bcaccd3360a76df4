"""The options of `tierfleet models`, and what they say: the files, the image, and how to package."""

import json
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tierfleet.cli.console import err, fail, load_or_fail, say
from tierfleet.models.files import ModelFile, SkippedFile, every_model, skipped_files
from tierfleet.models.package import PackageOptions
from tierfleet.models.target import Target, named_target, target_of

if TYPE_CHECKING:
    from tierfleet_server.publishing.rounds import Rounds as RoundsKept
    from tierfleet_server.publishing.served_model import Forest

Models = Annotated[Path, typer.Argument(help="A model <tenant>/<version>.ubj, or a directory of them.")]
Paths = Annotated[list[Path], typer.Argument(help="Models <tenant>/<version>.tar.gz, .ubj or .json, or directories.")]
Rounds = Annotated[
    str | None,
    typer.Option(help="all or best: the rounds to keep of early-stopped models; default: as predict does."),
]
For = Annotated[
    str | None,
    typer.Option("--for", help="The image, without a fleet file: tierfleet, a stock tag such as 1.7-1, or a version."),
]
FleetOption = Annotated[Path | None, typer.Option("--config", help="A fleet file; its image will read the models.")]
Missing = Annotated[float | None, typer.Option(help="The number that meant a missing value in training, such as -999.")]
LibsvmBase = Annotated[int, typer.Option(min=0, max=1, help="1 if callers count libsvm columns from 1.")]
FlatForest = Annotated[
    str | None,
    typer.Option(
        "--forest",
        help="none, beside or alone: no flat forest, or one with or without the UBJ; dense server's default: alone.",
    ),
]
Contribs = Annotated[
    bool, typer.Option("--contribs", help="The flat forest can also explain its scores, which doubles its memory.")
]
Steps = Annotated[Path | None, typer.Option("--preprocessing", help="A JSON file of preprocessing steps.")]


def package_options(
    rounds: str | None,
    missing: float | None = None,
    libsvm_base: int = 0,
    preprocessing: Path | None = None,
    forest: str | None = None,
    contribs: bool = False,
) -> PackageOptions:
    """The options of packaging. Ends the command with a message if one is invalid."""
    if rounds not in (None, "all", "best"):
        fail(f"--rounds {rounds}: give all or best")
    if missing is not None and not math.isfinite(missing):
        fail(f"--missing {missing}: NaN and empty cells always mean missing; give a number such as -999")
    steps: dict[str, Any] = {}
    if preprocessing is not None:
        try:
            steps = json.loads(preprocessing.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_duplicates)
        except OSError as error:
            fail(f"--preprocessing {preprocessing}: {error.strerror}")
        except (ValueError, RecursionError) as error:
            fail(f"--preprocessing {preprocessing} is not JSON: {error}")
        if not isinstance(steps, dict):
            fail(f'--preprocessing {preprocessing} is no object; write {{"fill": {{"amount": 0}}}} or the like')
        for name in ("missing", "libsvm_base"):
            if name in steps:
                fail(f"--preprocessing {preprocessing} holds {name}, which is no step; give --{name.replace('_', '-')}")
    if forest not in (None, "none", "beside", "alone"):
        fail(f"--forest {forest}: give none, beside or alone")
    if contribs and forest == "none":
        fail("--contribs needs a flat forest, and --forest none makes none; leave one out")
    return PackageOptions(
        cast("RoundsKept", rounds or "auto"),
        missing,
        libsvm_base,
        steps,
        cast("Forest", forest) if forest else "auto",
        contribs,
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`, which would keep the last one of two."""
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{twice[:80]!r} occurs twice in one object")
    return members


def target_or_fail(config: Path | None, image: str | None) -> Target | None:
    """What the models are packaged for: the fleet file's image, or the named one. None if neither is given."""
    if config is not None and image is not None:
        fail("give --config or --for, not both: a fleet file names its image")
    if config is not None:
        return target_of(load_or_fail(config))
    try:
        return named_target(image) if image is not None else None
    except ValueError as error:
        fail(str(error))


def models_or_fail(paths: list[Path]) -> list[ModelFile]:
    """The model files of these paths. Ends the command if there is none, or two of one key."""
    try:
        return every_model(paths)
    except ValueError as error:
        fail(str(error))


def warn_of_skipped_files(paths: list[Path]) -> list[SkippedFile]:
    """The files in these paths that are not models. Prints a warning for each."""
    skipped = skipped_files(paths)
    for item in skipped:
        say("warning", f"{item.file} is skipped: it {item.why}", check="name", console=err)
    return skipped


def need_xgboost(what: str) -> None:
    """End the command if XGBoost is not installed."""
    if find_spec("xgboost") is None:
        fail(f"{what} needs XGBoost; pip install 'tierfleet[cli,models]'")

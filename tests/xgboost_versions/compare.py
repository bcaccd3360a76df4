"""Packaged against original, with the real XGBoost of every version: `make test-xgboost-versions`.

Each version is installed into an environment of its own below .build/, trains every kind of model it knows and scores
rows with each. Every file is then packaged for every image and scored by that image's own XGBoost: each score must be
the same float32, or the file is refused. A version whose Python is not here is left out, and said so. Prints a table.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.document import read_document
from tierfleet_server.publishing.sample_rows import sample_rows
from tierfleet_server.publishing.served_model import served_model
from tierfleet_server.publishing.versions import Version

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / ".build" / "xgboost-versions"
# Version, the Python it has wheels for, and what goes with it.
INSTALLED: dict[str, tuple[str, tuple[str, ...]]] = {
    "1.2.1": ("3.8", ("xgboost==1.2.1", "numpy<1.24", "scipy")),
    "1.3.3": ("3.8", ("xgboost==1.3.3", "numpy<1.24", "scipy")),
    "1.5.2": ("3.8", ("xgboost==1.5.2", "numpy<1.24", "scipy")),
    "1.6.2": ("3.9", ("xgboost==1.6.2", "numpy<2", "scipy")),
    "1.7.4": ("3.9", ("xgboost==1.7.4", "numpy<2", "scipy")),
    "1.7.6": ("3.9", ("xgboost==1.7.6", "numpy<2", "scipy")),
    "2.1.4": ("3.9", ("xgboost-cpu==2.1.4", "numpy<2", "scipy")),
    "3.0.5": ("3.11", ("xgboost-cpu==3.0.5", "numpy", "scipy")),
    "3.1.3": ("3.11", ("xgboost-cpu==3.1.3", "numpy", "scipy")),
    "3.2.0": ("3.11", ("xgboost-cpu==3.2.0", "numpy", "scipy")),
    "3.3.0": ("3.12", ("xgboost-cpu==3.3.0", "numpy", "scipy")),
    "3.4.1": ("3.12", ("xgboost-cpu==3.4.1", "numpy", "scipy")),
}
# What reads the models: AWS's stock images, and the dense server's two versions.
READERS: dict[str, tuple[Version, bool, str]] = {
    "1.3-1": ((1, 3, 3), True, "1.3.3"),
    "1.5-1": ((1, 5, 2), True, "1.5.2"),
    "1.7-1": ((1, 7, 4), True, "1.7.4"),
    "3.0-5": ((3, 0, 5), True, "3.0.5"),
    "3.2-0": ((3, 2, 0), True, "3.2.0"),
    "dense 3.0.5": ((3, 0, 5), False, "3.0.5"),
    "dense 3.4.1": ((3, 0, 5), False, "3.4.1"),
}
_FORMS = (".ubj", ".json", ".bin")


def interpreter(python: str) -> str | None:
    """A Python of that version: on the path, or of pyenv."""
    on_path = shutil.which(f"python{python}")
    others = sorted((Path.home() / ".pyenv" / "versions").glob(f"{python}.*/bin/python"))
    for candidate in [*([on_path] if on_path else []), *map(str, others)]:
        told = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if told.returncode == 0 and f"Python {python}." in told.stdout:
            return candidate
    return None


def install(version: str) -> Path | None:
    """The Python of an environment with that XGBoost; None where there is no such Python, or no wheel."""
    python, packages = INSTALLED[version]
    environment = BUILD / version
    ready = environment / ".installed"
    if not ready.exists():
        base = interpreter(python)
        if base is None:
            print(f"{version}: left out, no Python {python} here", flush=True)
            return None
        subprocess.run([base, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, *packages], check=False).returncode:
            print(f"{version}: left out, pip cannot install it", flush=True)
            return None
        ready.touch()
    return environment / "bin" / "python"


def score(python: Path, work: list[dict[str, Any]], scratch: Path) -> list[str | None]:
    """Why each file was not scored, None if it was. A file that ends the process is located by halving."""
    if not work:
        return []
    file = scratch / "work.json"
    file.write_text(json.dumps(work))
    command = [str(python), "-W", "ignore", str(HERE / "score.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        answers: list[str | None] = json.loads(done.stdout.strip().splitlines()[-1])
        return answers
    if len(work) == 1:
        return [f"ended the process: {done.returncode}"]
    half = len(work) // 2
    return score(python, work[:half], scratch) + score(python, work[half:], scratch)


def main() -> int:
    """Exit code 1 if any score differs, or an artefact does not load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", default=",".join(INSTALLED), help="that train, comma-separated")
    arguments = parser.parse_args()
    pythons = {version: python for version in INSTALLED if (python := install(version)) is not None}
    counts: Counter[tuple[str, str, str]] = Counter()
    kinds: set[str] = set()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        scratch = Path(folder)
        for source in [version for version in arguments.versions.split(",") if version in pythons]:
            models = scratch / source
            subprocess.run([str(pythons[source]), "-W", "ignore", str(HERE / "train.py"), str(models)], check=True)
            files = [file for file in sorted(models.iterdir()) if file.suffix in _FORMS]
            files = _scored(files, pythons[source], scratch)
            kinds |= {file.stem for file in files}
            for image, (reader, stock, by) in READERS.items():
                if by in pythons:
                    _compare(files, source, image, reader, stock, pythons[by], scratch, counts, wrong)
    _table(counts, len(kinds))
    print("\n".join(wrong))
    return 1 if wrong else 0


def _rows(file: Path) -> Path:
    return file.with_name(file.name + ".rows.npy")


def _own(file: Path) -> Path:
    return file.with_name(file.name + ".own.npy")


def _scored(files: list[Path], python: Path, scratch: Path) -> list[Path]:
    """Those files that the version that saved them loads and scores: what others have to be compared with."""
    work = []
    for file in files:
        try:
            rows = sample_rows(read_document(file.read_bytes()))
        except (BadModel, KeyError):  # a file that XGBoost began and refused to finish
            continue
        np.save(_rows(file), rows)
        work.append({"model": str(file), "rows": str(_rows(file)), "scores": str(_own(file))})
    answers = score(python, work, scratch)
    return [Path(item["model"]) for item, why in zip(work, answers, strict=True) if why is None]


def _compare(
    files: list[Path], source: str, image: str, reader: Version, stock: bool, python: Path, scratch: Path,
    counts: Counter[tuple[str, str, str]], wrong: list[str],
) -> None:  # fmt: skip
    work, originals = [], []
    out = scratch / "served"
    out.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        if image == "dense 3.4.1" and file.stem == "quantileerror-3":
            continue  # the image has 3.0.5; 3.4 sorts several quantiles (docs/models.md, Versions)
        content = file.read_bytes()
        try:
            served = served_model(content, reader=reader, stock=stock)
        except BadModel:
            counts[source, image, "refused"] += 1
            continue
        how = "kept" if served.data == content else "converted"
        target = out / f"{number}"
        target.write_bytes(served.data)
        item = {"model": str(target), "rows": str(_rows(file)), "scores": f"{target}.npy", "as_image": stock}
        work.append(item)
        originals.append((file, how))
    for item, (file, how), why in zip(work, originals, score(python, work, scratch), strict=True):
        label = f"{source} {file.name} for {image}, {how}"
        if why is not None:
            wrong.append(f"{label}: {why}")
            continue
        own, theirs = np.load(_own(file)), np.load(item["scores"])
        if own.shape == theirs.shape and np.array_equal(own, theirs, equal_nan=True):
            counts[source, image, how] += 1
        else:
            wrong.append(f"{label}: scores differ")
    shutil.rmtree(out)


def _table(counts: Counter[tuple[str, str, str]], kinds: int) -> None:
    sources = sorted({key[0] for key in counts}, key=lambda text: tuple(map(int, text.split("."))))
    print(f"\n{kinds} kinds of models; each cell: bytes kept/converted/refused; every score the same float32")
    print(f"| saved by | {' | '.join(READERS)} |")
    print(f"|---{'|---' * len(READERS)}|")
    for source in sources:
        cells = [
            "/".join(str(counts[source, image, how]) for how in ("kept", "converted", "refused")) for image in READERS
        ]
        print(f"| {source} | {' | '.join(cells)} |")
    total = {how: sum(n for key, n in counts.items() if key[2] == how) for how in ("kept", "converted", "refused")}
    print(f"\n{sum(total.values())} artefacts: {total}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

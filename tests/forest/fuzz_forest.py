"""`make fuzz-forest`: damaged flat forests under ASan and UBSan, the compiled reader's C without Python.

`python -m tests.forest.fuzz_forest --seconds 600 --seed 1`. Exit code 1 if there is a finding, whose bytes are kept.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "container"))

import numpy as np  # noqa: E402

from tests.forest.random_files import random_file  # noqa: E402

PACKAGE = ROOT / "container" / "tierfleet_forest"
_FLAGS = ("-std=gnu11", "-O1", "-g", "-ffp-contract=off", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
          "-fno-sanitize-recover=all", f"-I{PACKAGE}")  # fmt: skip
_FILES = 200


def build(folder: Path) -> Path:
    """The fuzzer's program; raises CalledProcessError."""
    objects = [folder / "forest.o", folder / "fuzz_forest.o"]
    coverage = "-fsanitize-coverage=trace-pc"
    subprocess.run(["gcc", *_FLAGS, coverage, "-c", PACKAGE / "forest.c", "-o", objects[0]], check=True)
    own = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", *_FLAGS, "-c", own, "-o", objects[1]], check=True)
    subprocess.run(["gcc", *_FLAGS, *objects, "-o", folder / "fuzz_forest", "-lm"], check=True)
    return folder / "fuzz_forest"


def write_files(folder: Path, seed: int) -> list[Path]:
    """Sound files of every kind, to be damaged."""
    random = np.random.default_rng(seed)
    files = []
    for number in range(_FILES):
        data = random_file(random)
        if len(data) <= 1 << 15:
            files.append(folder / f"{number}.forest")
            files[-1].write_bytes(data)
    return files


def fuzz(folder: Path, seconds: int, seed: int) -> "subprocess.CompletedProcess[str]":
    """One run: exit code 0 and counts in JSON, or a finding."""
    program, files = build(folder), write_files(folder, seed)
    return subprocess.run(
        [program, str(seconds), str(seed), *files], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", "ASAN_OPTIONS": "detect_leaks=1:handle_abort=1"},
    )  # fmt: skip


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="of the run (default: 600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run (default: the time)")
    options = parser.parse_args()
    folder = ROOT / ".build" / "fuzz-forest"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}, {options.seconds} s; a finding is kept in {folder}/fuzz_forest.case", flush=True)
    run = fuzz(folder, options.seconds, options.seed)
    print(run.stdout, run.stderr, sep="")
    return 1 if run.returncode else 0


if __name__ == "__main__":
    raise SystemExit(main())

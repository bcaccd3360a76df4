"""A fuzzer of fleet files: a mutation gives templates within AWS's limits, or exit code 2 with every problem at once.

    python -m tests.fuzz.fleet_files --mutations 20000 --seed 1 --synthesise 60

Every mutation goes through the check that all commands share; some that pass are also priced and synthesised.
"""

# Seeded numbers are no secrets.
# ruff: noqa: S311

import argparse
import copy
import json
import math
import os
import random
import sys
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fuzz.toml_mutations import mutate_bytes, mutate_document, toml_of
from tierfleet.config import CheckedFile, FleetConfig, check_file, check_files, routes
from tierfleet.config.problems import errors_of
from tierfleet.config.quotas import quota_table, quotas
from tierfleet.config.summary import fleet_summary
from tierfleet.cost.monthly_cost import monthly_cost
from tierfleet.cost.prices import load_prices
from tierfleet.cost.usage import Usage
from tierfleet.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

# Nothing may keep `config check` busy for longer, on a slow machine too.
LONGEST_SECONDS = 30.0
_FILES_A_BATCH = 8
# Every how many of the accepted fleets are priced.
_PRICED = 10

Synthesise = Callable[[FleetConfig], list[str]]


@dataclass
class Summary:
    """What became of the mutations. faults: seed, what went wrong and the file's text."""

    accepted: int = 0
    refused: int = 0
    synthesised: int = 0
    slowest_seconds: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.accepted + self.refused} mutations: {self.accepted} accepted ({self.synthesised} of them "
            f"synthesised), {self.refused} refused with {self.problems.total()} problems at {len(self.problems)} keys; "
            f"slowest check {self.slowest_seconds:.2f} s; {len(self.faults)} faults"
        )


def fuzz(mutations: int, seed: int, synthesise: Synthesise | None = None, synths: int = 0) -> Summary:
    """Run so many mutations. `synthesise` returns what the templates of a fleet pass of AWS's limits."""
    summary, bases = Summary(), _bases()
    with TemporaryDirectory(prefix="tierfleet-fuzz-") as folder:
        for first in range(0, mutations, _FILES_A_BATCH):
            numbers = range(first, min(first + _FILES_A_BATCH, mutations))
            files = [_write(Path(folder) / str(number % _FILES_A_BATCH), seed, number, bases) for number in numbers]
            checked = [_checked(file, seed, number, summary) for file, number in zip(files, numbers, strict=True)]
            _check_batch(files, checked, summary)
            for file, number in zip(checked, numbers, strict=True):
                if file is None or file.config is None:
                    continue
                _use(file.config, summary, priced=summary.accepted % _PRICED == 0)
                # Spread over the run: about one mutation in seven is accepted.
                if (
                    synthesise
                    and summary.synthesised < synths
                    and summary.accepted * 8 * synths >= (summary.synthesised * mutations)
                ):
                    summary.synthesised += 1
                    summary.faults += [f"seed {seed}.{number}: {fault}" for fault in synthesise(file.config)]
    return summary


def _bases() -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """Documents to start from, with the files next to them."""
    from local_cloud.testing.fleets import FLEET_FILES, document

    lists = {file.name: file.read_bytes() for file in (ROOT / "config").glob("*.txt")}
    shipped = [(tomllib.loads(file.read_text(encoding="utf-8")), lists) for file in FLEET_FILES]
    full = document(
        tags={"owner": "risk"},
        network={
            "subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            "security_group_ids": ["sg-01234567"],
        },
        encryption={
            "bucket_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
        },
    )
    full["tiers"]["whale"]["guardrail"] = {"type": "LINEAR"}
    full["tiers"]["whale"]["scaling"]["schedules"] = {"night": {"schedule": "cron(0 20 * * ? *)", "min": 2, "max": 4}}
    full["tiers"]["second"] = {**copy.deepcopy(full["tiers"]["tail"]), "default": False, "tenants": ["t8", "t9"]}
    return [*shipped, (document(), {}), (document(), {}), (full, {})]


def _write(folder: Path, seed: int, number: int, bases: list[tuple[dict[str, Any], dict[str, bytes]]]) -> Path:
    """The file of one mutation, called as its fleet wants to be; the same for the same seed and number."""
    chosen = random.Random(f"{seed}.{number}")
    document, beside = chosen.choice(bases)
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in beside.items():
        (folder / name).write_bytes(mutate_bytes(chosen, content) if chosen.random() < 0.1 else content)
    if (kind := chosen.random()) < 0.85:
        document = mutate_document(chosen, document)
    content = toml_of(document)
    if kind >= 0.8:
        content = mutate_bytes(chosen, content)
    name = f"{document.get('fleet')}-{document.get('environment')}.toml"
    plain = name.isascii() and name.isprintable() and "/" not in name and len(name) < 200
    file = folder / (name if plain else "shop-test.toml")
    file.write_bytes(content)
    return file


def _checked(file: Path, seed: int, number: int, summary: Summary) -> CheckedFile | None:
    started = time.monotonic()
    where = f"seed {seed}.{number}"
    try:
        checked = check_file(file)
        errors = errors_of(checked.problems)
        text = json.dumps([vars(problem) for problem in checked.problems], allow_nan=False) + "".join(
            str(problem) for problem in checked.problems
        )
        if (checked.config is None) != bool(errors):
            summary.faults.append(f"{where}: {len(errors)} errors, yet config is {checked.config is not None}")
        if not all(problem.message and problem.fix for problem in checked.problems) or "Traceback" in text:
            summary.faults.append(f"{where}: a problem without words: {text[:500]}")
        if len(set(map(str, errors))) < len(errors):
            summary.faults.append(f"{where}: one problem twice: {text[:500]}")
    except Exception:
        summary.faults.append(f"{where}: {traceback.format_exc()}")
        return None
    summary.slowest_seconds = max(summary.slowest_seconds, time.monotonic() - started)
    if summary.slowest_seconds > LONGEST_SECONDS:
        summary.faults.append(f"{where}: took {summary.slowest_seconds:.0f} s")
    summary.problems.update(problem.key for problem in errors)
    summary.accepted += checked.config is not None
    summary.refused += checked.config is None
    return checked


def _check_batch(files: list[Path], alone: list[CheckedFile | None], summary: Summary) -> None:
    """All files at once give each file's own problems: one fault never hides another file's."""
    if any(file is None for file in alone):
        return
    together = check_files(files)
    for one, other in zip(alone, together, strict=True):
        assert one is not None
        if not set(map(str, one.problems)) <= set(map(str, other.problems)):
            summary.faults.append(f"{one.path}: other files hide its problems: {one.problems}")


def _use(config: FleetConfig, summary: Summary, *, priced: bool) -> None:
    """What every command does with a fleet."""
    try:
        fleet_summary(config)
        quota_table(config, quotas(config))
        json.loads(routes.route_json(config), parse_constant=_no_constant)
        if priced and not math.isfinite(monthly_cost(config, load_prices(None), Usage()).usd):
            summary.faults.append(f"{config.fleet}: the cost is not a number")
    except InputError:
        pass
    except Exception:
        summary.faults.append(f"{config.fleet}-{config.environment}: {traceback.format_exc()}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def synthesise_and_check(config: FleetConfig) -> list[str]:
    """What AWS's limits find in the templates of a fleet."""
    import aws_cdk as cdk

    from stacks.fleet_stage import FleetStage
    from tierfleet.template_limits import check_assembly

    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    with TemporaryDirectory(prefix="tierfleet-fuzz-") as outdir:
        app = cdk.App(context=context, outdir=outdir, tree_metadata=False, analytics_reporting=False)
        try:
            FleetStage(app, config)
            return check_assembly(Path(app.synth().directory))
        except Exception:
            return [traceback.format_exc()]


def main() -> int:
    """Exit code 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--synthesise", type=int, default=60, help="how many accepted fleets")
    given = parser.parse_args()
    os.environ["CDK_VALIDATION"] = "false"
    summary = fuzz(given.mutations, given.seed, synthesise_and_check, given.synthesise)
    print(summary)
    for fault in summary.faults[:20]:
        print(fault)
    return 1 if summary.faults else 0


if __name__ == "__main__":
    sys.exit(main())

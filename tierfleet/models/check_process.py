"""`python -m tierfleet.models.check_process`: checks a model file a line, so that whatever it does, only this ends.

A line of standard input is {"file", "probe": {"content_type", "body"} or null, "served_by": [1, 7, 4] or null,
"max_bytes", "xgboost": whether it must be an XGBoost model}; each is answered with a line {"findings", "facts"}.
"""

import json
import math
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tierfleet_server import artefact, heap, native
from tierfleet_server.artefact import METADATA, MODEL_FILE
from tierfleet_server.booster import BoosterModel, open_checked
from tierfleet_server.model_file import ModelFacts, file_format, refuse_newer
from tierfleet_server.payload import read_rows
from tierfleet_server.prepared import prepare, take
from tierfleet_server.refusal import BadModel, Refusal

from tierfleet.models.findings import Facts, Finding
from tierfleet.models.unpacking import unpack_with_findings

_HEAD_BYTES = 128
# Source: xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
_FIRST_WITH_UBJ = (1, 6, 0)


def check_file(request: dict[str, Any], scratch: Path) -> tuple[list[Finding], Facts | None]:
    """Every finding about one file, and what the model is if it loads. `scratch` is an empty folder to unpack into."""
    file, directory = Path(request["file"]), scratch / "model"
    packaged = file.name.endswith(".tar.gz")
    if packaged:
        findings = unpack_with_findings(file, directory, max_bytes=request["max_bytes"])
    else:
        directory.mkdir()
        (directory / MODEL_FILE).symlink_to(file.resolve())
        findings = []
    described = (directory / METADATA).exists()
    if not request["xgboost"] and not described:
        findings.append(
            Finding("note", "format", "is not looked into: the fleet's image is not an XGBoost image of ours")
        )
        return findings, None
    roots = [path for path in sorted(directory.iterdir()) if not path.name.startswith(".")]
    served_by, damaged = request["served_by"], bool(findings)
    findings += _root_findings(roots, directory, packaged=packaged, damaged=damaged, served_by=served_by)
    if len(roots) != 1 or any(finding.severity == "error" for finding in findings):
        return findings, None
    # A raw model is read where it lies; the link is ours.
    where = directory if packaged else roots[0].resolve()
    try:
        facts, more = _load(where, request, packaged=packaged, described=described)
    except Refusal as refusal:
        check = "version" if "was saved by XGBoost" in refusal.message else "load"
        return [*findings, Finding("error", check, refusal.message)], None
    except MemoryError:
        return [*findings, Finding("error", "load", "needs more memory than this machine has")], None
    return findings + more, facts


def _root_findings(
    roots: list[Path], directory: Path, *, packaged: bool, damaged: bool, served_by: list[int] | None
) -> list[Finding]:
    findings = []
    if packaged and len(roots) != 1 and (roots or not damaged):
        names = ", ".join(repr(path.name) for path in roots) or "none"
        message = (
            f"the artefact holds {len(roots)} usable files at its root ({names}); it must be exactly one, since the "
            "stock image would average all of them"
        )
        findings.append(Finding("error", "layout", message))
    for path in roots:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        try:
            form = file_format(head)
            # Packaging saves a bare model as UBJ, whatever it was.
            if (form == "ubj" or not packaged) and served_by is not None and tuple(served_by) < _FIRST_WITH_UBJ:
                findings.append(
                    Finding("error", "version", "is UBJ, which XGBoost reads from 1.6 on; use a newer image")
                )
        except BadModel as error:
            findings.append(Finding("error", "format", f"{path.name}: {error.message}" if packaged else error.message))
    if packaged and not damaged and (directory / METADATA).exists():
        try:
            artefact.read_metadata(directory)
        except BadModel as error:
            findings.append(Finding("error", "layout", error.message))
    return findings


def _load(where: Path, request: dict[str, Any], *, packaged: bool, described: bool) -> tuple[Facts, list[Finding]]:
    started = time.perf_counter()
    found = prepare(str(where), native.version())
    data = take(found.held)
    before = heap.in_use_bytes()
    handle = open_checked(data, found.facts)
    after = heap.in_use_bytes()
    seconds = time.perf_counter() - started
    findings = _version_findings(found.facts, request["served_by"], packaged=packaged)
    best = found.facts.best_iteration
    if packaged and not described and best is not None and best + 1 < found.facts.rounds:
        findings.append(_early_stopped(found.facts))
    if request["probe"] is not None:
        findings += _probe_findings(BoosterModel(handle, found.facts, found.preprocessing), **request["probe"])
    facts = Facts(
        features=found.facts.features,
        rounds=found.facts.rounds,
        trees=found.facts.trees,
        objective=found.facts.objective,
        xgboost_version=".".join(map(str, found.facts.version)),
        size_bytes=len(data),
        memory_bytes=None if before is None or after is None else max(0, after - before),
        load_seconds=round(seconds, 4),
    )
    return facts, findings


def _version_findings(facts: ModelFacts, served_by: list[int] | None, *, packaged: bool) -> list[Finding]:
    # Packaging saves a bare model again, with the XGBoost that is installed here.
    saved = facts.version if packaged else native.version()
    if served_by is None:
        return []
    major, minor, patch = served_by
    try:
        refuse_newer(saved, (major, minor, patch))
    except BadModel as error:
        return [Finding("error", "version", error.message)]
    if saved[:2] > (major, minor):
        message = (
            f"was saved by XGBoost {'.'.join(map(str, saved))} and the fleet's image has {major}.{minor}, which is not "
            "promised to read newer models: compare scores on that image before its first use"
        )
        return [Finding("note", "version", message)]
    return []


def _early_stopped(facts: ModelFacts) -> Finding:
    message = (
        f"was stopped early at round {facts.best_iteration} of {facts.rounds}, and all rounds would be scored; "
        "package it with models package, which cuts it there"
    )
    return Finding("warning", "load", message)


def _probe_findings(model: BoosterModel, content_type: str, body: str) -> list[Finding]:
    try:
        scores = model.predict(read_rows(body.encode(), content_type, model))
    except Refusal as refusal:
        if refusal.status == 415:
            return [Finding("note", "probe", f"the fleet's probe is {content_type}, which is not checked here")]
        message = f"the fleet's probe row does not fit: {refusal.message}"
        return [Finding("error", "probe", message)]
    if not all(math.isfinite(score) for score in scores):
        return [Finding("warning", "probe", f"scores the fleet's probe row with {scores[:3]}, which is not finite")]
    return []


def main() -> None:
    """Answer until standard input ends."""
    heap.use_one_arena()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    for line in sys.stdin:
        with tempfile.TemporaryDirectory(prefix="tierfleet-validate-") as scratch:
            findings, facts = check_file(json.loads(line), Path(scratch))
        answer = {"findings": [asdict(finding) for finding in findings], "facts": asdict(facts) if facts else None}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

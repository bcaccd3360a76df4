"""`python -m tierfleet.models.validation.check_process`: checks a model file for each line that it reads.

Whatever the file does, only this process ends.

A line of standard input is {"file", "probe": {"content_type", "body"} or null, "served_by": [1, 7, 4] or null,
"max_bytes", "rounds" as packaging takes it, "xgboost": whether it must be an XGBoost model}; each is answered with a
line {"findings", "facts"}.
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

import tierfleet_forest
from tierfleet_server.model import artefact, flat_forest, heap
from tierfleet_server.model.artefact import METADATA, MODEL_FILE
from tierfleet_server.model.booster import BoosterModel, Model, open_checked
from tierfleet_server.model.load_limits import Admitted
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import BadModel, Refusal
from tierfleet_server.payloads.payload import read_rows
from tierfleet_server.publishing.document import read_document
from tierfleet_server.publishing.foreign import describe_bytes, foreign_format, model_format
from tierfleet_server.publishing.reading_rules import FIRST_WITH_UBJ, differences, refuse_unreadable, version_of
from tierfleet_server.publishing.rounds import Rounds
from tierfleet_server.publishing.served_model import Served, served_model
from tierfleet_server.publishing.versions import dotted

from tierfleet.models.target import DENSE, Target
from tierfleet.models.validation.findings import Facts, Finding
from tierfleet.models.validation.unpacking import unpack_with_findings

_HEAD_BYTES = 4096


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
    findings += _root_findings(roots, directory, packaged=packaged, damaged=bool(findings))
    if len(roots) != 1 or any(finding.severity == "error" for finding in findings):
        return findings, None
    try:
        data = roots[0].read_bytes()
        if flat_forest.is_forest(data):
            facts, more = _load_forest(roots[0], directory, request)
        else:
            facts, more = _load(data, directory if described else None, request)
            if (beside := flat_forest.find_forest(directory)) is not None:
                flat_forest.load_forest(beside, _admitted(beside))
    except Refusal as refusal:
        check = "version" if "was saved by XGBoost" in refusal.message else "load"
        return [*findings, Finding("error", check, refusal.message)], None
    except MemoryError:
        return [*findings, Finding("error", "load", "needs more memory than this machine has")], None
    return findings + more, facts


def _root_findings(roots: list[Path], directory: Path, *, packaged: bool, damaged: bool) -> list[Finding]:
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
        if flat_forest.is_forest(head):
            continue
        what = foreign_format(head) or (None if model_format(head) else describe_bytes(head))
        if what is not None:
            where = f"{path.name}: " if packaged else ""
            findings.append(Finding("error", "format", f"{where}the model file {what}"))
    if packaged and not damaged and (directory / METADATA).exists():
        try:
            artefact.read_metadata(directory)
        except BadModel as error:
            findings.append(Finding("error", "layout", error.message))
    return findings


def _load(data: bytes, described: Path | None, request: dict[str, Any]) -> tuple[Facts, list[Finding]]:
    started = time.perf_counter()
    reader = request["served_by"]
    target = DENSE if reader is None else Target((reader[0], reader[1], reader[2]), stock=True)
    findings = []
    if described is not None:
        findings += _packaged_for_another(data, target)
    # Packaging decided about the rounds of what is packaged.
    rounds: Rounds = request["rounds"] if described is None else "all"
    served = served_model(
        data, reader=target.reader, stock=target.stock, rounds=rounds, verify=described is None and not findings
    )
    preprocessing = Preprocessing()
    if described is None:
        findings += [Finding("note", "package", note) for note in served.notes]
        findings += [Finding("warning", "package", warning) for warning in served.warnings]
    else:
        metadata = artefact.read_metadata(described)
        if metadata is not None:
            preprocessing = metadata.check(data, served.facts)
    findings += _version_findings(served, target)
    before = heap.in_use_bytes()
    handle = open_checked(served.ubj, served.facts)
    after = heap.in_use_bytes()
    seconds = time.perf_counter() - started
    if request["probe"] is not None:
        findings += _probe_findings(BoosterModel(handle, served.facts, preprocessing), **request["probe"])
    facts = Facts(
        features=served.facts.features,
        rounds=served.kept.rounds or served.facts.rounds,
        trees=served.facts.trees,
        objective=served.facts.objective,
        xgboost_version=dotted(served.source),
        size_bytes=len(served.data),
        memory_bytes=None if before is None or after is None else max(0, after - before),
        load_seconds=round(seconds, 4),
    )
    return facts, findings


def _load_forest(file: Path, directory: Path, request: dict[str, Any]) -> tuple[Facts, list[Finding]]:
    if request["served_by"] is not None:
        raise BadModel("the model is a flat forest, which AWS's image does not read; publish the model as UBJ")
    started = time.perf_counter()
    model = flat_forest.load_forest(file, _admitted(file))
    seconds = time.perf_counter() - started
    metadata = artefact.read_metadata(directory)
    forest = tierfleet_forest.load(file)
    facts = Facts(
        features=model.features,
        rounds=metadata.rounds if metadata is not None else 0,
        trees=forest.trees,
        objective=metadata.objective if metadata is not None else "",
        xgboost_version=metadata.xgboost_version if metadata is not None else "",
        size_bytes=forest.size_bytes,
        memory_bytes=forest.size_bytes,
        load_seconds=round(seconds, 4),
    )
    findings = [] if request["probe"] is None else _probe_findings(model, **request["probe"])
    return facts, findings


def _admitted(file: Path) -> Admitted:
    return Admitted(file.stat().st_size, flat_forest.FORM)


def _packaged_for_another(data: bytes, target: Target) -> list[Finding]:
    document, form = read_document(data), model_format(data[:_HEAD_BYTES]) or ""
    source = version_of(document)
    refuse_unreadable(document, source, target.reader)
    if form == "ubj" and target.reader < FIRST_WITH_UBJ:
        message = "is UBJ, which XGBoost reads from 1.6 on; use a newer image, or package the model again with --config"
        return [Finding("error", "version", message)]
    reasons = differences(document, form, source, target.reader)
    if not reasons:
        return []
    message = (
        f"was packaged for another image than {target.name}: {'; '.join(reasons)}; package the model that training "
        "wrote again, with --config"
    )
    return [Finding("error", "version", message)]


def _version_findings(served: Served, target: Target) -> list[Finding]:
    # What was converted says so already.
    if not target.stock or served.source[:2] <= target.reader[:2] or served.notes:
        return []
    message = (
        f"was saved by XGBoost {dotted(served.source)} and the fleet's image has "
        f"{target.reader[0]}.{target.reader[1]}, which reads {served.facts.objective} of it exactly "
        "(docs/models.md, Versions)"
    )
    return [Finding("note", "version", message)]


def _probe_findings(model: Model, content_type: str, body: str) -> list[Finding]:
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

"""Validating model files before anything is uploaded: every finding of every file, each checked in another process."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tierfleet.models.artefacts import MAX_UPLOAD_BYTES
from tierfleet.models.files import ModelFile, check_plain
from tierfleet.models.publish import PublishError, check_names
from tierfleet.models.target import Target, target_of
from tierfleet.models.validation import fleet_fit
from tierfleet.models.validation.findings import Facts, Finding, Validated

if TYPE_CHECKING:
    from tierfleet_server.publishing.rounds import Rounds

    from tierfleet.config import FleetConfig

_TIMEOUT_SECONDS = 600
# What the model server itself unpacks at most (tierfleet_server.model.archive.MAX_UNPACKED_BYTES).
_MAX_UNPACKED_BYTES = 4 * 1024**3


def validate(
    models: Sequence[ModelFile],
    *,
    fleet: "FleetConfig | None" = None,
    target: Target | None = None,
    rounds: "Rounds" = "auto",
    jobs: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Validated]:
    """Check model files, in their order, with the fleet's probe, image and tiers where a fleet is given.

    `target`: the image, where it is not the fleet's. `rounds`: as packaging takes it.
    `jobs`: processes at work (default: one a processor); `done` is called after each file, in other threads.
    """
    checkers = threading.local()
    every: list[CheckProcess] = []

    def one(model: ModelFile) -> Validated:
        if not hasattr(checkers, "process"):
            checkers.process = CheckProcess()
            every.append(checkers.process)
        try:
            return _validated(
                model, fleet, {**_request(fleet, target, model.tenant), "rounds": rounds}, checkers.process
            )
        finally:
            done()

    try:
        with ThreadPoolExecutor(min(jobs or os.cpu_count() or 1, len(models) or 1), "validate") as pool:
            try:
                return list(pool.map(one, models))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        for process in every:
            process.close()


def _validated(
    model: ModelFile, fleet: "FleetConfig | None", request: dict[str, Any], process: "CheckProcess"
) -> Validated:
    findings = []
    try:
        check_names(model.tenant, model.version)
    except PublishError as error:
        findings.append(Finding("error", "name", f"{error} (files are named <tenant>/<version>)"))
    try:
        check_plain(model.file)
        file_bytes = model.file.stat().st_size
        with model.file.open("rb"):
            pass
    except OSError as error:
        return Validated(model, 0, (*findings, Finding("error", "name", f"cannot be read: {error.strerror}")), None)
    if file_bytes > MAX_UPLOAD_BYTES:
        findings.append(Finding("error", "size", f"has {file_bytes} bytes; S3 takes {MAX_UPLOAD_BYTES} in one upload"))
    more, facts = process.check({"file": str(model.file), **request})
    findings += more
    if fleet is not None and facts is not None:
        findings += fleet_fit.findings(fleet, model.tenant, file_bytes=file_bytes, facts=facts)
    return Validated(model, file_bytes, tuple(findings), facts)


def refuse_bad_archive(model: ModelFile) -> None:
    """Raise ValueError with what is wrong with a `.tar.gz`, whatever is in its files; OSError if it cannot be read."""
    from tierfleet.models.validation.unpacking import unpack_with_findings

    check_plain(model.file)
    with tempfile.TemporaryDirectory(prefix="tierfleet-") as scratch:
        findings = unpack_with_findings(model.file, Path(scratch, "model"), max_bytes=_MAX_UNPACKED_BYTES)
    if findings:
        raise ValueError(f"{model.file}: {'; '.join(finding.message for finding in findings)}")


def _request(fleet: "FleetConfig | None", target: Target | None, tenant: str) -> dict[str, Any]:
    chosen = target or target_of(fleet)
    served_by = chosen.reader if chosen.stock else None
    if fleet is None:
        return {"probe": None, "served_by": served_by, "max_bytes": _MAX_UNPACKED_BYTES, "xgboost": True}
    tier = fleet.tiers[fleet.tier_of(tenant)]
    probe = tier.model_probe(fleet.probe)
    return {
        "probe": {"content_type": probe.content_type, "body": probe.body} if probe else None,
        "served_by": served_by,
        "max_bytes": _MAX_UNPACKED_BYTES,
        "xgboost": tier.model_container(fleet.container).image in ("tierfleet", "sagemaker-xgboost"),
    }


class CheckProcess:
    """A check process, started by the first file and again after one that ended it; used by one thread."""

    def __init__(
        self, command: Sequence[str] = (sys.executable, "-m", "tierfleet.models.validation.check_process")
    ) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def check(self, request: dict[str, Any]) -> tuple[list[Finding], Facts | None]:
        process = self._process = self._process or subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        late = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        late.daemon = True  # a signal may come before it can be cancelled
        try:
            late.start()
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            late.cancel()
        if not line:
            code = self.close()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return [Finding("error", "load", f"ended the process that checked it ({how}); it would end a server")], None
        answer = json.loads(line)
        facts = answer["facts"]
        return [Finding(**finding) for finding in answer["findings"]], Facts(**facts) if facts else None

    def close(self) -> int:
        """End the process; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

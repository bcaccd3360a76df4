"""What `tierfleet models` prints: the notes of packaging, findings, and what became of each model."""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import typer
from rich.console import Console
from rich.markup import escape

from tierfleet.cli.console import columns, err, out, print_json, say
from tierfleet.columns import in_columns
from tierfleet.models.files import ModelFile
from tierfleet.models.package import Package
from tierfleet.models.publish_many import Outcome
from tierfleet.models.validation.findings import Finding, Severity, Validated
from tierfleet.text import counted, size

_POINTER_WORDS = {"moved": "made current", "unchanged": "already current", "left alone": "for its container"}


class PackagingNotes:
    """The notes and warnings of packaging, each printed once with the first file that it concerns."""

    def __init__(self) -> None:
        self._files: dict[tuple[Severity, str], list[str]] = {}

    def add(self, model: ModelFile, made: Package) -> None:
        """Note what packaging said of this model."""
        for severity, sentences in (("note", made.notes), ("warning", made.warnings)):
            for sentence in sentences:
                self._files.setdefault((cast(Severity, severity), sentence), []).append(str(model.file))

    def print(self) -> None:
        """Print the notes and warnings to standard error."""
        for (severity, sentence), files in self._files.items():
            several = f" and {len(files) - 1} more" if len(files) > 1 else ""
            say(severity, f"{files[0]}{several}: {sentence}", check="package", console=err)


def print_findings(validated: list[Validated], general: list[Finding], console: Console = out) -> None:
    """Print each finding once, with the first file that it concerns; then those of the fleet."""
    files: dict[Finding, list[str]] = {}
    for item in validated:
        for finding in item.findings:
            files.setdefault(finding, []).append(str(item.model.file))
    for finding, where in files.items():
        several = f" and {len(where) - 1} more" if len(where) > 1 else ""
        text = f"{where[0]}{several}: {finding.message}"
        say(finding.severity, text, check=finding.check, console=console)
    for finding in general:
        say(finding.severity, finding.message, check=finding.check, console=console)


def print_outcomes(outcomes: list[Outcome], seconds: float, pinned: Mapping[str, str], *, as_json: bool) -> None:
    """Print what `publish` did. Exit code 2 if a model failed. pinned: why a tenant's endpoint keeps its version."""
    failed = [outcome for outcome in outcomes if outcome.failed]
    published = [outcome.publication for outcome in outcomes if outcome.publication]
    counts = Counter(outcome.status for outcome in outcomes)
    uploaded = sum(item.size_bytes for item in published if item.artefact == "uploaded")
    if as_json:
        summary = {**{str(k): n for k, n in counts.items()}, "uploaded_bytes": uploaded, "seconds": round(seconds, 3)}
        messages = [outcome.message for outcome in failed]
        data = {"published": [vars(item) for item in published], "refused": messages, "summary": summary}
        print_json({**data, "outcomes": [outcome.to_json() for outcome in outcomes]})
    else:
        if len(outcomes) <= 20:
            rows = []
            for item in sorted(published, key=lambda item: item.target_model):
                moved = _POINTER_WORDS[item.pointer]
                rows.append((item.target_model, size(item.size_bytes), f"{item.artefact}, {moved}"))
            for line in in_columns(rows, columns(), shrink=(0,), right=(1,)):
                out.print(escape(line))
        shown = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        rate = f"{len(outcomes) / seconds:.0f}/s"
        out.print(f"{counted(len(outcomes), 'model')}: {shown}; {size(uploaded)} uploaded in {seconds:.1f} s ({rate})")
        for target, why in sorted(pinned.items()):
            if any(item.tenant == target.partition("/")[0] and item.target_model not in pinned for item in published):
                message = f"{why}: its endpoint still serves {target}; change that line and deploy to roll out"
                say("warning", message)
        for outcome in failed:
            if not outcome.message.startswith("validation"):
                err.print(f"[bold red]{outcome.status}[/]: {escape(f'{outcome.model.file}: {outcome.message}')}")
    if failed:
        raise typer.Exit(2)

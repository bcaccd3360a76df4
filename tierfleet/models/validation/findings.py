"""What validation finds in a model file, and what it learns about the model."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tierfleet.models.files import ModelFile

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One finding; `check` is its rule in a word: name, archive, layout, format, version, load, probe, size."""

    severity: Severity
    check: str
    message: str


@dataclass(frozen=True)
class Facts:
    """A model that loads: `size_bytes` of its file unpacked, `memory_bytes` that XGBoost took for it, if known."""

    features: int
    rounds: int
    trees: int
    objective: str
    xgboost_version: str
    size_bytes: int
    memory_bytes: int | None
    load_seconds: float


@dataclass(frozen=True)
class Validated:
    """A file after every check; `facts` is None where the model could not be loaded."""

    model: ModelFile
    file_bytes: int
    findings: tuple[Finding, ...]
    facts: Facts | None

    @property
    def ok(self) -> bool:
        """Whether it may be published."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.model.file),
            "tenant": self.model.tenant,
            "version": self.model.version,
            "ok": self.ok,
            "file_bytes": self.file_bytes,
            "findings": [asdict(finding) for finding in self.findings],
            "facts": asdict(self.facts) if self.facts else None,
        }

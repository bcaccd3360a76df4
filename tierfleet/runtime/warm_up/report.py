"""What a warm-up run did with each listed tenant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WarmUpReport:
    """Where each listed tenant ended: in exactly one of warmed, failed, missing, skipped and left.

    Tenants are in the order of the plan, hottest first.
    """

    warmed: tuple[str, ...]
    """The model answered the probe."""

    failed: Mapping[str, str]
    """Tenant to one sentence that says why its model did not answer."""

    missing: tuple[str, ...]
    """Nothing is published for the tenant, or its archive is gone."""

    skipped: Mapping[str, str]
    """Tenant to one sentence that names the tier that serves it."""

    left: tuple[str, ...]
    """Not finished when the run had to stop."""

    seconds: float
    """How long the run took."""

    stopped: str | None
    """Why the run stopped before the end of the list."""

    probe_errors: Mapping[str, str] = field(default_factory=dict)
    """Tenant to why the endpoint did not answer its last probe: failed, missing, or left while it was tried again.

    A model that was still loading when the run stopped is not here, nor is a tenant whose pointer could not be read.
    """

    @property
    def counts(self) -> dict[str, int]:
        return {
            "warmed": len(self.warmed),
            "failed": len(self.failed),
            "missing": len(self.missing),
            "skipped": len(self.skipped),
            "left": len(self.left),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, ready for json.dumps."""
        return {
            "warmed": list(self.warmed),
            "failed": dict(self.failed),
            "missing": list(self.missing),
            "skipped": dict(self.skipped),
            "left": list(self.left),
            "seconds": self.seconds,
            "stopped": self.stopped,
        }

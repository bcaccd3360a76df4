"""What a warm-up run did with each listed tenant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WarmUpReport:
    """Where each listed tenant ended: in exactly one of warmed, failed, missing, skipped and left.

    failed and skipped: tenant to one sentence; missing: nothing is published; left: not finished when the run
    had to stop; stopped: why it had to; the order is the plan's, hottest first.
    """

    warmed: tuple[str, ...]
    failed: Mapping[str, str]
    missing: tuple[str, ...]
    skipped: Mapping[str, str]
    left: tuple[str, ...]
    seconds: float
    stopped: str | None

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

"""One result of the preflight, and what every check works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tierfleet.config import FleetConfig

Status = Literal["ok", "problem", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence about the account."""

    area: str
    """What was looked at, such as `quotas`."""
    status: Status
    """ok: proven; problem: a deployment or a call would fail; unknown: it could not be looked at."""
    message: str
    """One sentence."""
    remedy: str = ""
    """What to do about a problem; empty where nothing is wrong."""

    def to_json(self) -> dict[str, str]:
        """The finding as JSON-ready data."""
        return {"area": self.area, "status": self.status, "message": self.message, "remedy": self.remedy}


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that is looked at; client: makes a boto3 client of a service."""

    config: FleetConfig
    client: Callable[[str], Any]
    buckets: dict[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    """What S3 has said of buckets so far, by name: two checks ask for them."""

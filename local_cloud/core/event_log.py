"""What happened in the local emulator, in order: the record that tests of ordering read."""

import threading
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local_cloud.core.clock import clock

_entries: list[dict[str, Any]] = []
_lock = threading.Lock()


def record(action: str, resource: str, **details: Any) -> None:
    """Add one entry, for example record("EndpointCreated", "fraud--prod--tail--all--mme-m5-xlarge")."""
    with _lock:
        _entries.append(
            {
                "sequence": len(_entries),
                "time": clock.now(),
                "account": get_account_id(),
                "region": get_region(),
                "action": action,
                "resource": resource,
                **details,
            }
        )


def entries(*, account: str | None = None, since: int = 0) -> list[dict[str, Any]]:
    with _lock:
        return [entry for entry in _entries[since:] if account in (None, entry["account"])]


def clear() -> None:
    with _lock:
        _entries.clear()

"""NextToken pages of a list call."""

import base64
from typing import Any

from local_cloud.core.errors import ServiceError


def page(
    items: list[dict[str, Any]], *, max_results: int | None, next_token: str | None, default_size: int = 10
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The items of one page and, when there are more, {"NextToken": ...}."""
    start = 0
    if next_token:
        try:
            start = int(base64.b64decode(next_token, validate=True))
        except ValueError:
            raise ServiceError("ValidationException", f"Invalid pagination token: {next_token}") from None
    end = start + (max_results or default_size)
    following = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else {}
    return items[start:end], following

"""ARNs, listing and the error texts that SageMaker's resources share."""

import re
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local_cloud.core.errors import ServiceError
from local_cloud.core.pagination import page

_NAME = re.compile(r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")

_WORDS = {"model": "model", "endpoint-config": "endpoint configuration", "endpoint": "endpoint"}


def arn(kind: str, name: str) -> str:
    """SageMaker keeps the case of a name and lowers it in the ARN."""
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{kind}/{name.lower()}"


def check_name(field: str, name: str) -> None:
    if not _NAME.match(name):
        raise ServiceError(
            "ValidationException",
            f"1 validation error detected: Value '{name}' at '{field}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {_NAME.pattern[1:-1]}",
        )


def not_found(kind: str, name: str) -> ServiceError:
    return ServiceError("ValidationException", f'Could not find {_WORDS[kind]} "{arn(kind, name)}".')


def already_exists(kind: str, name: str) -> ServiceError:
    return ServiceError("ValidationException", f'Cannot create already existing {_WORDS[kind]} "{arn(kind, name)}".')


def list_page(request: dict[str, Any], summaries: list[dict[str, Any]], name_field: str) -> dict[str, Any]:
    """One page of a List call: its filters, its order, its NextToken."""
    matching = [summary for summary in summaries if _matches(request, summary, name_field)]
    sort_field = {"Name": name_field, "Status": "EndpointStatus"}.get(request.get("SortBy", ""), "CreationTime")
    matching.sort(key=lambda s: (s[sort_field], s[name_field]), reverse=request.get("SortOrder") != "Ascending")
    shown, following = page(matching, max_results=request.get("MaxResults"), next_token=request.get("NextToken"))
    plural = name_field.removesuffix("Name") + "s"
    return {plural: shown, **following}


def _matches(request: dict[str, Any], summary: dict[str, Any], name_field: str) -> bool:
    bounds: dict[str, Callable[[Any], bool]] = {
        "CreationTimeAfter": lambda limit: summary["CreationTime"] >= limit,
        "CreationTimeBefore": lambda limit: summary["CreationTime"] <= limit,
        "LastModifiedTimeAfter": lambda limit: summary["LastModifiedTime"] >= limit,
        "LastModifiedTimeBefore": lambda limit: summary["LastModifiedTime"] <= limit,
        "StatusEquals": lambda status: summary["EndpointStatus"] == status,
        "NameContains": lambda part: part.lower() in summary[name_field].lower(),
    }
    return all(accepts(request[name]) for name, accepts in bounds.items() if name in request)

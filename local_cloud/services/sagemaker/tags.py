"""Tags of SageMaker resources, by ARN."""

from typing import Any

from ministack.core.responses import AccountRegionScopedDict

_tags = AccountRegionScopedDict()


def put(resource_arn: str, tags: list[dict[str, str]]) -> None:
    """Replace all tags of a resource, as CloudFormation does."""
    _tags[resource_arn] = {tag["Key"]: tag["Value"] for tag in tags}


def drop(resource_arn: str) -> None:
    _tags.pop(resource_arn, None)


def add_tags(request: dict[str, Any]) -> dict[str, Any]:
    tags = _tags.setdefault(request["ResourceArn"], {})
    tags.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
    return {"Tags": _as_list(tags)}


def delete_tags(request: dict[str, Any]) -> dict[str, Any]:
    for key in request["TagKeys"]:
        _tags.get(request["ResourceArn"], {}).pop(key, None)
    return {}


def list_tags(request: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": _as_list(_tags.get(request["ResourceArn"], {}))}


def clear() -> None:
    _tags._data.clear()


def _as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]

"""No property is skipped silently: checked before a handler runs, and watched while it runs.

Before: the properties must fit CloudFormation's own schema (`resource_schemas`).
While: a top-level property that ministack's create handler never reads would have no effect. It is an error, unless
IGNORED lists it with the reason why nothing depends on it here.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import get_region

from local_cloud.services.cloudformation import schemas

# (resource type, property): why ministack may ignore it. docs/local-cloud-rules.md shows this list.
IGNORED: dict[tuple[str, str], str] = {
    (
        "AWS::S3::Bucket",
        "AccessControl",
    ): "only `cdk bootstrap` sets it, for access logs that are not written here",
    ("AWS::S3::Bucket", "BucketEncryption"): "nothing is encrypted here",
    ("AWS::S3::Bucket", "LifecycleConfiguration"): "objects do not age here",
    ("AWS::S3::Bucket", "MetricsConfigurations"): "the local emulator publishes no S3 request metrics",
}


class WatchedProperties(dict[str, Any]):
    """Properties that know which of them were read."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        self.read.update(super().keys())
        return super().items()

    def values(self) -> Any:
        self.read.update(super().keys())
        return super().values()

    def keys(self) -> Any:
        self.read.update(super().keys())
        return super().keys()

    def copy(self) -> dict[str, Any]:
        self.read.update(super().keys())
        return dict(super().items())


def check(resource_type: str, logical_id: str, properties: dict[str, Any]) -> None:
    """Raise, with all errors at once, for properties that CloudFormation would refuse."""
    errors = schemas.property_errors(resource_type, properties, get_region())
    if errors:
        raise ValueError(f"Properties validation failed for resource {logical_id} with message: " + "; ".join(errors))


def watched(resource_type: str, create: Callable[..., Any], delete: Callable[..., Any] | None) -> Callable[..., Any]:
    """Wrap a create handler of ministack: it fails if it leaves a property unread."""

    def create_reading_everything(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
        watching = WatchedProperties(properties)
        physical_id, attributes = create(logical_id, watching, stack_name)
        unread = sorted(
            name
            for name in dict.keys(watching) - watching.read
            if name != "Tags" and (resource_type, name) not in IGNORED
        )
        if unread:
            if delete is not None:
                delete(physical_id, properties)
            raise ValueError(f"{resource_type} {logical_id}: ministack would skip silently: {', '.join(unread)}")
        return physical_id, attributes

    return create_reading_everything

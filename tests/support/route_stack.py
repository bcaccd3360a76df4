"""The AppConfig half of a fleet, as CloudFormation."""

from typing import Any

from local_cloud.testing.fleet_template import alarm, route_resources


def routes_stack(document: dict[str, Any]) -> dict[str, Any]:
    """The AppConfig half of a fleet: a document, a monitor, a deployment that bakes."""
    return {"Resources": {"RouteErrors": alarm("route-errors", "Test", "Errors"), **route_resources(document, [])}}

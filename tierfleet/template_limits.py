"""Walks CloudFormation templates with the table of AWS limits: what a deployment would be refused for."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tierfleet import aws_limits
from tierfleet.assembly_diff import read_template
from tierfleet.config.schedule import check_schedule, check_timezone
from tierfleet.property_limits import PROPERTY_LIMITS, PropertyLimit

Template = Mapping[str, Any]

# A value known only at deployment counts as this many characters.
UNKNOWN_CHARACTERS = 64
_SECTIONS = (
    ("Resources", aws_limits.STACK_RESOURCES),
    ("Parameters", aws_limits.STACK_PARAMETERS),
    ("Outputs", aws_limits.STACK_OUTPUTS),
)


def check_assembly(directory: Path) -> list[str]:
    """One sentence for each limit that a template of a cloud assembly passes, nested stacks included."""
    findings: list[str] = []
    for file in sorted(directory.rglob("*.template.json")):
        size = file.stat().st_size
        stack = file.name.partition(".")[0]
        if size > aws_limits.TEMPLATE_BYTES.most:
            findings.append(f"{stack}: template has {size:,} bytes, at most {aws_limits.TEMPLATE_BYTES.most:,}")
        findings += [f"{stack}: {finding}" for finding in check_limits(read_template(file))]
    return findings


def check_limits(template: Template) -> list[str]:
    """One sentence for each limit that a template passes, its size as a file left out."""
    return [*_counts(template), *_properties(template), *_resources(template), *_policies(template)]


def _counts(template: Template) -> Iterator[str]:
    for section, limit in _SECTIONS:
        if (count := len(template.get(section, {}))) > limit.most:
            yield f"{count} {section}, at most {limit.most}"


def _properties(template: Template) -> Iterator[str]:
    for limit in PROPERTY_LIMITS:
        for name, properties in _of(template, limit.resource_type):
            for value in _values(properties, limit.path):
                for fault in _faults(limit, value):
                    yield f"{name}: {limit.path.rpartition('.')[2] or limit.path} {fault} ({limit.source})"


def _faults(limit: PropertyLimit, value: Any) -> Iterator[str]:
    if limit.least is not None or limit.most is not None:
        if isinstance(value, dict):
            return
        least, most = limit.least or 0, limit.most
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= (most or value):
            yield f"is {value}, allowed: {least:g} to {most:g}"
        return
    length = len(value) if limit.entries else length_of(value)
    unit = "items" if limit.entries or isinstance(value, list) else "characters"
    if length < limit.shortest:
        yield f"has {length} {unit}, at least {limit.shortest}"
    elif limit.longest is not None and length > limit.longest:
        yield f"has {length} {unit}, at most {limit.longest}"
    elif limit.pattern is not None and isinstance(value, str) and not re.fullmatch(limit.pattern, value):
        yield f"is {value!r}, which does not match {limit.pattern}"
    if limit.distinct and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield "lists an item twice"


def _values(properties: Any, path: str) -> Iterator[Any]:
    """The values at a path; nothing where the template leaves it out or takes it from the deployment."""
    head, _, rest = path.partition(".")
    name, in_list = head.removesuffix("[]"), head.endswith("[]")
    if not isinstance(properties, Mapping):
        return
    if name == "{key}":
        values: list[Any] = list(properties)
    elif name == "{}":
        values = list(properties.values())
    else:
        values = [properties[name]] if name in properties else []
    if in_list:
        values = [item for value in values if isinstance(value, list) for item in value]
    for value in values:
        if rest:
            yield from _values(value, rest)
        else:
            yield value


def _resources(template: Template) -> Iterator[str]:
    """Limits that need more than one property, or an expression."""
    for name, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        yield from (f"{name}: {fault}" for fault in _tags(resource["Type"], properties.get("Tags", [])))
    for name, properties in _of(template, "AWS::Logs::LogGroup"):
        if properties.get("RetentionInDays", 30) not in aws_limits.LOG_RETENTION_DAYS:
            yield f"{name}: RetentionInDays {properties['RetentionInDays']} is not a value that CloudWatch Logs allows"
    for name, properties in _of(template, "AWS::Lambda::Function"):
        variables = properties.get("Environment", {}).get("Variables", {})
        size = sum(len(key) + length_of(value) for key, value in variables.items())
        if size > aws_limits.LAMBDA_ENVIRONMENT_BYTES.most:
            yield f"{name}: environment has {size} bytes, at most {aws_limits.LAMBDA_ENVIRONMENT_BYTES.most}"
    for name, properties in _of(template, "AWS::S3::Bucket"):
        yield from (f"{name}: {fault}" for fault in _bucket_name(properties.get("BucketName")))
    for name, properties in _of(template, "AWS::SageMaker::Model"):
        for container in (properties.get("PrimaryContainer", {}), *properties.get("Containers", [])):
            variables = container.get("Environment", {})
            size = sum(length_of(key) + length_of(value) for key, value in variables.items())
            if size > aws_limits.ENVIRONMENT_BYTES.most:
                yield f"{name}: environment has {size} bytes, at most {aws_limits.ENVIRONMENT_BYTES.most}"
        hostnames = [container.get("ContainerHostname") for container in properties.get("Containers", [])]
        if len(set(hostnames)) < len(hostnames):
            yield f"{name}: Containers list a hostname twice"
    for name, properties in _of(template, "AWS::SageMaker::EndpointConfig"):
        yield from (f"{name}: {fault}" for fault in _variants(properties.get("ProductionVariants", [])))
    for name, properties in _of(template, "AWS::SageMaker::Endpoint"):
        yield from (f"{name}: {fault}" for fault in _waits(properties))
    for name, properties in _of(template, "AWS::CloudWatch::Dashboard"):
        yield from (f"{name}: {fault}" for fault in _dashboard(properties["DashboardBody"]))
    for name, expression, zone in schedules(template):
        for check, value in ((check_schedule, expression), (check_timezone, zone)):
            try:
                check(value)
            except ValueError as error:
                yield f"{name}: {value}: {error}"


def schedules(template: Template) -> Iterator[tuple[str, str, str]]:
    """Logical id, expression and time zone of everything that runs by the clock."""
    for name, properties in _of(template, "AWS::Scheduler::Schedule"):
        yield name, properties.get("ScheduleExpression", ""), properties.get("ScheduleExpressionTimezone", "UTC")
    for name, properties in _of(template, "AWS::Events::Rule"):
        if "ScheduleExpression" in properties:
            yield name, properties["ScheduleExpression"], "UTC"
    for name, properties in _of(template, "AWS::ApplicationAutoScaling::ScalableTarget"):
        for action in properties.get("ScheduledActions", []):
            yield name, action["Schedule"], action.get("Timezone", "UTC")


def _tags(resource_type: str, tags: Any) -> Iterator[str]:
    pairs = [(tag["Key"], tag["Value"]) for tag in tags] if isinstance(tags, list) else list(tags.items())
    if len(pairs) > aws_limits.TAGS.most:
        yield f"{len(pairs)} tags, at most {aws_limits.TAGS.most}"
    keys = [key.casefold() if resource_type.startswith("AWS::IAM::") else key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        yield f"duplicate tag keys {', '.join(twice)}"
    for key, value in pairs:
        if key.casefold().startswith(aws_limits.RESERVED_TAG_PREFIX):
            yield f"tag {key}: the prefix {aws_limits.RESERVED_TAG_PREFIX} is AWS's own"
        for text, limit in ((key, aws_limits.TAG_KEY), (value, aws_limits.TAG_VALUE)):
            if isinstance(text, str) and not (
                1 <= len(text) <= limit.most and re.fullmatch(aws_limits.TAG_PATTERN, text)
            ):
                yield f"tag {key}: {text[:40]!r} is not 1 to {limit.most} letters, digits, spaces or _ . : / = + - @"


def _bucket_name(name: Any) -> Iterator[str]:
    if isinstance(name, str):
        for prefix in aws_limits.RESERVED_BUCKET_PREFIXES:
            if name.startswith(prefix):
                yield f"BucketName {name} begins with {prefix}, which S3 reserves"
        for suffix in aws_limits.RESERVED_BUCKET_SUFFIXES:
            if name.endswith(suffix):
                yield f"BucketName {name} ends with {suffix}, which S3 reserves"


def _variants(variants: list[Mapping[str, Any]]) -> Iterator[str]:
    for variant in variants:
        serverless = variant.get("ServerlessConfig", {})
        if bool(serverless) == ("InstanceType" in variant):
            yield "a variant has either an InstanceType or a ServerlessConfig"
        if (memory := serverless.get("MemorySizeInMB", 0)) % 1024:
            yield f"MemorySizeInMB is {memory}, allowed: steps of 1024"
        most = serverless.get("MaxConcurrency", 0)
        if serverless.get("ProvisionedConcurrency", 0) > most:
            yield f"ProvisionedConcurrency is above MaxConcurrency, {most}"


def _waits(properties: Mapping[str, Any]) -> Iterator[str]:
    policy = properties.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    if not policy:
        return
    routing = policy["TrafficRoutingConfiguration"]
    step = routing.get("LinearStepSize", {}).get("Value", 100) if routing["Type"] == "LINEAR" else 100
    waits = -(-100 // step) * routing.get("WaitIntervalInSeconds", 0) + policy.get("TerminationWaitInSeconds", 0)
    if policy.get("MaximumExecutionTimeoutInSeconds", waits + 1) <= waits:
        yield f"MaximumExecutionTimeoutInSeconds must be above the waits, {waits} s"


def _dashboard(body: Any) -> Iterator[str]:
    widgets = json.loads(text_of(body))["widgets"]
    if len(widgets) > aws_limits.DASHBOARD_WIDGETS.most:
        yield f"{len(widgets)} widgets, at most {aws_limits.DASHBOARD_WIDGETS.most}"
    metrics = [
        sum(not isinstance(row[0], dict) for row in widget["properties"].get("metrics", [])) for widget in widgets
    ]
    if sum(metrics) > aws_limits.DASHBOARD_METRICS.most:
        yield f"{sum(metrics)} metrics, at most {aws_limits.DASHBOARD_METRICS.most}"
    if max(metrics, default=0) > aws_limits.WIDGET_METRICS.most:
        yield f"a widget of {max(metrics)} metrics, at most {aws_limits.WIDGET_METRICS.most}"


def _policies(template: Template) -> Iterator[str]:
    sizes: dict[str, int] = {}
    for _, properties in _of(template, "AWS::IAM::Policy"):
        for role in map(text_of, properties.get("Roles", [])):
            sizes[role] = sizes.get(role, 0) + length_of(properties["PolicyDocument"])
    for role, size in sizes.items():
        if size > aws_limits.ROLE_POLICIES.most:
            yield f"{role}: inline policies have {size} characters, at most {aws_limits.ROLE_POLICIES.most}"


def _of(template: Template, resource_type: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == resource_type:
            yield name, resource.get("Properties", {})


def text_of(value: Any) -> str:
    """A value as text, with <id> for a value known only at deployment."""
    if isinstance(value, dict) and "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(map(text_of, parts))
    if isinstance(value, dict) and len(value) == 1:
        [target] = value.values()
        return f"<{target[0] if isinstance(target, list) else target}>"
    return str(value)


def length_of(value: Any) -> int:
    """Items of a list, characters of anything else as JSON; 64 for a value known only at deployment."""
    if isinstance(value, str | list):
        return len(value)
    if isinstance(value, dict) and set(value) <= {"Ref", "Fn::GetAtt"} and value:
        return UNKNOWN_CHARACTERS
    if isinstance(value, dict) and "Fn::Join" in value:
        return sum(map(length_of, value["Fn::Join"][1]))
    return len(json.dumps(value, separators=(",", ":")))

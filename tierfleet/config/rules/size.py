"""The resources and template bytes of a fleet, compared with AWS's limits, without a synthesis."""

from collections.abc import Iterator

from tierfleet.aws_limits import (
    EVENT_PATTERN,
    HOSTED_DOCUMENT_BYTES,
    OPERATION_RESOURCES,
    SCALABLE_TARGETS,
    STACK_RESOURCES,
    TEMPLATE_BYTES,
)
from tierfleet.config import routes
from tierfleet.config.hosted_routes import hosted_routes, template_bytes
from tierfleet.config.hosting.tier import InstanceTier
from tierfleet.config.model import FleetConfig
from tierfleet.config.problems import Problem
from tierfleet.config.template_size import (
    NESTED_STACK_RESOURCES,
    ROUTE_PARTS_RESOURCES,
    Tiers,
    nested_bytes,
    nested_resources,
    root_resources,
    stack_resources,
    whales,
)

_EVENT_PATTERN_CHARACTERS = 140


def check_counts(tiers: Tiers) -> Iterator[Problem]:
    """Resources of the root stack and of the whole tree, and scalable targets."""
    dedicated = whales(tiers)
    shared = sum(not tier.endpoint_per_tenant for tier in tiers.values())
    root, most = root_resources(tiers), STACK_RESOURCES.most
    fix = "move tenants to a shared tier or split the fleet in two"
    if root > most:
        message = (
            f"{shared} shared tiers and {dedicated} dedicated tenants make {root} resources in one stack; "
            f"CloudFormation allows {most}"
        )
        yield Problem("tiers", "tenants", None, message, "use fewer shared tiers or split the fleet in two")
    total, most = root + nested_resources(tiers), OPERATION_RESOURCES.most
    if total > most:
        each = NESTED_STACK_RESOURCES + max(stack_resources(tiers), default=0)
        fits = max(0, (most - total + dedicated * each) // each)
        message = (
            f"{dedicated} dedicated tenants make {total} resources, at most {most} fit one stack tree "
            f"({fits} dedicated tenants)"
        )
        yield Problem("tiers", "tenants", None, message, fix)
    scaled = sum(tier.endpoint_count for tier in tiers.values() if isinstance(tier, InstanceTier))
    if scaled > SCALABLE_TARGETS.most:
        message = f"{scaled} endpoints need as many scalable targets; AWS allows {SCALABLE_TARGETS.most}"
        yield Problem("tiers", "tenants", None, message, "move tenants to a shared tier or another region")


def check_sizes(config: FleetConfig) -> Iterator[Problem]:
    """The route document as it is hosted, the root template and the pattern of the warm-up's event."""
    hosted = hosted_routes(config)
    document = len(hosted.document)
    parts = "use fewer dedicated tenants or shared tiers, shorten tags and variables, or split the fleet in two"
    root, most = root_resources(config.tiers), STACK_RESOURCES.most
    if root <= most < root + ROUTE_PARTS_RESOURCES * bool(hosted.parts):
        message = f"{root} resources in one stack leave none of CloudFormation's {most} to bring the routes to S3"
        yield Problem("tiers", "tenants", None, message, "use one dedicated tenant fewer, or split the fleet in two")
    if document > HOSTED_DOCUMENT_BYTES.most:
        message = (
            f"the route document's size is {document:,} bytes, AppConfig allows 2 MB ({HOSTED_DOCUMENT_BYTES.most:,})"
        )
        yield Problem("", "tiers", None, message, parts)
    template = template_bytes(config, hosted)
    if template > TEMPLATE_BYTES.most:
        message = (
            f"the stack's template would have a size of about {template:,} bytes, CloudFormation allows 1 MB "
            f"({TEMPLATE_BYTES.most:,})"
        )
        yield Problem("", "tiers", None, message, parts)
    for (tier, tenant), size in nested_bytes(config).items():
        if size > TEMPLATE_BYTES.most:
            message = (
                f"the template of its endpoint's stack would have a size of about {size:,} bytes, CloudFormation "
                f"allows 1 MB ({TEMPLATE_BYTES.most:,})"
            )
            yield Problem(f"tiers.{tier}.tenants", tenant, None, message, "shorten tags and variables")
    warmed = [routes.endpoint_name(config, name) for name, tier in config.multi_model_tiers.items() if tier.warm_up]
    pattern = _EVENT_PATTERN_CHARACTERS + sum(len(name) + 3 for name in warmed)
    if pattern > EVENT_PATTERN.most:
        message = (
            f"the event pattern of {len(warmed)} warm-ups has {pattern:,} characters, EventBridge takes "
            f"{EVENT_PATTERN.most:,}"
        )
        yield Problem("", "tiers", None, message, "warm fewer tiers or shorten their names")

"""What AWS itself refuses about names, tags, keys, counts and sizes."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from tierfleet import aws_limits, images
from tierfleet.config.hosting import AnyTier
from tierfleet.config.hosting.tier import InstanceTier, Tier
from tierfleet.config.model import Encryption, Models
from tierfleet.config.problems import Problem
from tierfleet.instance_types import describe
from tierfleet.runtime import names

# The tags that tierfleet sets itself.
OUR_TAGS = ("fleet", "environment", "tier", "tenant")

_InstanceTiers = Mapping[str, InstanceTier]


def check_tags(tags: Mapping[str, str]) -> Iterator[Problem]:
    """Keys and values that every service of a fleet takes. IAM ignores the case of keys."""
    most = aws_limits.TAGS.most
    if len(tags) + len(OUR_TAGS) > most:
        message = f"{len(tags)} tags and {len(OUR_TAGS)} that tierfleet sets; AWS allows {most} per resource"
        yield Problem("", "tags", None, message, f"remove {len(tags) + len(OUR_TAGS) - most}")
    spellings = Counter(key.casefold() for key in tags)
    for key, value in tags.items():
        if key.casefold() in OUR_TAGS:
            message = f"tierfleet sets the tag {key.casefold()} itself, and AWS compares keys without regard to case"
            yield Problem("tags", key, value, message, "give it another name")
        elif spellings[key.casefold()] > 1:
            message = "another key differs only in case, and IAM accepts only one of them"
            yield Problem("tags", key, value, message, "keep one of them")
        if key.casefold().startswith(aws_limits.RESERVED_TAG_PREFIX):
            message = f"keys that begin with {aws_limits.RESERVED_TAG_PREFIX} are AWS's own"
            yield Problem("tags", key, value, message, "give it another name")
        if value.casefold().startswith(aws_limits.RESERVED_TAG_PREFIX):
            message = f"values that begin with {aws_limits.RESERVED_TAG_PREFIX} are AWS's own"
            yield Problem("tags", key, value, message, "write another value")
        for text, what, limit in (("key", key, aws_limits.TAG_KEY), ("value", value, aws_limits.TAG_VALUE)):
            # CloudFormation gives the tags to the stack, and a stack's tag has no empty value.
            if not 1 <= len(what) <= limit.most:
                message = f"its {text} has {len(what)} characters, 1 to {limit.most} are allowed"
                yield Problem("tags", key, value, message, "shorten it" if what else "give it a text")
            elif not re.fullmatch(aws_limits.TAG_PATTERN, what) or what != what.strip():
                message = f"its {text} may hold letters, digits, spaces between them and _ . : / = + - @"
                yield Problem("tags", key, value, message, "remove the others")


def check_keys(encryption: Encryption, region: str, account: str | None) -> Iterator[Problem]:
    """Keys of the fleet's own partition and region."""
    partition = images.partition_of(region)
    for name in type(encryption).model_fields:
        arn = getattr(encryption, name)
        if arn is None:
            continue
        _, arn_partition, _, arn_region, arn_account, _ = arn.split(":", 5)
        if arn_partition != partition or arn_region != region:
            message = (
                f"is a key in region {arn_region} of partition {arn_partition}; the fleet is in region {region} of "
                f"partition {partition}"
            )
            yield Problem("encryption", name, arn, message, f"use a key, or a replica of it, in {region}")
        elif account is not None and arn_account != account:
            message = f"is a key of account {arn_account}; the fleet's account is {account}"
            fix = "make sure that its policy lets this account use it"
            yield Problem("encryption", name, arn, message, fix, severity="warning")


def check_region_types(region: str) -> Iterator[Problem]:
    """The region's CloudFormation has the resource types of an endpoint."""
    if region in aws_limits.REGIONS_WITHOUT_TYPES:
        message = "CloudFormation has no resource types for SageMaker's models and endpoints in this region"
        yield Problem("", "region", region, message, "use another region")


def check_collectors(models: Models, account: str, region: str) -> Iterator[Problem]:
    """Principals of the fleet's own account: the bucket's policy grants nothing to other accounts."""
    partition = images.partition_of(region)
    for arn in models.gc_principal_arns:
        _, arn_partition, _, _, arn_account, _ = arn.split(":", 5)
        if (arn_partition, arn_account) != (partition, account):
            message = (
                f"is a principal of account {arn_account} in partition {arn_partition}; the fleet is in account "
                f"{account} of partition {partition}"
            )
            yield Problem("models", "gc_principal_arns", arn, message, "name a role of the fleet's account")


def check_fleet_name(fleet: str, environment: str, account: str, region: str) -> Iterator[Problem]:
    """Names derived from the fleet's name: stacks and the model bucket."""
    stack = f"{fleet}-{environment}-Fleet"
    if not re.fullmatch(aws_limits.STACK_NAME_PATTERN, stack):
        message = f"a stack name must begin with a letter; this one would be {stack}"
        yield Problem("", "fleet", fleet, message, "begin the fleet's name with a letter")
    bucket = names.models_bucket(fleet, environment, account, region)
    most = aws_limits.BUCKET_NAME.most
    if len(bucket) > most:
        message = f"the model bucket's name {bucket} has {len(bucket)} characters; S3 allows {most}"
        yield Problem("", "fleet", fleet, message, f"shorten fleet or environment by {len(bucket) - most}")
    for prefix in aws_limits.RESERVED_BUCKET_PREFIXES:
        if bucket.startswith(prefix):
            message = f"the model bucket would be called {bucket}, and S3 reserves names that begin with {prefix}"
            yield Problem("", "fleet", fleet, message, "give the fleet another name")
    for suffix in aws_limits.RESERVED_BUCKET_SUFFIXES:
        if bucket.endswith(suffix):
            message = f"the model bucket would be called {bucket}, and S3 reserves names that end with {suffix}"
            yield Problem("", "region", region, message, "use another region")


def check_endpoint_names(fleet: str, environment: str, tiers: Mapping[str, AnyTier]) -> Iterator[Problem]:
    """Every endpoint's name fits, and no two tenants share one."""
    most = aws_limits.ENDPOINT_NAME.most
    owner: dict[str, str] = {}
    for name, tier in sorted(tiers.items()):
        tenants = sorted(tier.tenants) if tier.endpoint_per_tenant else [None]
        for tenant in tenants:
            endpoint = names.endpoint_name(fleet, environment, name, tenant, tier.hosting, tier.endpoint_instance_type)
            where, key = (f"tiers.{name}.tenants", tenant) if tenant else ("tiers", name)
            if len(endpoint) > most:
                message = f"its endpoint name {endpoint} has {len(endpoint)} characters; SageMaker allows {most}"
                fix = f"shorten fleet, environment or tier by {len(endpoint) - most}"
                yield Problem(where, key, None, message, fix)
            if (other := owner.setdefault(endpoint, str(tenant or name))) != (tenant or name):
                message = f"its endpoint name {endpoint} is also that of {other}"
                yield Problem(where, key, None, message, "give one of them another id")


def check_schedule_counts(tiers: Mapping[str, AnyTier]) -> Iterator[Problem]:
    """Application Auto Scaling's quota of scheduled actions."""
    most = aws_limits.SCHEDULED_ACTIONS.most
    for name, tier in tiers.items():
        count = len(tier.scaling.schedules) if isinstance(tier, Tier) else 0
        if count > most:
            message = f"{count} schedules; Application Auto Scaling allows {most} scheduled actions per scalable target"
            yield Problem(f"tiers.{name}.scaling", "schedules", None, message, f"remove {count - most}")


def check_volume_key(encryption: Encryption, tiers: _InstanceTiers) -> Iterator[Problem]:
    """Local disks take no key."""
    key = encryption.volume_kms_key_arn
    for name, tier in tiers.items():
        if key and describe(tier.instance_type).local_nvme:
            message = f"tier {name} uses {tier.instance_type}, whose local NVMe disk cannot use a key"
            fix = "use a type without d, such as ml.m5.xlarge, or remove the key"
            yield Problem("encryption", "volume_kms_key_arn", key, message, fix)

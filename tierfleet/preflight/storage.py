"""The fleet's buckets, and the models in them."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tierfleet.config import FleetConfig
from tierfleet.preflight.finding import Account, Finding
from tierfleet.runtime.names import MODELS_PREFIX, async_bucket, models_bucket

AREA = "bucket"


def check(account: Account) -> Iterator[Finding]:
    """The buckets' names are free or the fleet's own; what the endpoints need at their creation is published."""
    config = account.config
    s3, stage = account.client("s3"), f"{config.fleet}-{config.environment}"
    models, *others = fleet_buckets(config)
    if (yield from _bucket(account, models, f"the models are published after cdk deploy {stage}/Models")):
        yield from _models(account, s3, models)
    for other in others:
        yield from _bucket(account, other, f"cdk deploy {stage}/Models creates it")


def fleet_buckets(config: FleetConfig) -> list[str]:
    """The buckets of the Models stack, the models' first."""
    place = config.fleet, config.environment, config.account, config.region
    return [models_bucket(*place), *([async_bucket(*place)] if config.async_tiers else [])]


def head_bucket(account: Account, name: str) -> tuple[int, Mapping[str, Any]]:
    """The HTTP status, and S3's answer: 200 for a bucket of this account, 404 for a free name, 301 or 403 for any other
    bucket. S3 is asked once. Raises ClientError."""
    if name not in account.buckets:
        account.buckets[name] = _asked(account, name)
    return account.buckets[name]


def _asked(account: Account, name: str) -> tuple[int, Mapping[str, Any]]:
    try:
        # Without an expected owner a bucket of another account that allows it would look like ours.
        head = account.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=account.config.account)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status not in (301, 403, 404):
            raise
        return status, {}
    return 200, head


def _bucket(account: Account, name: str, next_step: str) -> Generator[Finding, None, bool]:
    """Whether the bucket exists, in this account and Region. next_step: what happens with a free name."""
    config = account.config
    status, head = head_bucket(account, name)
    if status == 404:
        yield Finding(area=AREA, status="ok", message=f"{name} is free; {next_step}")
        return False
    if status != 200:
        yield Finding(
            area=AREA,
            status="problem",
            message=f"{name} exists, in another account or Region, or these credentials may not see it (HTTP {status})",
            remedy="choose another fleet or environment name, or use credentials of the fleet's account",
        )
        return False
    region = head.get("BucketRegion", config.region)
    if region != config.region:
        yield Finding(
            area=AREA,
            status="problem",
            message=f"{name} is in {region}, but the fleet is in {config.region}",
            remedy="SageMaker reads and writes in its own Region only: correct region in the fleet file",
        )
        return False
    yield Finding(area=AREA, status="ok", message=f"{name} exists and is this account's")
    return True


def _models(account: Account, s3: Any, bucket: str) -> Iterator[Finding]:
    """CreateModel refuses an empty prefix and a missing artefact."""
    config = account.config
    publish = "tierfleet models publish FILE MODELS"
    if any(not tier.endpoint_per_tenant for tier in config.tiers.values()):
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=MODELS_PREFIX, MaxKeys=1)
        if listed.get("Contents"):
            yield Finding(area="models", status="ok", message=f"there are models below {MODELS_PREFIX}")
        else:
            message = f"there is no model below s3://{bucket}/{MODELS_PREFIX}"
            yield Finding(area="models", status="problem", message=message, remedy=publish)
    pinned = [
        (tenant, f"{MODELS_PREFIX}{model}")
        for tier in config.tenant_endpoint_tiers.values()
        for tenant in tier.tenants
        for model in tier.pinned_models(tenant).values()
    ]
    missing = [tenant for tenant, key in sorted(pinned) if not _exists(s3, bucket, key)]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        message = f"{len(missing)} of {len(pinned)} dedicated tenants' artefacts are not in the bucket: {shown}"
        yield Finding(area="models", status="problem", message=message, remedy=publish)
    elif pinned:
        yield Finding(area="models", status="ok", message=f"the artefacts of {len(pinned)} dedicated tenants exist")
    for name, tier in sorted(config.tiers.items()):
        for model in tier.shared_models:
            if not _exists(s3, bucket, f"{MODELS_PREFIX}{model}"):
                message = f"an artefact that tier {name} loads for every tenant is not in the bucket: {model}"
                yield Finding(area="models", status="problem", message=message, remedy=publish)


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True

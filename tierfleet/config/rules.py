"""Rules that need more than one table of a fleet file. Each yields problems and never stops at the first."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tierfleet import images
from tierfleet.config.model import Container, DedicatedTier, Encryption, MultiModelTier, Routes
from tierfleet.config.problems import Problem
from tierfleet.config.tier_rules import check_tier
from tierfleet.instance_types import HOSTED_ONLY_IN, describe
from tierfleet.runtime import names

# The longest call a client may have under way when its route changes: boto3's read timeout for a cold model.
IN_FLIGHT_SECONDS = 70
# CloudFormation's limit is 2,500 resources an operation over the whole tree; the rest is for what CDK adds.
MAX_RESOURCES = 2400
# What one fleet, one shared tier and one whale become in CloudFormation; tests/test_tier_changes.py counts them.
FLEET_RESOURCES = 28
MULTI_MODEL_RESOURCES = 20
DEDICATED_RESOURCES = 14
# Application Auto Scaling's quota of scalable targets for SageMaker in one region.
# Source: docs.aws.amazon.com/general/latest/gr/as-app.html
MAX_SCALABLE_TARGETS = 500

_AnyTier = MultiModelTier | DedicatedTier


def check_fleet(parts: Mapping[str, Any], file_stem: str, *, every_tier_is_sound: bool) -> list[Problem]:
    """Every problem between the tables of one file.

    `parts`: the top-level keys whose own shape is sound; a rule whose parts are missing is left out, since their
    own problems are already reported. `file_stem`: the file's name without `.toml`. `every_tier_is_sound`: whether
    `parts` holds all tiers of the file; a default tier that is not among them is not missing.
    """
    tiers: Mapping[str, _AnyTier] = parts.get("tiers", {})
    problems = [*_default_tier(tiers, every_tier_is_sound), *_tenants(tiers), *_warm_ups(tiers), *_resources(tiers)]
    for name, tier in tiers.items():
        problems += check_tier(name, tier)
    if "routes" in parts:
        problems += _bake(parts["routes"])
    if parts.keys() >= {"container", "region"}:
        problems += _container(parts["container"], parts["region"], tiers)
    if "region" in parts:
        problems += _hosting_region(tiers, parts["region"])
    if "encryption" in parts:
        problems += _volume_key(parts["encryption"], tiers)
    if parts.keys() >= {"fleet", "environment"}:
        problems += _names(parts, tiers, file_stem)
    return problems


def _default_tier(tiers: Mapping[str, _AnyTier], every_tier_is_sound: bool) -> Iterator[Problem]:
    shared = {name: tier for name, tier in tiers.items() if isinstance(tier, MultiModelTier)}
    defaults = [name for name, tier in shared.items() if tier.default]
    if len(defaults) > 1 or (not defaults and every_tier_is_sound):
        found = ", ".join(defaults) or "none"
        message = f"exactly one multi-model tier must have default = true, found: {found}"
        yield Problem("tiers", "default", None, message, "set it on the tier that serves everyone else")
    for name, tier in shared.items():
        if tier.default and tier.tenants:
            message = "the default tier serves every tenant no other tier names"
            yield Problem(f"tiers.{name}", "tenants", list(tier.tenants), message, "remove the list")
        if not tier.default and not tier.tenants:
            message = "this tier serves nobody: it is not the default and lists no tenants"
            fix = "list its tenants or remove the tier"
            yield Problem(f"tiers.{name}", "tenants", [], message, fix, severity="warning")


def _tenants(tiers: Mapping[str, _AnyTier]) -> Iterator[Problem]:
    tiers_of: dict[str, list[str]] = defaultdict(list)
    for name, tier in sorted(tiers.items()):
        for tenant in tier.tenants:
            tiers_of[tenant].append(name)
        if names.ALL_TENANTS in tier.tenants:
            message = f"{names.ALL_TENANTS!r} stands for a shared endpoint in endpoint names"
            yield Problem(f"tiers.{name}.tenants", names.ALL_TENANTS, None, message, "give the tenant another id")
    for tenant, found in sorted(tiers_of.items()):
        if len(found) > 1:
            message = f"tenant is on {len(found)} tiers ({', '.join(found)}), one is allowed"
            yield Problem(f"tiers.{found[-1]}.tenants", tenant, None, message, "delete all but one of its lines")
    for name, tier in tiers.items():
        warm_up = tier.warm_up if isinstance(tier, MultiModelTier) else None
        for tenant in warm_up.tenants if warm_up else ():
            elsewhere = [other for other in tiers_of[tenant] if other != name] if tenant in tiers_of else []
            if elsewhere:
                message = f"tenant is on tier {elsewhere[0]}, the warm-up skips it"
                fix = "nothing to do; delete it here if the move is for good"
                yield Problem(f"tiers.{name}.warm_up.tenants", tenant, None, message, fix, severity="note")


def _warm_ups(tiers: Mapping[str, _AnyTier]) -> Iterator[Problem]:
    first: dict[tuple[str, str], str] = {}
    for name, tier in sorted(tiers.items()):
        if isinstance(tier, MultiModelTier) and tier.warm_up:
            when = (tier.warm_up.schedule, tier.warm_up.timezone)
            if (other := first.setdefault(when, name)) != name:
                message = f"tier {other} is warmed at the same time, and one warm-up runs at a time"
                fix = "leave a quarter of an hour between them"
                where = f"tiers.{name}.warm_up"
                yield Problem(where, "schedule", tier.warm_up.schedule, message, fix, severity="warning")


def _resources(tiers: Mapping[str, _AnyTier]) -> Iterator[Problem]:
    whales = sum(len(tier.tenants) for tier in tiers.values() if isinstance(tier, DedicatedTier))
    shared = sum(isinstance(tier, MultiModelTier) for tier in tiers.values())
    resources = FLEET_RESOURCES + shared * MULTI_MODEL_RESOURCES + whales * DEDICATED_RESOURCES
    if resources > MAX_RESOURCES:
        fits = (MAX_RESOURCES - FLEET_RESOURCES - shared * MULTI_MODEL_RESOURCES) // DEDICATED_RESOURCES
        message = (
            f"{whales} dedicated tenants make {resources} resources, at most {MAX_RESOURCES} fit one stack tree "
            f"({fits} dedicated tenants)"
        )
        yield Problem("tiers", "tenants", None, message, "move tenants to a shared tier or split the fleet in two")
    if whales + shared > MAX_SCALABLE_TARGETS:
        message = f"{whales + shared} endpoints need as many scalable targets, AWS allows {MAX_SCALABLE_TARGETS}"
        yield Problem("tiers", "tenants", None, message, "move tenants to a shared tier or another region")


def _bake(routes: Routes) -> Iterator[Problem]:
    needed = 2 * routes.ttl_seconds + IN_FLIGHT_SECONDS
    if routes.bake_minutes * 60 < needed:
        message = (
            f"must be at least {needed} s (2 x ttl_seconds + {IN_FLIGHT_SECONDS} s): a client may hold the old route "
            "that long, and the old endpoint is deleted after the bake"
        )
        fix = f"set bake_minutes = {-(-needed // 60)} or more, or lower ttl_seconds"
        yield Problem("routes", "bake_minutes", routes.bake_minutes, message, fix)


def _container(container: Container, region: str, tiers: Mapping[str, _AnyTier]) -> Iterator[Problem]:
    image, version = container.image, container.version
    if image in images.STOCK_VERSIONS:
        allowed = images.STOCK_VERSIONS[image]
        if version not in allowed:
            message = f"{image} is published as {', '.join(allowed)}"
            yield Problem("container", "version", version, message, "choose one of these")
        if region not in images.publishing_accounts():
            message = f"no account is known to publish {image} in this region"
            fix = "use a full ECR URI as container.image, or a region of tierfleet/data/image_accounts.toml"
            yield Problem("", "region", region, message, fix)
        for name, tier in tiers.items():
            graviton = describe(tier.instance_type).graviton
            if graviton and version not in images.GRAVITON_VERSIONS[image]:
                message = f"{image} {version} is built for x86 only"
                fix = "use an x86 type such as ml.m5.xlarge"
                yield Problem(f"tiers.{name}", "instance_type", tier.instance_type, message, fix)
    elif image != images.TIERFLEET_IMAGE and not images.is_ecr_uri(image):
        choices = ", ".join((*images.STOCK_VERSIONS, images.TIERFLEET_IMAGE))
        message = f"must be {choices} or a full ECR URI with a tag or digest"
        yield Problem("container", "image", image, message, "choose one of these")
    elif version is not None:
        message = "only a stock image takes a version"
        yield Problem("container", "version", version, message, "remove it; a URI carries its own tag")
    yield from _container_environment(container)


def _container_environment(container: Container) -> Iterator[Problem]:
    environment = container.environment
    where = "container.environment"
    if len(environment) > 100:
        message = f"{len(environment)} entries, SageMaker takes at most 100"
        yield Problem("container", "environment", None, message, "remove some")
    for key, value in environment.items():
        if len(key.encode()) > 1024 or len(value.encode()) > 1024:
            yield Problem(where, key, value, "key and value may have at most 1,024 bytes each", "shorten it")
    if sum(len((key + value).encode()) for key, value in environment.items()) > 32 * 1024:
        message = "all entries together may have at most 32 KiB"
        yield Problem("container", "environment", None, message, "put the data into the model artefact")
    if "SAGEMAKER_MULTI_MODEL" in environment:
        message = "SageMaker sets this itself, from the tier's hosting"
        yield Problem(where, "SAGEMAKER_MULTI_MODEL", environment["SAGEMAKER_MULTI_MODEL"], message, "remove it")
    if ("SAGEMAKER_PROGRAM" in environment) != ("SAGEMAKER_SUBMIT_DIRECTORY" in environment):
        message = "script mode needs SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY together"
        yield Problem("container", "environment", None, message, "set both or neither")
    if container.image == "sagemaker-xgboost" and "SAGEMAKER_MODEL_SERVER_WORKERS" in environment:
        message = "the stock XGBoost image ignores it"
        fix = "use SAGEMAKER_NUM_MODEL_WORKERS"
        yield Problem(where, "SAGEMAKER_MODEL_SERVER_WORKERS", None, message, fix, severity="warning")


def _hosting_region(tiers: Mapping[str, _AnyTier], region: str) -> Iterator[Problem]:
    for name, tier in tiers.items():
        regions = HOSTED_ONLY_IN.get(describe(tier.instance_type).family)
        if regions and region not in regions:
            message = f"by the price list this family hosts models only in {', '.join(regions)}"
            fix = "use ml.m5, ml.r5 or ml.m7i unless you know better"
            where = f"tiers.{name}"
            yield Problem(where, "instance_type", tier.instance_type, message, fix, severity="warning")


def _volume_key(encryption: Encryption, tiers: Mapping[str, _AnyTier]) -> Iterator[Problem]:
    key = encryption.volume_kms_key_arn
    for name, tier in tiers.items():
        if key and describe(tier.instance_type).local_nvme:
            message = f"tier {name} uses {tier.instance_type}, whose local NVMe disk takes no key"
            fix = "use a type without d, such as ml.m5.xlarge, or remove the key"
            yield Problem("encryption", "volume_kms_key_arn", key, message, fix)


def _names(parts: Mapping[str, Any], tiers: Mapping[str, _AnyTier], file_stem: str) -> Iterator[Problem]:
    fleet, environment = parts["fleet"], parts["environment"]
    if file_stem != f"{fleet}-{environment}":
        message = f"the file is called {file_stem}.toml, its fleet is {fleet}-{environment}"
        yield Problem("", "fleet, environment", None, message, f"call the file {fleet}-{environment}.toml")
    for name, tier in sorted(tiers.items()):
        tenants = sorted(tier.tenants) if isinstance(tier, DedicatedTier) else [None]
        for tenant in tenants:
            endpoint = names.endpoint_name(fleet, environment, name, tenant, tier.hosting, tier.instance_type)
            if len(endpoint) > 63:
                where, key = (f"tiers.{name}.tenants", tenant) if tenant else ("tiers", name)
                message = f"its endpoint name {endpoint} has {len(endpoint)} characters, SageMaker takes 63"
                fix = f"shorten fleet, environment, tier or tenant by {len(endpoint) - 63}"
                yield Problem(where, key, None, message, fix)
    if parts.keys() >= {"account", "region"}:
        bucket = names.models_bucket(fleet, environment, parts["account"], parts["region"])
        if len(bucket) > 63:
            message = f"the model bucket's name {bucket} has {len(bucket)} characters, S3 takes 63"
            yield Problem("", "fleet", fleet, message, f"shorten fleet or environment by {len(bucket) - 63}")

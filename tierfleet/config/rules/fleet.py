"""Rules that need more than one table of a fleet file. Each yields problems and never stops at the first."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from tierfleet.config.hosting import AnyTier
from tierfleet.config.hosting.container_rules import (
    check_environment,
    check_image,
    check_isolation,
    check_probe,
    check_probe_against_image,
)
from tierfleet.config.hosting.multi_model import MultiModelTier, WarmUp
from tierfleet.config.hosting.tier import InstanceTier, RestOfFile
from tierfleet.config.model import Routes
from tierfleet.config.problems import Problem
from tierfleet.config.rules.aws import (
    check_collectors,
    check_endpoint_names,
    check_fleet_name,
    check_keys,
    check_region_types,
    check_schedule_counts,
    check_tags,
    check_volume_key,
)
from tierfleet.config.rules.size import check_counts
from tierfleet.config.rules.tier import check_tier
from tierfleet.config.schedule import At, Rate, parse_schedule
from tierfleet.instance_types import hosted_in, hosting_regions
from tierfleet.runtime import names
from tierfleet.runtime.hosting import REAL_TIME_ANSWER_SECONDS, SHAPES

# Warm-ups are compared in this leap year, or in the last one of a cron that leaves it out; many moments by the first.
_SAMPLE_YEAR = 2028
_MOST_MOMENTS = 3000


def check_fleet(parts: Mapping[str, Any], file_stem: str, *, every_tier_is_sound: bool) -> list[Problem]:
    """Every problem between the tables of one file.

    `parts`: the top-level keys whose own shape is sound; a rule whose parts are missing is left out, since their
    own problems are already reported. `file_stem`: the file's name without `.toml`. `every_tier_is_sound`: whether
    `parts` has all tiers of the file; otherwise a missing default tier is no problem.
    """
    tiers: Mapping[str, AnyTier] = parts.get("tiers", {})
    with_instances = {name: tier for name, tier in tiers.items() if isinstance(tier, InstanceTier)}
    problems = [*_default_tier(tiers, every_tier_is_sound), *_tenants(tiers), *_warm_ups(tiers)]
    problems += [*check_counts(tiers), *check_schedule_counts(tiers)]
    rest = _rest_of_file(parts)
    for name, tier in tiers.items():
        problems += check_tier(name, tier, rest)
    if "routes" in parts:
        problems += _bake(parts["routes"], tiers)
    if "tags" in parts:
        problems += check_tags(parts["tags"])
    if "container" in parts:
        problems += check_environment(parts["container"])
    if "probe" in parts:
        problems += check_probe(parts["probe"])
    if parts.keys() >= {"container", "probe"}:
        problems += check_probe_against_image(parts["probe"], parts["container"])
    if parts.keys() >= {"container", "network_isolation"}:
        problems += check_isolation(parts["container"], parts["network_isolation"])
    if parts.keys() >= {"container", "region"}:
        own = parts["container"]
        running_it = {name: tier for name, tier in with_instances.items() if own in tier.containers(own)}
        problems += check_image(own, parts["region"], running_it)
    if "region" in parts:
        problems += check_region_types(parts["region"])
        problems += _hosting_region(with_instances, parts["region"])
    if "encryption" in parts:
        problems += check_volume_key(parts["encryption"], with_instances)
    if parts.keys() >= {"encryption", "region"}:
        problems += check_keys(parts["encryption"], parts["region"], parts.get("account"))
    if parts.keys() >= {"models", "account", "region"}:
        problems += check_collectors(parts["models"], parts["account"], parts["region"])
    if parts.keys() >= {"fleet", "environment"}:
        problems += _file_name(parts["fleet"], parts["environment"], file_stem)
        problems += check_endpoint_names(parts["fleet"], parts["environment"], tiers)
    if parts.keys() >= {"fleet", "environment", "account", "region"}:
        problems += check_fleet_name(parts["fleet"], parts["environment"], parts["account"], parts["region"])
    return problems


def _rest_of_file(parts: Mapping[str, Any]) -> RestOfFile:
    return RestOfFile(
        fleet=parts.get("fleet"),
        environment=parts.get("environment"),
        account=parts.get("account"),
        region=parts.get("region"),
        image=parts["container"].image if "container" in parts else None,
        network_isolation=parts.get("network_isolation"),
        has_network=parts.get("network") is not None,
        probe=parts.get("probe"),
    )


def _default_tier(tiers: Mapping[str, AnyTier], every_tier_is_sound: bool) -> Iterator[Problem]:
    shared = {name: tier for name, tier in tiers.items() if isinstance(tier, MultiModelTier)}
    defaults = [name for name, tier in shared.items() if tier.default]
    if len(defaults) > 1 or (not defaults and every_tier_is_sound):
        names_of = ", ".join(defaults) or "none"
        message = f"exactly one multi-model tier must have default = true; these have it: {names_of}"
        yield Problem("tiers", "default", None, message, "set it on the tier that serves everyone else")
    for name, tier in shared.items():
        if tier.default and tier.tenants:
            message = "the default tier serves every tenant that no other tier names"
            yield Problem(f"tiers.{name}", "tenants", list(tier.tenants), message, "remove the list")
        if not tier.default and not tier.tenants:
            message = "this tier has no tenants: it is not the default and lists none"
            fix = "list its tenants or remove the tier"
            yield Problem(f"tiers.{name}", "tenants", [], message, fix, severity="warning")


def _tenants(tiers: Mapping[str, AnyTier]) -> Iterator[Problem]:
    tiers_of: dict[str, list[str]] = defaultdict(list)
    for name, tier in sorted(tiers.items()):
        for tenant in tier.tenants:
            tiers_of[tenant].append(name)
        if names.ALL_TENANTS in tier.tenants:
            message = f"{names.ALL_TENANTS!r} means a multi-model endpoint in endpoint names"
            yield Problem(f"tiers.{name}.tenants", names.ALL_TENANTS, None, message, "give the tenant another id")
        for tenant in tier.tenants if tier.endpoint_per_tenant else ():
            if re.fullmatch(names.RESERVED_TENANT_PATTERN, tenant):
                message = "ids of this form replace longer ids in endpoint names"
                yield Problem(f"tiers.{name}.tenants", tenant, None, message, "give the tenant another id")
    for tenant, on in sorted(tiers_of.items()):
        if len(on) > 1:
            message = f"tenant is on {len(on)} tiers ({', '.join(on)}); only one is allowed"
            yield Problem(f"tiers.{on[-1]}.tenants", tenant, None, message, "delete all but one of its lines")
    for name, tier in tiers.items():
        for artefact in tier.shared_models:
            owner = artefact.partition("/")[0]
            if owner in tiers_of and set(tier.tenants) != {owner}:
                message = f"{artefact} is a model of tenant {owner}, and the endpoints of other tenants would load it"
                fix = "publish it below a folder that is no tenant's id, or pin it by that tenant's stage_models"
                yield Problem(f"tiers.{name}", "stages", None, message, fix)
    for name, tier in tiers.items():
        warm_up = tier.warm_up if isinstance(tier, MultiModelTier) else None
        for tenant in warm_up.tenants if warm_up else ():
            elsewhere = [other for other in tiers_of[tenant] if other != name] if tenant in tiers_of else []
            if elsewhere:
                message = f"tenant is on tier {elsewhere[0]}, so the warm-up skips it"
                fix = "nothing to do; delete it here if the move is permanent"
                yield Problem(f"tiers.{name}.warm_up.tenants", tenant, None, message, fix, severity="note")


def _warm_ups(tiers: Mapping[str, AnyTier]) -> Iterator[Problem]:
    first: dict[object, str] = {}
    for name, tier in sorted(tiers.items()):
        if isinstance(tier, MultiModelTier) and tier.warm_up:
            moments = _moments(tier.warm_up)
            others = sorted({first[moment] for moment in moments if moment in first})
            if others:
                message = f"tier {others[0]} is warmed at the same time, and only one warm-up runs at a time"
                fix = "leave a quarter of an hour between them"
                where = f"tiers.{name}.warm_up"
                yield Problem(where, "schedule", tier.warm_up.schedule, message, fix, severity="warning")
            for moment in moments:
                first.setdefault(moment, name)


def _moments(warm_up: WarmUp) -> list[object]:
    """When it runs, however that is written: the moments of a cron in one year, or the rate."""
    schedule = parse_schedule(warm_up.schedule)
    if isinstance(schedule, Rate):
        return [schedule]
    zone = ZoneInfo(warm_up.timezone)
    if isinstance(schedule, At):
        return [schedule.moment.replace(tzinfo=zone).astimezone(UTC)]
    year = _SAMPLE_YEAR if _SAMPLE_YEAR in schedule.cron.years else max(schedule.cron.years)
    return list(islice(schedule.fires(zone, year, year), _MOST_MOMENTS))


def least_bake_seconds(ttl_seconds: int, tiers: Mapping[str, AnyTier]) -> int:
    """How long an endpoint must outlive the routes that name it: two polls, and the longest call of any tier."""
    return 2 * ttl_seconds + _longest_call_seconds(tiers)


def _longest_call_seconds(tiers: Mapping[str, AnyTier]) -> int:
    hostings = {tier.hosting for tier in tiers.values()}
    return math.ceil(max([REAL_TIME_ANSWER_SECONDS, *(SHAPES[word].longest_answer_seconds for word in hostings)]))


def _bake(routes: Routes, tiers: Mapping[str, AnyTier]) -> Iterator[Problem]:
    needed, call = least_bake_seconds(routes.ttl_seconds, tiers), _longest_call_seconds(tiers)
    if routes.bake_minutes * 60 < needed:
        message = (
            f"must be at least {needed} s (2 x ttl_seconds + {call} s): a client may hold the old route "
            "that long, and the old endpoint is deleted after the bake"
        )
        fix = f"set bake_minutes = {-(-needed // 60)} or more, or lower ttl_seconds"
        yield Problem("routes", "bake_minutes", routes.bake_minutes, message, fix)


def _hosting_region(tiers: Mapping[str, InstanceTier], region: str) -> Iterator[Problem]:
    for name, tier in tiers.items():
        if tier.instance_type not in hosted_in(region):
            elsewhere = sorted(other for other in hosting_regions() if tier.instance_type in hosted_in(other))
            where = f"only in {', '.join(elsewhere)}" if len(elsewhere) <= 5 else f"in {len(elsewhere)} other regions"
            message = f"by AWS's price list, SageMaker hosts this type {where}, not in {region}"
            fix = "use ml.m5, ml.r5 or ml.m7i unless you know better"
            yield Problem(f"tiers.{name}", "instance_type", tier.instance_type, message, fix, severity="warning")


def _file_name(fleet: str, environment: str, file_stem: str) -> Iterator[Problem]:
    if file_stem != f"{fleet}-{environment}":
        message = f"the file is called {file_stem}.toml, but its fleet is {fleet}-{environment}"
        yield Problem("", "fleet, environment", None, message, f"call the file {fleet}-{environment}.toml")

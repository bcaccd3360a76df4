"""A multi-model endpoint is never updated in place: each setting of its instances is part of its name."""

import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from local_cloud.testing.fleets import (
    CONFIG,
    DELETE,
    FLEET_FILES,
    Synth,
    checked,
    document,
    fleet,
    merged,
    read_templates,
)
from tierfleet.config import FleetConfig, load, routes
from tierfleet.config.generation import generation, instance_settings
from tierfleet.config.hosting.digest import LEFT_OUT, image_content
from tierfleet.config.hosting.multi_model import MultiModelTier
from tierfleet.config.hosting.tier import HostedTier
from tierfleet.images import TIERFLEET_IMAGE
from tierfleet.instance_types import hosted_in, hosting_regions
from tierfleet.runtime import names

ROOT = CONFIG.parent
NAME = "shop--test--tail--all--mme-m5-xlarge"
SUBNETS = ["subnet-11111111", "subnet-22222222"]
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
GUARDED = {"guardrail": {"type": "LINEAR"}}


def tail(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"tail": changes}}


# Key by key what makes another generation: an edit, and what must be there before it.
NEW_GENERATION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "container.image": ({"container": {"image": TIERFLEET_IMAGE}}, {}),
    "container.version": ({"container": {"version": "3.0-5"}}, {}),
    "container.environment": ({"container": {"environment": {"OMP_NUM_THREADS": "2"}}}, {}),
    "network.subnets": (
        {"network": {"subnets": ["subnet-33333333", *SUBNETS], "security_group_ids": ["sg-11111111"]}},
        {"network": {"subnets": SUBNETS, "security_group_ids": ["sg-11111111"]}},
    ),
    "network.security_group_ids": (
        {"network": {"subnets": SUBNETS, "security_group_ids": ["sg-22222222"]}},
        {"network": {"subnets": SUBNETS, "security_group_ids": ["sg-11111111"]}},
    ),
    "network_isolation": ({"network_isolation": False}, {"network_isolation": True}),
    "encryption.volume_kms_key_arn": ({"encryption": {"volume_kms_key_arn": KEY}}, {}),
    "detailed_observability": ({"detailed_observability": True}, {}),
    "tiers.model_cache": (tail(model_cache="Disabled"), {}),
    "tiers.instances.initial": (tail(instances={"initial": 3}), {}),
    "tiers.volume_size_in_gb": (tail(volume_size_in_gb=100), {}),
    "tiers.model_data_download_timeout_in_seconds": (tail(model_data_download_timeout_in_seconds=600), {}),
    "tiers.container_startup_health_check_timeout_in_seconds": (
        tail(container_startup_health_check_timeout_in_seconds=600),
        {},
    ),
    "tiers.guardrail.type": (tail(guardrail={"type": "ALL_AT_ONCE"}), tail(**GUARDED)),
    "tiers.guardrail.linear_step_percent": (tail(guardrail={"linear_step_percent": 50}), tail(**GUARDED)),
    "tiers.guardrail.canary_instances": (tail(guardrail={"canary_instances": 2}), tail(guardrail={"type": "CANARY"})),
    "tiers.guardrail.wait_interval_in_seconds": (tail(guardrail={"wait_interval_in_seconds": 600}), tail(**GUARDED)),
    "tiers.guardrail.termination_wait_in_seconds": (
        tail(guardrail={"termination_wait_in_seconds": 600}),
        tail(**GUARDED),
    ),
    "tiers.guardrail.maximum_execution_timeout_in_seconds": (
        tail(guardrail={"maximum_execution_timeout_in_seconds": 7200}),
        tail(**GUARDED),
    ),
}
# Other edits, made together: no endpoint, configuration or model of the shared tier may differ after them.
SAME_ENDPOINT: dict[str, dict[str, Any]] = {
    "retain": {"retain": False},
    "tags": {"tags": {"team": "shop"}},
    "runbook_url": {"runbook_url": "https://example.com/other.md"},
    "models.gc_principal_arns": {"models": {"gc_principal_arns": ["arn:aws:iam::111122223333:role/gc"]}},
    "log_retention_days": {"log_retention_days": 30},
    "probe.content_type": {"probe": {"content_type": "text/libsvm"}},
    "probe.body": {"probe": {"body": "1 0:0"}},
    "encryption.bucket_kms_key_arn": {"encryption": {"bucket_kms_key_arn": KEY}},
    "encryption.topic_kms_key_arn": {"encryption": {"topic_kms_key_arn": KEY}},
    "routes.ttl_seconds": {"routes": {"ttl_seconds": 30}},
    "routes.bake_minutes": {"routes": {"bake_minutes": 9}},
    "routes.max_route_errors_per_minute": {"routes": {"max_route_errors_per_minute": 9}},
    "tiers.default": {},  # which tier is the default decides who is routed there, and needs a second one
    "tiers.tenants": {},
    "tiers.instances.min": tail(instances={"min": 1}),
    "tiers.instances.max": tail(instances={"max": 9}),
    "tiers.models_per_instance": tail(models_per_instance=70),
    **{
        f"tiers.scaling.{key}": tail(scaling={key: value})
        for key, value in {
            "max_requests_per_second": 60,
            "safety_factor": 0.6,
            "scale_out_cooldown_seconds": 200,
            "scale_in_cooldown_seconds": 200,
        }.items()
    },
    **{
        f"tiers.scaling.schedules.{key}": tail(
            scaling={"schedules": {"night": {"schedule": "cron(0 20 * * ? *)", "timezone": "UTC", "min": 2, "max": 2}}}
        )
        for key in ("schedule", "timezone", "min", "max")
    },
    **{
        f"tiers.scale_on_cache.{key}": tail(scale_on_cache={key: value})
        for key, value in {"max_unloads_per_hour": 300, "add_instances": 2, "cooldown_seconds": 600}.items()
    },
    **{
        f"tiers.alarms.{key}": tail(alarms={key: value})
        for key, value in {
            "max_5xx_ratio": 0.02,
            "max_4xx_ratio": 0.06,
            "max_memory_percent": 90,
            "max_disk_percent": 80,
            "min_requests": 50,
            "min_cache_hit_ratio": 0.8,
            "max_loading_wait_seconds": 4.0,
            "max_unloads_per_hour": 400,
        }.items()
    },
    **{
        f"tiers.warm_up.{key}": tail(warm_up={key: value})
        for key, value in {
            "schedule": "cron(15 6 * * ? *)",
            "timezone": "UTC",
            "tenants": ["t2"],
            "concurrency": 3,
            "deadline_seconds": 300,
        }.items()
    },
    "tiers.warm_up.tenants_file": {},  # becomes `tenants` when the file is read
}
# Keys that are in the name themselves, and the key about names.
IN_THE_NAME = {"fleet", "environment", "account", "region", "tiers.hosting", "tiers.instance_type"}
ABOUT_NAMES = {"tiers.first_generation"}


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a table, those of the tables below it with their names in front."""
    for name, field in model.model_fields.items():
        below = [model for model in models_of(field.annotation) if model is not MultiModelTier or name == "tiers"]
        for table in below:
            yield from keys(table, f"{prefix}{name}.")
        if not below:
            yield f"{prefix}{name}"


def models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        other_shape = issubclass(annotation, HostedTier) and annotation is not MultiModelTier
        return [] if other_shape else [annotation]
    return [model for part in get_args(annotation) for model in models_of(part)]


def name_of(config: FleetConfig) -> str:
    return routes.endpoint_name(config, "tail")


def test_every_key_of_a_fleet_file_is_known_to_make_another_generation_or_not() -> None:
    """A new key belongs in one of the tables above, and in `instance_settings` if it changes instances."""
    known = [*NEW_GENERATION, *SAME_ENDPOINT, *IN_THE_NAME, *ABOUT_NAMES]
    assert sorted(known) == sorted(keys(FleetConfig))


@pytest.mark.parametrize("key", NEW_GENERATION)
def test_an_edit_that_would_replace_the_instances_is_another_endpoint_and_its_undoing_the_first_again(key: str) -> None:
    edit, before = NEW_GENERATION[key]
    old, new = fleet(**before), fleet(**merged(deepcopy(before), edit))
    assert name_of(new) != name_of(old)
    assert name_of(new) == f"{NAME}-{generation(new, new.multi_model_tiers['tail'])}"
    assert name_of(old).startswith(NAME)
    whales = [routes.endpoint_name(config, "whale", "w1") for config in (old, new)]
    assert len(set(whales)) == 1


def shared_parts(assembly: Path) -> dict[str, Any]:
    """The shared tier's Model, EndpointConfig and Endpoint, without tags, which change in place."""
    [template] = [t for name, t in read_templates(assembly).items() if "Fleet" in name and "Whales" not in name]
    return {
        resource["Type"]: {key: value for key, value in resource["Properties"].items() if key != "Tags"}
        for resource in template["Resources"].values()
        if resource["Type"].startswith("AWS::SageMaker::")
    }


def test_no_other_edit_touches_the_endpoint_of_a_shared_tier(synth: Synth) -> None:
    edits: dict[str, Any] = {}
    for edit in SAME_ENDPOINT.values():
        merged(edits, deepcopy(edit))
    before, after = shared_parts(synth(fleet())), shared_parts(synth(fleet(**edits)))
    assert len(before) == 3
    assert after == before


@given(st.sets(st.sampled_from(sorted(NEW_GENERATION))))
def test_generations_differ_exactly_where_their_settings_do(chosen: set[str]) -> None:
    changes: dict[str, Any] = {}
    for key in sorted(chosen):
        edit, before = NEW_GENERATION[key]
        merged(changes, merged(deepcopy(before), deepcopy(edit)))
    old, new = fleet(), fleet(**changes)
    settings = [instance_settings(config, config.multi_model_tiers["tail"]) for config in (old, new)]
    generations = [generation(config, config.multi_model_tiers["tail"]) for config in (old, new)]
    assert (generations[0] == generations[1]) == (settings[0] == settings[1]) == (not chosen)
    assert all(re.fullmatch(names.GENERATION_PATTERN, name) for name in generations)


def test_a_check_notes_that_the_settings_are_no_longer_the_first_generation(tmp_path: Path) -> None:
    assert checked(tmp_path, document()).problems == ()
    [note] = checked(tmp_path, document(container={"version": "3.0-5"})).problems
    config = fleet(container={"version": "3.0-5"})
    assert note.severity == "note"
    assert generation(config, config.multi_model_tiers["tail"]) in str(note)
    assert checked(tmp_path, document(tiers={"tail": {"first_generation": DELETE}})).problems == ()


@pytest.mark.parametrize("text", ["", "tjscl", "tjscldd", "TJSCLD", "tjscl1", "tjscl-"])
def test_a_first_generation_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    [error] = checked(tmp_path, document(tiers={"tail": {"first_generation": text}})).problems
    assert (error.table, error.key, error.severity) == ("tiers.tail", "first_generation", "error")


def test_a_file_without_a_first_generation_names_every_one() -> None:
    config = fleet(**tail(first_generation=None))
    assert name_of(config) == f"{NAME}-tjscld"


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_the_names_of_the_shipped_fleets_have_no_suffix(file: Path) -> None:
    """After a change of what a generation is made of, set each first_generation to what this says.

    The image `tierfleet` changes with every commit to container/, so such a fleet has no first generation.
    """
    config = load(file)
    built_here = config.container.image == TIERFLEET_IMAGE
    for name, tier in config.multi_model_tiers.items():
        expected = None if built_here else generation(config, tier)
        assert tier.first_generation == expected, f"{file.name}, tier {name}"


def test_the_image_tierfleet_is_a_generation_of_its_files(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "container", tmp_path / "container", ignore=shutil.ignore_patterns("__pycache__"))
    content = image_content(folder)
    assert content == image_content(ROOT / "container")
    for ignored in ("tierfleet_server/__pycache__/x.pyc", "x.pyc", ".mypy_cache/x", "tierfleet_server.egg-info/PKG"):
        file = folder / ignored
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    image_content.cache_clear()
    assert image_content(folder) == content
    with (folder / "Dockerfile").open("a") as dockerfile:
        dockerfile.write("\n")
    image_content.cache_clear()
    assert image_content(folder) != content


def test_what_the_image_leaves_out_is_what_the_generation_leaves_out() -> None:
    ignored = (ROOT / "container" / ".dockerignore").read_text().split()
    assert [line.removeprefix("**/") for line in ignored] == list(LEFT_OUT)


TYPES = sorted({kind for region in hosting_regions() for kind in hosted_in(region)})


@given(st.sampled_from(TYPES), st.integers(0, 40), st.from_regex(names.GENERATION_PATTERN, fullmatch=True))
def test_a_name_that_fits_without_a_generation_fits_with_each(kind: str, more: int, suffix: str) -> None:
    words = ("f" * (1 + more), "prod", "tail", None, "multi-model", kind)
    plain, named = names.endpoint_name(*words), names.endpoint_name(*words, suffix)
    if len(plain) <= names.MAX_ENDPOINT_NAME_CHARACTERS:
        assert len(named) <= names.MAX_ENDPOINT_NAME_CHARACTERS
        assert named != plain
        assert named.startswith(f"{'f' * (1 + more)}--prod--tail--all--mme-")
    if len(plain) + 1 + len(suffix) <= names.MAX_ENDPOINT_NAME_CHARACTERS:
        assert named == f"{plain}-{suffix}"


@given(st.sampled_from(TYPES), st.sampled_from(TYPES), st.sampled_from(["q3f7xk", "aaaaaa"]))
def test_two_generations_or_types_of_a_long_name_differ(first: str, second: str, suffix: str) -> None:
    words = ("f" * 30, "production", "tail", None, "multi-model")
    made = [names.endpoint_name(*words, first, suffix), names.endpoint_name(*words, second, "zzzzzz")]
    assert made[0] != made[1]
    assert (first == second) == (names.endpoint_name(*words, second, suffix) == made[0])

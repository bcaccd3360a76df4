"""hosting = "pipeline": what a fleet file may say, and what it gets for the rest."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from local_cloud.testing.fleets import DELETE, checked, document, fleet
from tierfleet.cli import app
from tierfleet.config import FleetConfig, routes
from tierfleet.config.hosting.pipeline import PipelineTier
from tierfleet.config.quotas import quotas
from tierfleet.config.summary import fleet_summary
from tierfleet.runtime.route_parsing import parse_routes

OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/decisions:1"
FEATURES: dict[str, Any] = {"name": "features", "image": OWN, "environment": {"STAGE": "features"}}
SCORE: dict[str, Any] = {"name": "score", "image": "tierfleet", "model": "tenant"}
DECISION: dict[str, Any] = {"name": "decision", "image": OWN}
SHARED: dict[str, Any] = {"name": "score", "image": "tierfleet", "mode": "MultiModel"}
STAGES = [FEATURES, SCORE, DECISION]


def decided(stages: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "hosting": "pipeline",
        "instance_type": "ml.m5.large",
        "instances": {"min": 2, "max": 4, "initial": 2},
        "scaling": {"max_requests_per_second": 50},
        "alarms": {"max_model_latency_p99_milliseconds": 100},
        "stages": STAGES if stages is None else stages,
        "tenants": {"p1": {"model": "p1/1.tar.gz"}},
        **changes,
    }


def with_decided(tier: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(**{"network_isolation": False, **changes, "tiers": {"decided": tier}})


def built(tier: dict[str, Any], **changes: Any) -> FleetConfig:
    return fleet(**{"network_isolation": False, **changes, "tiers": {"decided": tier}})


def tier_of(config: FleetConfig) -> PipelineTier:
    tier = config.tiers["decided"]
    assert isinstance(tier, PipelineTier)
    return tier


WHERE = "tiers.decided"
# What is wrong: the tier and the rest of the file, then (table, key, words) of each error.
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str, str]]]] = {
    "one stage": (decided([SCORE]), {}, [(WHERE, "stages", "at least 2 items")]),
    "a tenant's model for other tenants": (
        decided(
            [FEATURES | {"model": "p2/1.tar.gz"}, SCORE, DECISION],
            tenants={tenant: {"model": f"{tenant}/1.tar.gz"} for tenant in ("p1", "p2")},
        ),
        {},
        [(WHERE, "stages", "p2/1.tar.gz is a model of tenant p2")],
    ),
    "variables that SageMaker sets": (
        decided(
            [FEATURES | {"environment": {"SAGEMAKER_BIND_TO_PORT": "80", "SAGEMAKER_SAFE_PORT_RANGE": "1-2"}}, SCORE]
        ),
        {},
        [
            (f"{WHERE}.stages.0.environment", "SAGEMAKER_BIND_TO_PORT", "SageMaker sets this itself"),
            (f"{WHERE}.stages.0.environment", "SAGEMAKER_SAFE_PORT_RANGE", "SageMaker sets this itself"),
        ],
    ),
    "sixteen stages": (
        decided([SCORE, *({**FEATURES, "name": f"f{n}"} for n in range(15))]),
        {},
        [(WHERE, "stages", "at most 15 items")],
    ),
    "no stages": (decided() | {"stages": []}, {}, [(WHERE, "stages", "at least 2 items")]),
    "a name twice": (
        decided([FEATURES, SCORE, {**DECISION, "name": "score"}]),
        {},
        [(f"{WHERE}.stages", "name", "2 stages are called score")],
    ),
    "a name that is no hostname": (
        decided([{**FEATURES, "name": "Feature_s"}, SCORE]),
        {},
        [(f"{WHERE}.stages.0", "name", "must match")],
    ),
    "no model": (decided([FEATURES, DECISION]), {}, [(f"{WHERE}.stages", "model", "no stage has the tenant's model")]),
    "two stages with the tenant's model": (
        decided([SCORE, {**SCORE, "name": "again"}]),
        {},
        [(f"{WHERE}.stages", "model", 'model = "tenant" (score, again)')],
    ),
    "two multi-model stages": (
        decided([SHARED, {**SHARED, "name": "again"}], tenants={"p1": {}}),
        {},
        [(f"{WHERE}.stages", "mode", "2 stages are MultiModel (score, again), SageMaker takes one")],
    ),
    "a multi-model stage and the tenant's own": (
        decided([SHARED, {**SCORE, "name": "own"}], tenants={"p1": {}}),
        {},
        [(f"{WHERE}.stages", "model", "score is MultiModel, so one endpoint serves all tenants")],
    ),
    "a multi-model stage with one artefact": (
        decided([FEATURES, {**SHARED, "model": "all/1.tar.gz"}], tenants={"p1": {}}),
        {},
        [(f"{WHERE}.stages.1", "model", "loads what a call names")],
    ),
    "a pin on a multi-model endpoint": (
        decided([FEATURES, SHARED]),
        {},
        [(f"{WHERE}.tenants", "p1", "share one endpoint, and the pointer names the version")],
    ),
    "no pin on an endpoint of one's own": (
        decided(tenants={"p1": {}}),
        {},
        [(f"{WHERE}.tenants.p1", "model", "each tenant has an endpoint with its own model")],
    ),
    "another tenant's models": (
        decided(tenants={"p1": {"model": "p2/1.tar.gz", "stage_models": {"features": "p3/1.tar.gz"}}}),
        {},
        [
            (f"{WHERE}.tenants.p1", "model", "below its own id, p1/"),
            (f"{WHERE}.tenants.p1.stage_models", "features", "below its own id, p1/"),
        ],
    ),
    "a probe that the first stage does not read": (
        decided(
            [{"name": "first", "image": "sagemaker-xgboost", "version": "3.0-5", "model": "tenant"}, DECISION],
            probe={"content_type": "application/json", "body": "[[0]]"},
        ),
        {},
        [(f"{WHERE}.probe", "content_type", "the first stage first gets the probe")],
    ),
    "a probe of the fleet that the first stage does not read": (
        decided([{"name": "first", "image": "sagemaker-xgboost", "version": "3.0-5", "model": "tenant"}, DECISION]),
        {"container": {"image": "tierfleet", "version": DELETE}, "probe": {"body": "a,b"}},
        [("probe", "body", "the first stage first gets the probe")],
    ),
    "a probe that is no JSON": (
        decided(probe={"content_type": "application/json", "body": "[[0"}),
        {},
        [(f"{WHERE}.probe", "body", "is not JSON")],
    ),
    "a blank probe": (
        decided(probe={"content_type": "application/json", "body": " "}),
        {},
        [(f"{WHERE}.probe", "body", "is blank")],
    ),
    "an artefact of no stage": (
        decided(tenants={"p1": {"model": "p1/1.tar.gz", "stage_models": {"score": "p1/2.tar.gz"}}}),
        {},
        [(f"{WHERE}.tenants.p1.stage_models", "score", "decision, features may have one")],
    ),
    "a model server without a model": (
        decided([SCORE, {"name": "again", "image": "tierfleet"}]),
        {},
        [(f"{WHERE}.stages.1", "model", "tierfleet serves a model, and the stage has none")],
    ),
    "a version that is not published": (
        decided([{"name": "score", "image": "sagemaker-xgboost", "version": "9.9", "model": "tenant"}, DECISION]),
        {},
        [(f"{WHERE}.stages.0", "version", "is published as")],
    ),
    "an image of another region": (
        decided([{**FEATURES, "image": OWN.replace("eu-west-1", "us-east-1")}, SCORE]),
        {},
        [(f"{WHERE}.stages.0", "image", "pulls images from its own region only")],
    ),
    "a Graviton type for an x86 image": (
        decided(
            [{"name": "score", "image": "sagemaker-xgboost", "version": "3.0-5", "model": "tenant"}, DECISION],
            instance_type="ml.m6g.large",
        ),
        {},
        [(WHERE, "instance_type", "is built for x86 only")],
    ),
    "a variable that no container takes": (
        decided([{**FEATURES, "environment": {"1A": "x"}}, SCORE]),
        {},
        [(f"{WHERE}.stages.0.environment", "1A", "may not begin with a digit")],
    ),
    "a script that an isolated container cannot fetch": (
        decided(
            [
                {
                    "name": "features",
                    "image": "sagemaker-scikit-learn",
                    "version": "1.2-1",
                    "environment": {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/c.tar.gz"},
                },
                SCORE,
            ]
        ),
        {"network_isolation": True},
        [("", "network_isolation", "without a network the container cannot fetch")],
    ),
    "a probe of no media type": (
        decided(probe={"content_type": "json", "body": "{}"}),
        {},
        [(f"{WHERE}.probe", "content_type", "must be a media type")],
    ),
    "a GPU type": (decided(instance_type="ml.g5.xlarge"), {}, [(WHERE, "instance_type", "ml.g5.xlarge")]),
    "the default tier": (decided(default=True), {}, [(WHERE, "default", "a pipeline tier has no default")]),
    "a tenant twice": (
        decided(tenants={"w1": {"model": "w1/1.tar.gz"}}),
        {},
        [("tiers.whale.tenants", "w1", "tenant is on 2 tiers")],
    ),
    "a list of tenants": (decided(tenants=["p1"]), {}, [(WHERE, "tenants", "should be a table")]),
    "everything at once": (
        decided(
            [{"name": "a", "image": "nothing"}, {"name": "a", "image": OWN}],
            tenants={"p1": {}, "all": {"model": "all/1.tar.gz"}},
            guardrail={"wait_interval_in_seconds": 5},
        ),
        {"account": DELETE},
        [
            ("", "account", "is missing"),
            (f"{WHERE}.stages", "name", "2 stages are called a"),
            (f"{WHERE}.stages", "model", "no stage has the tenant's model"),
            (f"{WHERE}.stages.0", "model", "serves a model, and the stage has none"),
            (f"{WHERE}.stages.0", "image", "must be sagemaker-xgboost"),
            (f"{WHERE}.tenants.p1", "model", "is missing"),
            (f"{WHERE}.tenants", "all", "means a multi-model endpoint"),
            (f"{WHERE}.guardrail", "wait_interval_in_seconds", "rollback alarms need"),
        ],
    ),
}


def test_a_sound_pipeline_has_no_problem(tmp_path: Path) -> None:
    # A folder that is no tenant's, or that of the only one.
    for folder in ("shared", "p1"):
        assert checked(tmp_path, with_decided(decided([FEATURES | {"model": f"{folder}/2.tar.gz"}, SCORE]))).config
    for tier in (decided(), decided([FEATURES, SHARED, DECISION], tenants={"p1": {}})):
        result = checked(tmp_path, with_decided(tier))
        assert result.config is not None, [str(problem) for problem in result.problems]
        assert [problem for problem in result.problems if "decided" in problem.table] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_all_its_errors_at_once_and_exit_code_2(name: str, tmp_path: Path) -> None:
    tier, changes, expected = BROKEN[name]
    result = checked(tmp_path, with_decided(tier, **changes))
    errors = [problem for problem in result.problems if problem.severity == "error"]
    for table, key, words in expected:
        assert any((e.table, e.key) == (table, key) and words in f"{e.message} {e.value}" for e in errors), [
            str(e) for e in errors
        ]
    assert len(errors) == len(expected), [str(error) for error in errors]
    assert CliRunner().invoke(app, ["config", "check", str(tmp_path / "shop-test.toml")]).exit_code == 2


def test_own_and_aws_images_in_one_pipeline_are_noted(tmp_path: Path) -> None:
    stock = {"name": "score", "image": "sagemaker-xgboost", "version": "1.7-1", "model": "tenant"}
    result = checked(tmp_path, with_decided(decided([FEATURES, stock])))
    (note,) = [problem for problem in result.problems if problem.table == f"{WHERE}.stages"]
    assert (note.severity, note.key) == ("note", "image")
    assert "own images (features)" in note.message


def test_a_shared_pipeline_without_tenants_is_a_warning(tmp_path: Path) -> None:
    result = checked(tmp_path, with_decided(decided([FEATURES, SHARED], tenants={})))
    (warning,) = [problem for problem in result.problems if problem.table == WHERE]
    assert (warning.severity, "a pipeline is never the default tier" in warning.message) == ("warning", True)


def test_endpoint_routes_quotas_and_summary_of_pipelines_with_an_endpoint_each() -> None:
    config = built(decided(probe={"content_type": "application/json", "body": "[]"}))
    name = "shop--test--decided--p1--pipeline-m5-large"
    document = routes.route_document(config)
    assert document["tiers"]["decided"] == {"hosting": "pipeline"}
    route = document["tenants"]["p1"]
    assert (route["tier"], route["endpoint"], route["model_version"]) == ("decided", name, "1")
    assert document["warm_up"]["probes"] == {"decided": {"content_type": "application/json", "body": "[]"}}
    jsonschema.validate(document, routes.route_schema(config))
    parsed = parse_routes(routes.route_json(config))
    assert parsed.route_of("p1").shared is False
    assert [parsed.probe_of(tier) for tier in ("decided", "tail")] == [parsed.probes["decided"], parsed.probe]
    assert config.probe_of("p1").body == "[]"
    assert config.probe_of("t1") == config.probe
    of_type = {quota.name: quota.at_maximum for quota in quotas(config)}
    assert of_type["ml.m5.large for endpoint usage"] == 8 + 4
    assert "features -> score -> decision, 2 to 4 x ml.m5.large" in fleet_summary(config)


def test_the_tenants_of_a_multi_model_stage_share_an_endpoint_that_names_what_it_is_made_of() -> None:
    config = built(decided([FEATURES, SHARED], tenants={"p1": {}, "p2": {}}))
    name = routes.endpoint_name(config, "decided")
    assert name.startswith("shop--test--decided--all--pipeline-m5-large-")
    document = routes.route_document(config)
    assert document["tiers"]["decided"] == {"hosting": "pipeline", "endpoint": name}
    assert {document["tenants"][tenant]["endpoint"] for tenant in ("p1", "p2")} == {name}
    jsonschema.validate(document, routes.route_schema(config))
    assert parse_routes(routes.route_json(config)).route_of("p1").shared is True
    others = (
        decided([SHARED, FEATURES], tenants={"p1": {}}),
        decided([{**FEATURES, "environment": {}}, SHARED], tenants={"p1": {}}),
        decided([{**FEATURES, "image": f"{OWN}2"}, SHARED], tenants={"p1": {}}),
        decided([FEATURES, SHARED], tenants={"p1": {}}, instance_type="ml.m5.xlarge"),
    )
    assert len({name, *(routes.endpoint_name(built(tier), "decided") for tier in others)}) == 5
    watched = [{**FEATURES, "max_average_latency_milliseconds": 5}, SHARED]
    assert routes.endpoint_name(built(decided(watched, tenants={"p1": {}})), "decided") == name


def test_a_new_order_is_another_model_and_other_stages() -> None:
    here, there = (built(decided(stages)) for stages in (STAGES, [DECISION, SCORE, FEATURES]))
    assert tier_of(here).order_id != tier_of(there).order_id
    stages = [routes.route_document(config)["tenants"]["p1"]["stages"] for config in (here, there)]
    assert len(set(stages)) == 2


def test_each_stage_loads_its_artefact() -> None:
    stages = [{**FEATURES, "model": "words/1.tar.gz"}, SCORE, DECISION]
    own = {"model": "p2/9.tar.gz", "stage_models": {"features": "p2/words-3.tar.gz"}}
    tier = tier_of(built(decided(stages, tenants={"p1": {"model": "p1/1.tar.gz"}, "p2": own})))
    assert [tier.artefact(stage, "p1") for stage in tier.stages] == ["words/1.tar.gz", "p1/1.tar.gz", None]
    assert [tier.artefact(stage, "p2") for stage in tier.stages] == ["p2/words-3.tar.gz", "p2/9.tar.gz", None]
    assert list(tier.shared_models) == ["words/1.tar.gz"]
    assert list(tier.pinned_models("p2").values()) == ["p2/9.tar.gz", "p2/words-3.tar.gz"]


def test_a_fleet_without_a_pipeline_has_the_validator_that_it_had() -> None:
    assert routes.route_schema(fleet()) == routes.ROUTE_SCHEMA


@given(
    kinds=st.lists(st.sampled_from(["tenant", "MultiModel", "fixed", "none"]), min_size=1, max_size=17),
    repeated=st.booleans(),
    pinned=st.booleans(),
)
@settings(max_examples=60)
def test_a_pipeline_is_sound_exactly_when_sagemaker_takes_it_and_one_stage_has_the_model(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], repeated: bool, pinned: bool
) -> None:
    settings_of: dict[str, dict[str, Any]] = {
        "tenant": {"model": "tenant"},
        "MultiModel": {"mode": "MultiModel"},
        "fixed": {"model": "all/1.tar.gz"},
        "none": {},
    }
    stages = [{"name": f"s{n}", "image": OWN, **settings_of[kind]} for n, kind in enumerate(kinds)]
    if repeated:
        stages[-1]["name"] = "s0"
    tier = decided(stages, tenants={"p1": {"model": "p1/1.tar.gz"} if pinned else {}})
    owners = [kind for kind in kinds if kind in ("tenant", "MultiModel")]
    taken = 2 <= len(kinds) <= 15 and len(owners) == 1 and not repeated
    taken = taken and pinned == (owners == ["tenant"])
    result = checked(tmp_path_factory.mktemp("fleet"), with_decided(tier))
    assert (result.config is not None) == taken, [str(problem) for problem in result.problems]

"""What a fleet file may say, and what is answered to one that may not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.testing.fleets import CONFIG, DELETE, FLEET_FILES, checked, document, fleet
from tierfleet.config import ConfigError, check_file, check_files, load, load_all
from tierfleet.config.hosting import TIERS
from tierfleet.config.problems import errors_of
from tierfleet.config.summary import fleet_summary

KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/0aa10aa1-0aa1-0aa1-0aa1-0aa10aa10aa1"


@pytest.mark.parametrize("file", FLEET_FILES, ids=lambda file: file.stem)
def test_the_fleet_files_of_the_repository_have_no_error_and_no_warning(file: Path) -> None:
    result = check_file(file)
    assert result.config is not None
    assert {problem.severity for problem in result.problems} <= {"note"}


def test_the_small_document_of_the_tests_is_sound(tmp_path: Path) -> None:
    assert checked(tmp_path, document()).problems == ()


def test_the_fraud_fleet_has_its_five_whales_and_everyone_else_on_the_tail() -> None:
    config = load(CONFIG / "fraud-prod.toml")
    assert sorted(config.dedicated_tiers["whale"].tenants) == ["m01", "m04", "m12", "m18", "m29"]
    assert config.default_tier == "tail"
    assert len(config.multi_model_tiers["tail"].warm_up.tenants) == 50


def test_the_churn_fleet_warms_its_top_2000_from_the_file_next_to_it() -> None:
    warm_up = load(CONFIG / "churn-prod.toml").multi_model_tiers["tail"].warm_up
    assert len(warm_up.tenants) == 2000
    assert warm_up.tenants[0] == "c0001"


def test_a_loaded_fleet_cannot_be_changed() -> None:
    config = load(CONFIG / "fraud-dev.toml")
    with pytest.raises(ValueError, match="frozen"):
        config.fleet = "other"


BROKEN: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    # name: (changes, [(table, key, words of the message)])
    "instances out of order": (
        {"tiers": {"tail": {"instances": {"min": 4}}}},
        [("tiers.tail", "instances", "min <= initial <= max")],
    ),
    "no scaling": (
        {"tiers": {"whale": {"scaling": DELETE}}},
        [("tiers.whale", "scaling", "is missing")],
    ),
    "burstable type": (
        {"tiers": {"tail": {"instance_type": "ml.t2.medium"}}},
        [("tiers.tail", "instance_type", "burstable")],
    ),
    "unknown type": (
        {"tiers": {"tail": {"instance_type": "ml.p3.2xlarge"}, "whale": {"instance_type": "m5.large"}}},
        [
            ("tiers.tail", "instance_type", "has an accelerator"),
            ("tiers.whale", "instance_type", "their names begin with ml."),
        ],
    ),
    "tenant on two tiers": (
        {"tiers": {"second": {**document()["tiers"]["tail"], "default": False, "tenants": ["w1"], "warm_up": DELETE}}},
        [("tiers.whale.tenants", "w1", "on 2 tiers (second, whale)")],
    ),
    "no default tier": (
        {"tiers": {"tail": {"default": False, "tenants": ["t9"]}}},
        [("tiers", "default", "exactly one")],
    ),
    "two default tiers": (
        {"tiers": {"second": document()["tiers"]["tail"]}},
        [("tiers", "default", "second, tail")],
    ),
    "default tier with a list": (
        {"tiers": {"tail": {"tenants": ["t9"]}}},
        [("tiers.tail", "tenants", "every tenant that no other tier names")],
    ),
    "tenant and tier names": (
        {"tiers": {"whale": {"tenants": {"M_01": {"model": "m01/1.tar.gz"}}}, "Tail": {"hosting": "multi-model"}}},
        [("tiers.whale.tenants", "M_01", "must match"), ("tiers", "Tail", "name must match")],
    ),
    "tenant called all": (
        {"tiers": {"whale": {"tenants": {"all": {"model": "all/1.tar.gz"}}}}},
        [("tiers.whale.tenants", "all", "multi-model endpoint")],
    ),
    "endpoint name too long": (
        {
            "tiers": {
                "a-tier-of-many-long-words": {
                    **document()["tiers"]["whale"],
                    "tenants": {"a-rather-long-tenant-name-of-35-chars": {"model": "x/1.tar.gz"}},
                },
            }
        },
        [
            (
                "tiers.a-tier-of-many-long-words.tenants",
                "a-rather-long-tenant-name-of-35-chars",
                "has 73 characters; SageMaker allows 63",
            ),
            ("tiers.a-tier-of-many-long-words.tenants.a-rather-long-tenant-name-of-35-chars", "model", "its own id"),
        ],
    ),
    "NVMe with volume and key": (
        {
            "encryption": {"volume_kms_key_arn": KEY_ARN},
            "tiers": {"tail": {"instance_type": "ml.m5d.xlarge", "volume_size_in_gb": 100}},
        },
        [
            ("tiers.tail", "volume_size_in_gb", "local NVMe"),
            ("encryption", "volume_kms_key_arn", "local NVMe"),
        ],
    ),
    "warm-up beyond capacity": (
        {"tiers": {"tail": {"models_per_instance": 2}}},
        [("tiers.tail.warm_up", "tenants", "later loads would evict earlier ones")],
    ),
    "warm-up without capacity": (
        {"tiers": {"tail": {"models_per_instance": DELETE}}},
        [("tiers.tail", "models_per_instance", "measured capacity")],
    ),
    "warm-up beyond half the scaling target": (
        {"tiers": {"tail": {"scaling": {"max_requests_per_second": 0.05}}}},
        [("tiers.tail.warm_up", "tenants", "more than half the scaling target")],
    ),
    "warm-up listed twice and scheduled by a wrong expression": (
        {"tiers": {"tail": {"warm_up": {"schedule": "rate(1 hours)", "timezone": "London"}}}},
        [
            ("tiers.tail.warm_up", "schedule", "singular"),
            ("tiers.tail.warm_up", "timezone", "IANA"),
        ],
    ),
    "bake too short": (
        {"routes": {"ttl_seconds": 300}},
        [("routes", "bake_minutes", "at least 670 s")],
    ),
    "unknown region": (
        {"region": "xx-nowhere-1"},
        [("", "region", "not a region that SageMaker hosts models in")],
    ),
    "unknown version and odd environment": (
        {
            "container": {
                "version": "1.6-1",
                "environment": {
                    "SAGEMAKER_MULTI_MODEL": "true",
                    "SAGEMAKER_BIND_TO_PORT": "80",
                    "SAGEMAKER_PROGRAM": "inference.py",
                },
            }
        },
        [
            ("container", "version", "1.7-1, 3.0-5"),
            ("container.environment", "SAGEMAKER_MULTI_MODEL", "sets this itself"),
            ("container.environment", "SAGEMAKER_BIND_TO_PORT", "sets this itself"),
            ("container", "environment", "SAGEMAKER_SUBMIT_DIRECTORY together"),
        ],
    ),
    "graviton with the stock image": (
        {"tiers": {"tail": {"instance_type": "ml.m6g.xlarge"}}},
        [("tiers.tail", "instance_type", "x86 only")],
    ),
    "unknown keys": (
        {"colour": "red", "tiers": {"tail": {"instnces": 3}, "whale": {"alarms": {"max_p99": 5}}}},
        [
            ("", "colour", "unknown key"),
            ("tiers.tail", "instnces", "unknown key"),
            ("tiers.whale.alarms", "max_p99", "unknown key"),
        ],
    ),
    "canary of one instance": (
        {"tiers": {"whale": {"instances": {"min": 1, "initial": 1}, "guardrail": {"type": "CANARY"}}}},
        [("tiers.whale.guardrail", "canary_instances", "half of the instances")],
    ),
    "canary of one instance at night": (
        {
            "tiers": {
                "whale": {
                    "scaling": {"schedules": {"night": {"schedule": "cron(0 20 * * ? *)", "min": 1, "max": 2}}},
                    "guardrail": {"type": "CANARY"},
                }
            }
        },
        [("tiers.whale.guardrail", "canary_instances", "there may be 1")],
    ),
    "guardrail that cannot end": (
        {"tiers": {"whale": {"guardrail": {"type": "LINEAR", "maximum_execution_timeout_in_seconds": 600}}}},
        [
            (
                "tiers.whale.guardrail",
                "maximum_execution_timeout_in_seconds",
                "above the sum of the waits, 2100 s (4 steps",
            )
        ],
    ),
    "file called otherwise": (
        {"environment": "prod"},
        [("", "fleet, environment", "shop-test.toml")],
    ),
    "hosting unknown": (
        {"tiers": {"tail": {"hosting": "edge"}}},
        [("tiers.tail", "hosting", f"one of {', '.join(TIERS)}")],
    ),
    "wrong shapes everywhere at once": (
        {
            "account": 123,
            "probe": DELETE,
            "routes": {"ttl_seconds": 5},
            "tiers": {
                "tail": {"instances": {"max": "six"}, "scaling": {"safety_factor": 2}},
                "whale": {"instances": {"min": 9}, "tenants": {"w1": {"model": "w1/latest.zip"}}},
            },
        },
        [
            ("", "account", "should be text"),
            ("", "probe", "is missing"),
            ("routes", "ttl_seconds", "15"),
            ("tiers.tail.instances", "max", "whole number"),
            ("tiers.tail.scaling", "safety_factor", "1"),
            ("tiers.whale", "instances", "min <= initial <= max"),
            ("tiers.whale.tenants.w1", "model", "must match"),
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_all_its_errors_at_once(name: str, tmp_path: Path) -> None:
    changes, expected = BROKEN[name]
    result = checked(tmp_path, document(**changes))
    assert result.config is None
    errors = errors_of(result.problems)
    for table, key, words in expected:
        assert any((e.table, e.key) == (table, key) and words in e.message for e in errors), "\n".join(map(str, errors))
    assert len(errors) == len(expected), "\n".join(map(str, errors))
    assert all(error.file.endswith("shop-test.toml") and error.fix for error in errors)


def test_an_error_says_file_table_key_value_what_is_allowed_and_what_to_do(tmp_path: Path) -> None:
    result = checked(tmp_path, document(tiers={"tail": {"scaling": {"safety_factor": 2.0}}}))
    assert str(errors_of(result.problems)[0]) == (
        f"error: {tmp_path}/shop-test.toml: [tiers.tail.scaling] safety_factor = 2.0: "
        "should be less than or equal to 1; change the value"
    )


def test_an_unknown_key_gets_the_nearest_known_one(tmp_path: Path) -> None:
    result = checked(tmp_path, document(tiers={"tail": {"instance_typ": "ml.m5.large"}}))
    assert "did you mean instance_type?" in str(result.problems[0])


def test_a_promoted_tenant_in_a_warm_up_list_is_a_note(tmp_path: Path) -> None:
    result = checked(tmp_path, document(tiers={"whale": {"tenants": {"t2": {"model": "t2/1.tar.gz"}}}}))
    assert result.config is not None
    assert [(p.severity, p.key) for p in result.problems] == [("note", "t2")]


def test_one_instance_is_a_note_and_a_family_hosted_elsewhere_a_warning(tmp_path: Path) -> None:
    changes = {"instance_type": "ml.m6i.xlarge", "instances": {"min": 1}}
    result = checked(tmp_path, document(tiers={"tail": changes}))
    assert result.config is not None
    assert [(p.severity, p.key) for p in result.problems] == [("note", "min"), ("warning", "instance_type")]


def test_too_many_whales_for_one_stack_tree_are_refused_with_the_number_that_fits(tmp_path: Path) -> None:
    tenants = {f"w{i}": {"model": f"w{i}/1.tar.gz"} for i in range(190)}
    result = checked(tmp_path, document(tiers={"whale": {"tenants": tenants}}))
    messages = [str(error) for error in errors_of(result.problems)]
    assert len(messages) == 1
    assert "at most 2400 fit one stack tree (167 dedicated tenants)" in messages[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"fleet = [", "is not valid TOML"), (b"\xff\xfe", "it is UTF-16"), (None, "cannot be read")],
    ids=["syntax", "encoding", "absent"],
)
def test_a_file_that_cannot_be_read_is_one_error(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "shop-test.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        load(file)
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize("file_name", ["../secrets.txt", "absent.txt", "/etc/hostname"])
def test_a_tenants_file_must_be_next_to_the_fleet_file(file_name: str, tmp_path: Path) -> None:
    content = document(tiers={"tail": {"warm_up": {"tenants_file": file_name, "tenants": DELETE}}})
    result = checked(tmp_path, content)
    [problem] = [p for p in result.problems if p.severity == "error"]
    assert problem.key == "tenants_file"
    assert "in the fleet file's directory" in problem.message or "cannot be read" in problem.message


def test_tenants_and_tenants_file_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("t1\n")
    result = checked(tmp_path, document(tiers={"tail": {"warm_up": {"tenants_file": "hot.txt"}}}))
    assert [p.key for p in errors_of(result.problems)] == ["tenants_file"]


def test_the_lines_of_a_tenants_file_are_checked_like_a_list(tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("# hottest first\nt1\nt1  # again\nT3\n")
    content = document(tiers={"tail": {"warm_up": {"tenants_file": "hot.txt", "tenants": DELETE}}})
    result = checked(tmp_path, content)
    assert any(p.key == "2" and p.value == "T3" for p in result.problems), result.problems


def test_two_files_must_not_describe_one_fleet(tmp_path: Path) -> None:
    checked(tmp_path, document())
    (tmp_path / "b").mkdir()
    checked(tmp_path / "b", document())
    files = check_files([tmp_path / "shop-test.toml", tmp_path / "b" / "shop-test.toml"])
    assert [file.config is None for file in files] == [False, True]
    assert "describes the same fleet" in str(files[1].problems[-1])


def test_load_all_raises_the_errors_of_every_file(tmp_path: Path) -> None:
    checked(tmp_path, document(region="xx-nowhere-1"))
    checked(tmp_path, document(environment="dev", account="12"), "shop-dev.toml")
    with pytest.raises(ConfigError) as raised:
        load_all(tmp_path)
    assert {Path(problem.file).name for problem in raised.value.problems} == {"shop-dev.toml", "shop-test.toml"}


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10_000) | st.text("abz-_/.0", max_size=8) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["min", "tenants", "x"]), inner),
    max_leaves=4,
).filter(lambda value: value is not None)


@given(
    path=st.sampled_from(
        [
            ("fleet",),
            ("container",),
            ("container", "environment"),
            ("routes", "bake_minutes"),
            ("tiers",),
            ("tiers", "tail"),
            ("tiers", "tail", "instances"),
            ("tiers", "tail", "warm_up"),
            ("tiers", "tail", "warm_up", "tenants_file"),
            ("tiers", "whale", "tenants"),
            ("tiers", "whale", "tenants", "w1"),
            ("tiers", "whale", "guardrail"),
        ]
    ),
    value=toml_values,
)
def test_no_value_anywhere_ends_in_a_traceback(
    path: tuple[str, ...], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = document()
    table = content
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value
    result = checked(tmp_path_factory.mktemp("any"), _without_none(content))
    assert (result.config is None) == bool(errors_of(result.problems))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value if item is not None]
    return value


def test_two_warm_ups_at_the_same_time_are_a_warning(tmp_path: Path) -> None:
    second = {**document()["tiers"]["tail"], "default": False, "tenants": ["t9"]}
    result = checked(tmp_path, document(tiers={"second": second}))
    assert [(p.severity, p.table, p.key) for p in result.problems] == [("warning", "tiers.tail.warm_up", "schedule")]


@pytest.mark.parametrize(
    ("one", "other", "at_once"),
    [
        (("cron(45 7 ? * MON-FRI *)", "Europe/London"), ("cron(45 8 ? * 2-6 *)", "Europe/Paris"), True),
        (("cron(0 7 ? * MON-FRI *)", "UTC"), ("cron(0/15 * * * ? *)", "UTC"), True),
        (("cron(0 7 1 1 ? 2029)", "UTC"), ("at(2029-01-01T07:00:00)", "UTC"), True),
        (("rate(1 hour)", "UTC"), ("rate(60 minutes)", "UTC"), True),
        (("cron(45 7 ? * MON-FRI *)", "UTC"), ("cron(45 7 ? * SAT *)", "UTC"), False),
        (("cron(45 7 * * ? *)", "UTC"), ("cron(45 7 * * ? *)", "Asia/Tokyo"), False),
    ],
)
def test_warm_ups_at_the_same_time_are_found_however_that_is_written(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], at_once: bool
) -> None:
    tail = document()["tiers"]["tail"]
    second = {**tail, "default": False, "tenants": ["t9"]}
    second["warm_up"] = {**tail["warm_up"], "schedule": other[0], "timezone": other[1]}
    first = {"warm_up": {"schedule": one[0], "timezone": one[1]}}
    result = checked(tmp_path, document(tiers={"tail": first, "second": second}))
    assert [problem.key for problem in result.problems] == ["schedule"] * at_once


@pytest.mark.parametrize(
    ("container", "isolated"),
    [
        ({}, True),
        ({"image": "sagemaker-scikit-learn", "version": "1.2-1"}, True),
        ({"image": "tierfleet", "version": None}, True),
        ({"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1", "version": None}, False),
        ({"environment": {"SAGEMAKER_PROGRAM": "i.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}}, False),
    ],
)
@pytest.mark.parametrize("network", [False, True])
def test_a_container_that_makes_no_calls_has_no_network_unless_the_file_says_otherwise(
    container: dict[str, Any], isolated: bool, network: bool, tmp_path: Path
) -> None:
    vpc = {"subnets": ["subnet-01234567", "subnet-01234568"], "security_group_ids": ["sg-01234567"]}
    changes: dict[str, Any] = {"container": container, **({"network": vpc} if network else {})}
    content = {key: value for key, value in document(**changes).items() if value is not None}
    content["container"] = {key: value for key, value in content["container"].items() if value is not None}
    for said in (None, True, False):
        given = content if said is None else {**content, "network_isolation": said}
        config = checked(tmp_path, given).config
        assert config is not None
        assert config.network_isolation is (isolated if said is None else said)


def test_a_wrong_schedule_hides_no_duplicate_of_its_list(tmp_path: Path) -> None:
    file = checked(tmp_path, document(tiers={"tail": {"warm_up": {"schedule": "daily", "tenants": ["a", "b", "a"]}}}))
    words = " ".join(map(str, errors_of(file.problems)))
    assert "daily" in words
    assert "lists a more than once" in words


def test_a_key_of_any_length_leaves_room_for_its_message(tmp_path: Path) -> None:
    file = checked(tmp_path, document(**{"k" * 100_000: 1}))
    [error] = errors_of(file.problems)
    assert len(str(error)) < 1000
    assert "unknown key" in str(error)


@pytest.mark.parametrize(("added", "words"), [(1, "+ 1 instance above 200"), (2, "+ 2 instances above 200")])
def test_the_summary_counts_the_instances_that_a_full_cache_adds(added: int, words: str) -> None:
    assert words in fleet_summary(fleet(tiers={"tail": {"scale_on_cache": {"add_instances": added}}}))

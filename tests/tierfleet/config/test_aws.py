"""What AWS would refuse is refused by `config check`, with the reason."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from local_cloud.testing.fleets import DELETE, checked, document
from tierfleet.config.guardrail_time import BAKE_SECONDS
from tierfleet.config.problems import errors_of

KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
ROLE = "arn:aws:iam::123456789012:role/models-gc"
GROUPS = ["sg-0123456789abcdef0"]
REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine"
LIST = document()["tiers"]["tail"]


def shared(count: int, **changes: Any) -> dict[str, Any]:
    """So many further shared tiers of one tenant each."""
    tier = {**{key: value for key, value in LIST.items() if key != "warm_up"}, "default": False, **changes}
    return {f"s{number}": {**deepcopy(tier), "tenants": [f"a{number}"]} for number in range(count)}


def tail(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"tail": changes}}


def whale(**changes: Any) -> dict[str, Any]:
    return {"tiers": {"whale": changes}}


def network(subnets: list[str], groups: list[str]) -> dict[str, Any]:
    return {"network": {"subnets": subnets, "security_group_ids": groups}}


# name: (changes, the key at fault, words of the one error)
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # Tags.
    "a tag of ours in other case": ({"tags": {"Environment": "Dev"}}, "Environment", "without regard to case"),
    "a tag of ours": ({"tags": {"tenant": "x"}}, "tenant", "sets the tag tenant itself"),
    "tags that differ in case": ({"tags": {"Owner": "a"}, "container": {"version": "9"}}, "version", "published as"),
    "a reserved tag": ({"tags": {"aws:owner": "a"}}, "aws:owner", "AWS's own"),
    "a reserved tag in capitals": ({"tags": {"AWS:owner": "a"}}, "AWS:owner", "AWS's own"),
    "a reserved value": ({"tags": {"owner": "AWS:me"}}, "owner", "values that begin with aws:"),
    "47 tags": ({"tags": {f"t{number}": "x" for number in range(47)}}, "tags", "AWS allows 50 per resource"),
    "a long key": ({"tags": {"k" * 129: "x"}}, "k" * 129, "129 characters, 1 to 128"),
    "a long value": ({"tags": {"k": "v" * 257}}, "k", "257 characters, 1 to 256"),
    "an empty value": ({"tags": {"k": ""}}, "k", "0 characters, 1 to 256"),
    "an empty key": ({"tags": {"": "v"}}, "", "0 characters, 1 to 128"),
    "a forbidden character": ({"tags": {"k": "a;b"}}, "k", "may hold letters"),
    "a forbidden character in a key": ({"tags": {"k?": "a"}}, "k?", "may hold letters"),
    "a space at the end": ({"tags": {"k": "a "}}, "k", "may hold letters"),
    # Who deletes models.
    "a role of another account": (
        {"models": {"gc_principal_arns": [ROLE.replace("123456789012", "210987654321")]}},
        "gc_principal_arns",
        "account 210987654321",
    ),
    "a role of another partition": (
        {"models": {"gc_principal_arns": [ROLE.replace("arn:aws:", "arn:aws-cn:")]}},
        "gc_principal_arns",
        "partition aws-cn",
    ),
    "every role": ({"models": {"gc_principal_arns": [ROLE + "*"]}}, "0", "must match"),
    "every path": (
        {"models": {"gc_principal_arns": ["arn:aws:iam::123456789012:role/*/gc"]}},
        "0",
        "must match",
    ),
    "a session in place of its role": (
        {"models": {"gc_principal_arns": ["arn:aws:sts::123456789012:assumed-role/gc/x"]}},
        "0",
        "must match",
    ),
    "a path of 600 characters": (
        {"models": {"gc_principal_arns": [ROLE.replace("role/", f"role/{'p' * 600}/")]}},
        "0",
        "must match",
    ),
    "a role twice": ({"models": {"gc_principal_arns": [ROLE, ROLE]}}, "gc_principal_arns", "more than once"),
    "a region without SageMaker in CloudFormation": ({"region": "me-central-1"}, "region", "no resource types"),
    # The probe against the image.
    "words as libsvm": ({"probe": {"content_type": "text/libsvm", "body": "abc def"}}, "body", "libsvm"),
    "libsvm without an index": ({"probe": {"content_type": "text/x-libsvm", "body": "0 1:0.5 2"}}, "body", "libsvm"),
    "JSON that is none": (
        {
            "container": {"image": "sagemaker-scikit-learn", "version": "1.2-1"},
            "probe": {"content_type": "application/json", "body": "[[0, 0}"},
        },
        "body",
        "not JSON",
    ),
    # Isolation.
    "a script in S3 and no network": (
        {
            "network_isolation": True,
            "container": {
                "environment": {"SAGEMAKER_PROGRAM": "s.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/code.tar.gz"}
            },
        },
        "network_isolation",
        "without a network the container cannot fetch",
    ),
    # Keys.
    "a key of another region": (
        {"encryption": {"volume_kms_key_arn": KEY.replace("eu-west-1", "us-east-1")}},
        "volume_kms_key_arn",
        "region us-east-1",
    ),
    "a key of another partition": (
        {"encryption": {"topic_kms_key_arn": KEY.replace("arn:aws:", "arn:aws-cn:")}},
        "topic_kms_key_arn",
        "partition aws-cn",
    ),
    "an alias": (
        {"encryption": {"bucket_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:alias/mine"}},
        "bucket_kms_key_arn",
        "must match",
    ),
    "a key id alone": (
        {"encryption": {"bucket_kms_key_arn": "11111111-2222-3333-4444-555555555555"}},
        "bucket_kms_key_arn",
        "must match",
    ),
    "a key id that is no UUID": (
        {"encryption": {"bucket_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1234"}},
        "bucket_kms_key_arn",
        "must match",
    ),
    # Network.
    "a subnet twice": (network([SUBNETS[0], SUBNETS[0]], GROUPS), "subnets", "more than once"),
    "a group twice": (network(SUBNETS, GROUPS * 2), "security_group_ids", "more than once"),
    "a malformed subnet": (network(["subnet-1", SUBNETS[0]], GROUPS), "0", "must match"),
    "a malformed group": (network(SUBNETS, ["default"]), "0", "must match"),
    "a group among the subnets": (network([SUBNETS[0], GROUPS[0]], GROUPS), "1", "must match"),
    "17 subnets": (network([f"subnet-{n:017x}" for n in range(17)], GROUPS), "subnets", "at most 16"),
    "six groups": (network(SUBNETS, [f"sg-{n:017x}" for n in range(6)]), "security_group_ids", "at most 5"),
    # Image and environment.
    "an image of another region": (
        {"container": {"image": f"{REPOSITORY.replace('eu-west-1', 'us-east-1')}:1", "version": DELETE}},
        "image",
        "its own region only",
    ),
    "an image of another partition": (
        {"container": {"image": f"{REPOSITORY.replace('.com', '.com.cn')}:1", "version": DELETE}},
        "image",
        "end with amazonaws.com",
    ),
    "an image without a tag": ({"container": {"image": REPOSITORY, "version": DELETE}}, "image", "tag or digest"),
    "an image of another registry": (
        {"container": {"image": "docker.io/library/nginx:1", "version": DELETE}},
        "image",
        "full ECR URI",
    ),
    "a repository in capitals": ({"container": {"image": f"{REPOSITORY}/A:1", "version": DELETE}}, "image", "ECR URI"),
    "an image of 256 characters": (
        {"container": {"image": f"{REPOSITORY}/{'x' * 150}:{'y' * 60}", "version": DELETE}},
        "image",
        "SageMaker allows 255",
    ),
    "a variable that begins with a digit": (
        {"container": {"environment": {"1A": "x"}}},
        "1A",
        "may not begin with a digit",
    ),
    "a variable with a hyphen": ({"container": {"environment": {"A-B": "x"}}}, "A-B", "letters, digits and _"),
    "an empty variable": ({"container": {"environment": {"": "x"}}}, "", "letters, digits and _"),
    "a long variable": ({"container": {"environment": {"A": "x" * 1025}}}, "A", "1,024 bytes"),
    "101 variables": (
        {"container": {"environment": {f"A{number}": "x" for number in range(100)}}},
        "environment",
        "at most 100",
    ),
    "40 KiB of variables": (
        {"container": {"environment": {f"A{number}": "x" * 1000 for number in range(40)}}},
        "environment",
        "32 KiB",
    ),
    # Probe.
    "an empty content type": ({"probe": {"content_type": ""}}, "content_type", "media type"),
    "half a content type": ({"probe": {"content_type": "text/"}}, "content_type", "media type"),
    "a content type with a line end": ({"probe": {"content_type": "text/csv\nX: y"}}, "content_type", "media type"),
    "a content type of other letters": ({"probe": {"content_type": "text/csvé"}}, "content_type", "media type"),
    "JSON on the stock image": (
        {"probe": {"content_type": "application/json", "body": "[0]"}},
        "content_type",
        "reads text/csv",
    ),
    "RecordIO in a text": (
        {"probe": {"content_type": "application/x-recordio-protobuf"}},
        "content_type",
        "reads text/csv",
    ),
    "a blank row": ({"probe": {"body": " \n"}}, "body", "is blank"),
    "words in a row of numbers": ({"probe": {"body": "a,b,c"}}, "body", "numbers only"),
    "a byte-order mark in the row": ({"probe": {"body": "\ufeff0,0,0"}}, "body", "numbers only"),
    "an array as an environment": ({"container": {"environment": ["A"]}}, "environment", "should be a table"),
    # Names.
    "a fleet that begins with a digit": ({"fleet": "3m"}, "fleet", "begin with a letter"),
    "a fleet called xn": ({"fleet": "xn"}, "fleet", "begin with xn--"),
    "a fleet called sthree": ({"fleet": "sthree"}, "fleet", "begin with sthree-"),
    "a fleet called sthree-configurator": ({"fleet": "sthree-configurator"}, "fleet", "begin with sthree-"),
    "a fleet called amzn-s3-demo": ({"fleet": "amzn-s3-demo"}, "fleet", "begin with amzn-s3-demo-"),
    "a bucket of 64 characters": ({"fleet": "a" * 25}, "fleet", "S3 allows 63"),
    "a tier of 41 characters": ({"tiers": {"t" * 41: LIST}}, "t" * 41, "at most 40"),
    "a whale with the id of a hash": (
        whale(tenants={"h-abcdefghijkl": {"model": "h-abcdefghijkl/1.tar.gz"}}),
        "h-abcdefghijkl",
        "replace longer ids",
    ),
    "a region that does not exist": ({"region": "eu-west-9"}, "region", "did you mean eu-west-"),
    "a region in capitals": ({"region": "EU-WEST-1"}, "region", "not a region"),
    "an availability zone": ({"region": "eu-west-1a"}, "region", "did you mean eu-west-1"),
    "an account of 11 digits": ({"account": "12345678901"}, "account", "must match"),
    # Types.
    "m4": (tail(instance_type="ml.m4.xlarge"), "instance_type", "older than the types tierfleet offers"),
    "c4": (tail(instance_type="ml.c4.2xlarge"), "instance_type", "older than the types tierfleet offers"),
    "a GPU": (tail(instance_type="ml.g5.xlarge"), "instance_type", "accelerator"),
    # Schedules and zones.
    "30 February": (tail(warm_up={"schedule": "at(2028-02-30T00:00:00)"}), "schedule", "no such date"),
    "a step of 0": (tail(warm_up={"schedule": "cron(*/0 7 * * ? *)"}), "schedule", "minutes"),
    "Factory": (tail(warm_up={"timezone": "Factory"}), "timezone", "IANA"),
    "a step in the days of scaling": (
        whale(scaling={"schedules": {"a": {"schedule": "cron(0 9 ? * 2/2 *)", "min": 2, "max": 4}}}),
        "schedule",
        "no steps",
    ),
    "201 schedules": (
        whale(
            scaling={"schedules": {f"s{n}": {"schedule": "cron(0 9 * * ? *)", "min": 2, "max": 4} for n in range(201)}}
        ),
        "schedules",
        "200 scheduled actions",
    ),
    # Numbers.
    "inf": (whale(scaling={"max_requests_per_second": float("inf")}), "max_requests_per_second", "finite"),
    "nan": (tail(alarms={"min_cache_hit_ratio": float("nan")}), "min_cache_hit_ratio", "finite"),
    "1e300": (tail(scaling={"max_requests_per_second": 1e300}), "max_requests_per_second", "1000000"),
    "1e-200": (tail(scaling={"max_requests_per_second": 1e-200}), "max_requests_per_second", "0.001"),
    "a ratio of 1e-300": (tail(alarms={"min_cache_hit_ratio": 1e-300}), "min_cache_hit_ratio", "0.000001"),
    "a model's key of 949 characters": (
        whale(tenants={"w1": {"model": f"w1/{'x' * 939}.tar.gz"}}),
        "model",
        "at most 948",
    ),
    "2**31 instances": (tail(instances={"max": 2**31}), "max", "2147483647"),
    "2**63 unloads": (tail(alarms={"max_unloads_per_hour": 2**63}), "max_unloads_per_hour", "2147483647"),
    "2**31 requests": (tail(alarms={"min_requests": 2**31}), "min_requests", "2147483647"),
    # Python's True is 1, and 90.0 is 90.
    "true as a number of days": ({"log_retention_days": True}, "log_retention_days", "should be a whole number"),
    "90.0 as a number of days": ({"log_retention_days": 90.0}, "log_retention_days", "should be a whole number"),
    # Alarms that could never go off.
    "a 5XX ratio of 1": (whale(alarms={"max_5xx_ratio": 1.0}), "max_5xx_ratio", "less than 1"),
    "a 4XX ratio of 1": (tail(alarms={"max_4xx_ratio": 1.0}), "max_4xx_ratio", "less than 1"),
    "100 % of memory": (tail(alarms={"max_memory_percent": 100.0}), "max_memory_percent", "less than 100"),
    "100 % of the disk": (tail(alarms={"max_disk_percent": 100.0}), "max_disk_percent", "less than 100"),
    "a p99 of more than a minute": (
        whale(alarms={"max_model_latency_p99_milliseconds": 60_001}),
        "max_model_latency_p99_milliseconds",
        "less than or equal to 60000",
    ),
    "a loading wait of six minutes": (
        tail(alarms={"max_loading_wait_seconds": 360.0}),
        "max_loading_wait_seconds",
        "less than 360",
    ),
    # Guardrails that could never act.
    "a canary of a minute": (
        whale(guardrail={"wait_interval_in_seconds": 60}),
        "wait_interval_in_seconds",
        "get all traffic first",
    ),
    "a canary one second short": (
        whale(guardrail={"wait_interval_in_seconds": BAKE_SECONDS - 1}),
        "wait_interval_in_seconds",
        "get all traffic first",
    ),
    "no final bake": (
        whale(guardrail={"termination_wait_in_seconds": 0}),
        "termination_wait_in_seconds",
        "would be gone before",
    ),
    "all at once without a bake": (
        whale(guardrail={"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}),
        "termination_wait_in_seconds",
        "would be gone before",
    ),
    "linear without a last bake": (
        whale(guardrail={"type": "LINEAR", "termination_wait_in_seconds": 60}),
        "termination_wait_in_seconds",
        "would be gone before",
    ),
    "linear in four steps of 30 %": (
        whale(
            guardrail={
                "type": "LINEAR",
                "linear_step_percent": 30,
                "wait_interval_in_seconds": 900,
                "maximum_execution_timeout_in_seconds": 4020,
            }
        ),
        "maximum_execution_timeout_in_seconds",
        "4020 s (4 steps",
    ),
    "a canary too small for its ratio": (
        whale(instances={"max": 20}, alarms={"max_5xx_ratio": 0.05}),
        "canary_instances",
        "5.0% of the calls",
    ),
    "a canary too small for a p99": (
        whale(instances={"max": 100}, alarms={"max_5xx_ratio": 0.001}),
        "canary_instances",
        "too few for a p99",
    ),
    "more requests than the instances take": (
        whale(alarms={"min_requests": 250_000}),
        "min_requests",
        "never go off",
    ),
    # Counts and sizes.
    "501 resources": ({"tiers": shared(24)}, "tenants", "509 resources in one stack; CloudFormation allows 500"),
    "a template over 1 MB by tags": (
        {"tags": {f"{n}" + "k" * 100: "v" * 256 for n in range(46)}, "tiers": shared(5)},
        "tiers",
        "CloudFormation allows 1 MB",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_aws_refuses_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    changes, key, words = REFUSED[name]
    content = document(**changes)
    result = checked(tmp_path, content, f"{content['fleet']}-test.toml")
    assert result.config is None
    [error] = errors_of(result.problems)
    assert error.key == key
    assert words in str(error)
    assert error.fix


ALLOWED: dict[str, dict[str, Any]] = {
    "46 tags": {"tags": {f"t{number}": "x" for number in range(46)}},
    "tags of every kind": {"tags": {"Cost Center": "42", "a:b/c=d+e-f@g.h_i": "Größe 9", "k" * 128: "v" * 256}},
    "keys of the region": {"encryption": {"bucket_kms_key_arn": KEY, "topic_kms_key_arn": KEY}},
    "a multi-Region key": {"encryption": {"bucket_kms_key_arn": KEY[: KEY.index("key/") + 4] + f"mrk-{'0' * 32}"}},
    "subnets and groups": network(SUBNETS, GROUPS),
    "ids of eight digits": network(["subnet-0123abcd", "subnet-0123abce"], ["sg-0123abcd"]),
    "an image by digest": {"container": {"image": f"{REPOSITORY}@sha256:{'0' * 64}", "version": DELETE}},
    "an image of another account": {"container": {"image": f"9{REPOSITORY[1:]}/a_b.c--d:1", "version": DELETE}},
    "JSON on our image": {
        "container": {"image": "tierfleet", "version": DELETE},
        "probe": {"content_type": "application/json; charset=utf-8", "body": "[[0]]"},
    },
    "JSON on an image of one's own": {
        "container": {"image": f"{REPOSITORY}:1", "version": DELETE},
        "probe": {"content_type": "application/json", "body": "[[0]]"},
    },
    "JSON by a script": {
        "container": {"environment": {"SAGEMAKER_PROGRAM": "i.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/c"}},
        "probe": {"content_type": "application/json", "body": "[[0]]"},
    },
    "libsvm": {"probe": {"content_type": "text/libsvm", "body": "0 1:0.5 2:1"}},
    "libsvm of every form": {"probe": {"content_type": "text/libsvm", "body": "1 qid:3 0:.5 7:-1e3 9:nan\n2:5\n"}},
    "numbers of every form": {"probe": {"body": "-1,+2.5,.5,1e-3,,nan"}},
    "variables of every form": {"container": {"environment": {"_a9": "ü\nx", "B": ""}}},
    "200 schedules": whale(
        scaling={"schedules": {f"s{n}": {"schedule": "cron(0 9 * * ? *)", "min": 2, "max": 4} for n in range(200)}}
    ),
    "one instance": whale(instances={"min": 1, "initial": 1}),
    "one instance at night": whale(
        scaling={"schedules": {"night": {"schedule": "cron(0 20 * * ? *)", "min": 1, "max": 2}}}
    ),
    # Their lists lie in the model bucket.
    "12,000 tenants": {
        "tiers": {"s": {**shared(1)["s0"], "tenants": [f"tenant-{number:06}" for number in range(12_000)]}}
    },
    "linear": whale(guardrail={"type": "LINEAR"}),
    "the shortest bakes": whale(
        guardrail={"wait_interval_in_seconds": BAKE_SECONDS, "termination_wait_in_seconds": BAKE_SECONDS}
    ),
    "all at once needs no step": whale(guardrail={"type": "ALL_AT_ONCE", "wait_interval_in_seconds": 0}),
    "a fleet with a digit": {"fleet": "x9"},
    "China": {"region": "cn-north-1"},
    "GovCloud": {"region": "us-gov-west-1"},
    "23 shared tiers": {"tiers": shared(23)},
    "a UUID of one's own": whale(
        tenants={"550e8400-e29b-41d4-a716-446655440000": {"model": "550e8400-e29b-41d4-a716-446655440000/v1.tar.gz"}}
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_aws_takes_is_taken(name: str, tmp_path: Path) -> None:
    content = document(**ALLOWED[name])
    result = checked(tmp_path, content, f"{content['fleet']}-test.toml")
    assert errors_of(result.problems) == []
    assert result.config is not None


def test_a_key_of_another_account_is_a_warning(tmp_path: Path) -> None:
    result = checked(tmp_path, document(encryption={"bucket_kms_key_arn": KEY.replace("123456789012", "210987654321")}))
    assert [(problem.severity, problem.key) for problem in result.problems] == [("warning", "bucket_kms_key_arn")]


def test_an_alarm_that_could_never_go_off_is_a_warning_where_it_takes_nothing_back(tmp_path: Path) -> None:
    result = checked(tmp_path, document(**tail(alarms={"min_requests": 10**8})))
    [problem] = [problem for problem in result.problems if problem.key == "min_requests"]
    assert (problem.severity, problem.table) == ("warning", "tiers.tail.alarms")
    assert "could never go off" in problem.message


def test_a_bake_that_is_too_short_is_a_warning_where_one_instance_serves(tmp_path: Path) -> None:
    guardrail = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}
    result = checked(tmp_path, document(**whale(instances={"min": 1, "initial": 1}, guardrail=guardrail)))
    assert result.config is not None
    assert [p.key for p in result.problems if p.severity == "warning"] == ["termination_wait_in_seconds"]

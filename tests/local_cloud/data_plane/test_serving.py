"""Endpoints served by real model-server processes, through unmodified boto3."""

import itertools
import json
import os
import signal
import threading
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError
from process_state import children, exists, stop, wait_until_gone

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account, error_of
from local_cloud.testing.served_account import ROW, Served, score

_accounts = itertools.count(500000000001)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local emulator whose instances have a twentieth of a percent of an ml.m5.large: 4 MiB for models."""
    directory = tmp_path_factory.mktemp("data-plane")
    with start(directory, serving="models", scale=0.0005, spill_in_flight=2) as running:
        yield running


@pytest.fixture(scope="module")
def shared(cloud: LocalCloud) -> Served:
    """A multi-model endpoint `tail` with models m01 to m03 for tests that leave it as it is."""
    served = Served(Account(cloud, str(next(_accounts))))
    served.publish(m01=1, m02=2, m03=3)
    served.config("tail")
    served.create("tail", "tail")
    return served


@pytest.fixture
def tail(served: Served) -> Served:
    """A multi-model endpoint `tail` of one instance, with models m01 to m03."""
    served.publish(m01=1, m02=2, m03=3)
    served.config("tail")
    served.create("tail", "tail")
    return served


@pytest.fixture
def whale(served: Served) -> Served:
    """A dedicated endpoint `whale` that serves m01, and the configuration `next` that serves m02."""
    served.publish(m01=1, m02=2)
    served.config("whale", "m01.tar.gz")
    served.config("next", "m02.tar.gz")
    served.create("whale", "whale")
    return served


def test_each_model_answers_with_its_own_score(shared: Served) -> None:
    for name, rounds in (("m01", 1), ("m02", 2), ("m03", 3), ("m01", 1)):
        assert shared.score("tail", name) == pytest.approx(score(rounds), rel=1e-6)


def test_headers_pass_both_ways(shared: Served) -> None:
    reply = shared.invoke("tail", "m01", Accept="application/json", CustomAttributes="trace=1", InferenceId="i-1")

    assert reply["ContentType"] == "application/json"
    assert reply["InvokedProductionVariant"] == "AllTraffic"
    assert reply["Body"].read().startswith(b'{"predictions"')
    assert reply["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("endpoint", "model", "request_fields", "code", "complaint"),
    [
        ("tail", None, {}, "ValidationError", "missing a target model header"),
        ("tail", "nobody", {}, "ValidationError", "Failed to download model data(bucket: models-"),
        ("absent", "m01", {}, "ValidationError", "Endpoint absent of account"),
        ("tail", "m01", {"TargetVariant": "Other"}, "ValidationError", "Variant Other not found"),
        ("tail", "m01", {"body": b"x" * 6_291_457}, "ValidationError", "exceeds 6291456 bytes"),
    ],
)
def test_refusals_are_aws_errors(
    shared: Served, endpoint: str, model: str | None, request_fields: dict[str, Any], code: str, complaint: str
) -> None:
    refused = error_of(shared.invoke, endpoint=endpoint, model=model, **request_fields)

    assert refused[0] == code
    assert complaint in refused[1]


def test_a_container_that_refuses_is_a_model_error_with_its_status_and_words(shared: Served) -> None:
    with pytest.raises(shared.runtime.exceptions.ModelError) as raised:
        shared.invoke("tail", "m01", body=b"a,b")

    assert raised.value.response["OriginalStatusCode"] == 400
    assert "not a number" in raised.value.response["OriginalMessage"]
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_what_callers_were_told_is_counted_by_endpoint_and_class(tail: Served) -> None:
    def told() -> dict[str, dict[str, int]]:
        rows = tail.account.cloud.admin("errors")
        return {row["endpoint"]: row["errors"] for row in rows if row["account"] == tail.account.id}

    tail.score("tail", "m01")
    assert told() == {}
    error_of(tail.invoke, endpoint="absent", model="m01")
    for _ in range(2):
        error_of(tail.invoke, endpoint="tail", model="m01", body=b"a,b")
    error_of(tail.invoke, endpoint="tail", model="nobody")

    assert told() == {"absent": {"ValidationError": 1}, "tail": {"ModelError 400": 2, "ValidationError": 1}}


def test_a_damaged_artefact_is_a_model_error_and_leaves_the_others_alone(tail: Served) -> None:
    tail.account.upload("models/damaged.tar.gz", b"no archive")
    tail.score("tail", "m01")

    for _ in range(3):
        assert error_of(tail.invoke, endpoint="tail", model="damaged")[0] == "ModelError"

    assert tail.instances("tail")[0]["loaded_models"] == ["m01.tar.gz"]
    assert tail.counters("tail")["hits"] == 0
    tail.score("tail", "m01")
    assert tail.counters("tail")["hits"] == 1


def test_a_small_memory_evicts_as_an_exact_lru_would(served: Served) -> None:
    """Every model is the same, so the memory is a number of models: after the first refusal, that number is known.

    Six models of 370 rounds fit into the 4 MiB. The number of rounds keeps the sixth and the seventh load away from the
    limits, before and after a refusal, whatever else the server has in memory.
    """
    names = [f"m{n:02d}" for n in range(12)]
    served.publish(**dict.fromkeys(names, 370))
    served.config("tail")
    served.create("tail", "tail")
    order = [names[(n * n + n // 5) % 12] for n in range(100)]
    hits: list[bool] = []
    loaded = 0
    for name in order:
        assert served.score("tail", name) == pytest.approx(score(370), rel=1e-6)
        (instance,) = served.instances("tail")
        hits.append(instance["counters"]["hits"] > sum(hits))
        loaded = max(loaded, len(instance["loaded_models"]))

    expected, cache = [], OrderedDict[str, None]()
    for name in order:
        expected.append(name in cache)
        cache[name] = None
        cache.move_to_end(name)
        if len(cache) > loaded:
            cache.popitem(last=False)
    counters = served.counters("tail")
    assert 2 <= loaded < 12
    assert counters["refusals_for_memory"] > 0
    assert counters["disk_hits"] > 0
    assert hits == expected


def test_concurrent_callers_of_a_cold_model_cause_one_load(tail: Served) -> None:
    with ThreadPoolExecutor(8) as threads:
        scores = list(threads.map(lambda _: tail.score("tail", "m01"), range(16)))

    assert scores == [pytest.approx(score(1), rel=1e-6)] * 16
    assert tail.counters("tail")["loads"] == 1


def test_a_busy_model_spreads_to_the_second_instance(served: Served) -> None:
    served.publish(m01=1, m02=2)
    served.config("tail", instances=2)
    served.create("tail", "tail")
    served.score("tail", "m01")
    served.score("tail", "m02")
    assert sorted(len(row["loaded_models"]) for row in served.instances("tail")) == [1, 1]

    (holder,) = [row["pid"] for row in served.instances("tail") if row["loaded_models"] == ["m01.tar.gz"]]
    stop(holder)  # what it is asked stays under way until it is let go on
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(served.score, "tail", "m01") for _ in range(6)]
        try:
            served.wait_for(lambda: all("m01.tar.gz" in row["loaded_models"] for row in served.instances("tail")))
        finally:
            os.kill(holder, signal.SIGCONT)

    assert [answer.result() for answer in asked] == [pytest.approx(score(1), rel=1e-6)] * 6


def restarted(instance: dict[str, Any], before: int) -> bool:
    return instance["status"] == "InService" and instance["pid"] != before


def test_a_killed_container_comes_back_empty(tail: Served) -> None:
    tail.score("tail", "m01")
    which = {"endpoint": "tail", "instance": tail.instances("tail")[0]["instance"]}
    killed = tail.faults(kill_instance=which)["killed"]
    tail.wait_for(lambda: restarted(tail.instances("tail")[0], killed["pid"]))

    (instance,) = tail.instances("tail")
    assert instance["counters"]["restarts"] == 1
    assert instance["loaded_models"] == instance["disk_models"] == []
    assert tail.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    assert tail.counters("tail")["downloads"] == 2


def test_a_request_on_a_container_that_dies_is_unavailable_and_may_be_tried_again(whale: Served) -> None:
    killed = whale.instances("whale")[0]["pid"]
    stop(killed)  # it will not answer
    errors: list[ClientError] = []

    def ask() -> None:
        try:
            whale.invoke("whale")
        except ClientError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    whale.wait_for(lambda: whale.instances("whale")[0]["in_flight"] == 1)
    os.kill(killed, signal.SIGKILL)
    asking.join()

    whale.wait_for(lambda: restarted(whale.instances("whale")[0], killed))
    assert whale.score("whale") == pytest.approx(score(1), rel=1e-6)
    assert [error.response["Error"]["Code"] for error in errors] == ["ServiceUnavailable"]


def test_an_update_serves_the_old_version_until_the_new_fleet_is_healthy(whale: Served) -> None:
    whale.account.stop_clock()
    whale.sagemaker.update_endpoint(EndpointName="whale", EndpointConfigName="next")
    before = whale.score("whale")
    whale.account.advance(181)
    answers = []

    def settled() -> bool:
        answers.append(whale.score("whale"))
        return bool(whale.describe("whale")["EndpointConfigName"] == "next")

    whale.wait_for(settled)
    after = whale.score("whale")

    assert before == pytest.approx(score(1), rel=1e-6)
    assert after == pytest.approx(score(2), rel=1e-6)
    assert {round(answer, 5) for answer in answers} <= {round(score(1), 5), round(score(2), 5)}
    whale.wait_for(lambda: [row["config"] for row in whale.instances("whale")] == ["next"])


def test_a_request_on_the_old_fleet_is_answered_before_it_ends(whale: Served) -> None:
    old = whale.instances("whale")[0]["pid"]
    stop(old)  # it answers when it is let go on
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(whale.score, "whale")
        whale.wait_for(lambda: whale.instances("whale")[0]["in_flight"] == 1)
        whale.sagemaker.update_endpoint(EndpointName="whale", EndpointConfigName="next")
        whale.wait_for(lambda: whale.describe("whale")["EndpointConfigName"] == "next")
        assert whale.score("whale") == pytest.approx(score(2), rel=1e-6)
        os.kill(old, signal.SIGCONT)

        assert asked.result() == pytest.approx(score(1), rel=1e-6)
    whale.wait_for(lambda: not exists(old))


def test_an_updated_multi_model_endpoint_is_cold(tail: Served) -> None:
    tail.score("tail", "m01")
    tail.config("tail-2", Environment={"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/json"})
    tail.sagemaker.update_endpoint(EndpointName="tail", EndpointConfigName="tail-2")
    tail.wait_for(lambda: tail.describe("tail")["EndpointConfigName"] == "tail-2")
    tail.wait_for(lambda: len(tail.instances("tail")) == 1)

    assert tail.instances("tail")[0]["loaded_models"] == []
    assert tail.invoke("tail", "m01")["ContentType"] == "application/json"  # the container's own environment


def test_a_version_that_never_gets_healthy_is_rolled_back(whale: Served) -> None:
    whale.account.upload("models/broken.tar.gz", b"no archive")
    whale.config("broken", "broken.tar.gz")
    whale.sagemaker.update_endpoint(EndpointName="whale", EndpointConfigName="broken")
    whale.wait_for(lambda: "FailureReason" in whale.describe("whale"))

    settled = whale.settled("whale")
    assert settled["EndpointConfigName"] == "whale"
    assert "did not pass the ping health check" in settled["FailureReason"]
    assert whale.score("whale") == pytest.approx(score(1), rel=1e-6)


def test_a_new_endpoint_that_never_gets_healthy_fails(served: Served) -> None:
    served.account.upload("models/broken.tar.gz", b"no archive")
    served.config("broken", "broken.tar.gz")
    served.sagemaker.create_endpoint(EndpointName="whale", EndpointConfigName="broken")

    settled = served.settled("whale")
    assert settled["EndpointStatus"] == "Failed"
    assert "tar.gz" in settled["FailureReason"]
    served.wait_for(lambda: served.instances("whale") == [])


def test_capacity_adds_instances_and_takes_them_away_with_their_models(tail: Served) -> None:
    def resize(count: int) -> None:
        change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        tail.sagemaker.update_endpoint_weights_and_capacities(EndpointName="tail", DesiredWeightsAndCapacities=change)
        tail.wait_for(lambda: tail.settled("tail")["ProductionVariants"][0]["CurrentInstanceCount"] == count)
        tail.wait_for(lambda: len(tail.instances("tail")) == count)

    tail.score("tail", "m01")
    resize(2)
    tail.score("tail", "m02")
    tail.score("tail", "m03")
    by_instance = [row["loaded_models"] for row in tail.instances("tail")]
    resize(1)

    assert by_instance[0][0] == "m01.tar.gz"
    assert "m02.tar.gz" in by_instance[1]
    assert tail.instances("tail")[0]["loaded_models"] == by_instance[0]
    assert tail.score("tail", "m02") == pytest.approx(score(2), rel=1e-6)


@pytest.mark.parametrize(
    ("faults", "code"),
    [({"s3_failing": True}, "InternalDependencyException"), ({"disk_full": ["tail"]}, "InternalFailure")],
)
def test_a_fault_below_the_instance_fails_cold_models_only(tail: Served, faults: dict[str, Any], code: str) -> None:
    tail.score("tail", "m01")
    tail.faults(**faults)

    assert error_of(tail.invoke, endpoint="tail", model="m02")[0] == code
    assert tail.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    tail.faults()
    assert tail.score("tail", "m02") == pytest.approx(score(2), rel=1e-6)


def test_everything_but_invocations_reaches_ministack_whole(served: Served) -> None:
    body = os.urandom(9_000_000)
    served.account.upload("big", body)
    url = served.account.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": served.account.bucket, "Key": "big"}
    )
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the local emulator's own
        assert answer.read() == body


def test_deletion_ends_the_containers(tail: Served) -> None:
    pid = tail.instances("tail")[0]["pid"]
    tail.sagemaker.delete_endpoint(EndpointName="tail")

    refused = error_of(tail.invoke, endpoint="tail", model="m01")
    tail.wait_for(lambda: not exists(pid))
    assert refused[0] == "ValidationError"
    tail.wait_for(lambda: tail.instances("tail") == [])


@pytest.mark.parametrize(
    "ended", ["the local emulator by SIGKILL", "the local emulator by SIGTERM", "the data plane by SIGKILL"]
)
def test_no_process_is_left(tmp_path: Path, ended: str) -> None:
    with start(tmp_path / "state", serving="models") as cloud:
        served = Served(Account(cloud, "600000000002"))
        served.publish(m01=1)
        served.config("whale", "m01.tar.gz")
        served.create("whale", "whale")
        container = served.instances("whale")[0]["pid"]
        (data_plane,) = parents_of(container) & set(children(cloud.pid))

        victim = data_plane if ended.startswith("the data plane") else cloud.pid
        os.kill(victim, signal.SIGTERM if ended.endswith("SIGTERM") else signal.SIGKILL)
        for pid in (cloud.pid, data_plane, container):
            wait_until_gone(pid)


def parents_of(pid: int) -> set[int]:
    return {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A local emulator that enforces IAM and whose S3 is slower than callers wait, with the endpoint `tail`."""
    account_id, directory = "600000000003", tmp_path_factory.mktemp("guarded")
    with start(
        directory,
        account=account_id,
        enforce_iam=True,
        serving="models",
        s3_first_byte_milliseconds=700,
        max_loading_wait_seconds=0.2,
    ) as cloud:
        served = Served(Account(cloud, account_id))
        served.publish(m01=1, m02=2)
        served.config("tail", role=execution_role(served, "m01*"))
        served.create("tail", "tail")
        yield served


def execution_role(served: Served, keys: str) -> str:
    """A role that may read these keys below `models/`."""
    iam = served.account.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="execution", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    resource = f"arn:aws:s3:::{served.account.bucket}/models/{keys}"
    rights = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource}
    iam.put_role_policy(
        RoleName="execution",
        PolicyName="rights",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [rights]}),
    )
    return str(role["Role"]["Arn"])


def test_artefacts_are_read_with_the_execution_role(guarded: Served) -> None:
    code, message = error_of(guarded.runtime.invoke_endpoint, EndpointName="tail", TargetModel="m02.tar.gz", Body=ROW)
    while code == "ModelNotReadyException":  # S3 is slow here, even to refuse
        code, message = error_of(
            guarded.runtime.invoke_endpoint, EndpointName="tail", TargetModel="m02.tar.gz", Body=ROW
        )

    assert code == "ValidationError"
    assert "key: models/m02.tar.gz" in message


def test_a_load_that_takes_too_long_is_not_ready_and_goes_on(guarded: Served) -> None:
    with pytest.raises(guarded.runtime.exceptions.ModelNotReadyException) as raised:
        guarded.invoke("tail", "m01")
    guarded.wait_for(lambda: guarded.instances("tail")[0]["loaded_models"] == ["m01.tar.gz"])

    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert guarded.score("tail", "m01") == pytest.approx(score(1), rel=1e-6)
    assert guarded.counters("tail")["loads"] == 1


def test_permissions_are_checked_where_they_are_enforced(guarded: Served) -> None:
    iam = guarded.account.client("iam")
    iam.create_user(UserName="caller")
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": "*",
        "Condition": {"StringLike": {"sagemaker:TargetModel": "m01*"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="caller", PolicyName="rights", PolicyDocument=document)
    key = iam.create_access_key(UserName="caller")["AccessKey"]
    caller = guarded.cloud.client("sagemaker-runtime", key["AccessKeyId"], key["SecretAccessKey"])
    request = {"EndpointName": "tail", "Body": ROW, "ContentType": "text/csv"}

    reply = caller.invoke_endpoint(**request, TargetModel="m01.tar.gz")  # boto3 waits for a model that is not ready
    denied = error_of(caller.invoke_endpoint, **request, TargetModel="m02.tar.gz")

    assert float(reply["Body"].read()) == pytest.approx(score(1), rel=1e-6)
    assert denied[0] == "AccessDeniedException"
    assert guarded.counters("tail")["loads"] == 1


@pytest.mark.parametrize(
    "faults",
    [
        {"slow_model_server": [{"milliseconds": 300}]},
        {"slow_model_server": ["tail"], "s3_failing": True},
        {"throttled": [{"endpoint": "tail"}]},
        {"throttled": 3},
        {"failing_model_server": [{"endpoint": "tail", "models": "m02.tar.gz"}]},
        {"kill_instance": {"name": "tail"}},
        {"kill_instance": {"endpoint": "no-such"}},
    ],
)
def test_faults_of_a_wrong_shape_are_refused_and_harm_nothing(shared: Served, faults: dict[str, Any]) -> None:
    with pytest.raises(HTTPError) as refused:
        shared.faults(**faults)
    assert refused.value.code == 400
    assert "faults not set" in json.loads(refused.value.read())["message"]
    assert shared.score("tail", "m02") == pytest.approx(score(2), rel=1e-6)

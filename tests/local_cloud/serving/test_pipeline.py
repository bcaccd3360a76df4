"""Pipelines on real containers: one process a stage, each reply the next one's request."""

import itertools
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud import LocalCloud, start
from local_cloud.data_plane.pipeline import MAX_BYTES_BETWEEN_STAGES
from local_cloud.testing.account import Account
from local_cloud.testing.served_account import IMAGE, ROLE, Served, score
from tierfleet.config.published_metrics import PUBLISHED, PUBLISHED_OF_CONTAINERS
from tierfleet.runtime.hosting import pipeline as hosting

_accounts = itertools.count(530000000001)
STEP = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/step:1"
# Puts its name in front of the body, or fails, or answers with so many bytes; it tells what it was sent.
SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Step(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.answer(200, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        doing = json.loads(os.environ["DOES"])
        if "status" in doing: return self.answer(doing["status"], b"out of order")
        if "bytes" in doing: return self.answer(200, b"x" * doing["bytes"])
        if "writes" in doing: return self.answer(200, doing["writes"].encode(), doing["type"])
        seen = {"body": body.decode(), "type": self.headers["content-type"], "accept": self.headers.get("accept")}
        self.answer(200, json.dumps(seen).encode(), "application/json")
    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Step).serve_forever()
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    directory = tmp_path_factory.mktemp("pipeline")
    server = directory / "step.py"
    server.write_text(SERVER)
    command = f"{shlex.join([sys.executable, str(server)])} {{port}}"
    with start(directory / "cloud", serving="models", image_commands={STEP: command}) as running:
        yield running


@pytest.fixture(scope="module")
def served(cloud: LocalCloud) -> Iterator[Served]:
    cloud.admin("clock", {"mode": "skip"})
    served = Served(Account(cloud, str(next(_accounts))))
    served.publish(one=1, two=2)
    yield served
    served.delete_all()


def step(name: str, **does: Any) -> dict[str, Any]:
    return {"ContainerHostname": name, "Image": STEP, "Environment": {"DOES": json.dumps(does)}}


def scorer(served: Served, key: str = "", **container: Any) -> dict[str, Any]:
    url = f"s3://{served.account.bucket}/models/{key}"
    return {"ContainerHostname": "score", "Image": IMAGE, "ModelDataUrl": url, **container}


def create(served: Served, name: str, *stages: dict[str, Any]) -> None:
    served.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, Containers=stages, InferenceExecutionConfig={"Mode": "Serial"}
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
    variant |= {"InitialInstanceCount": 1}  # type: ignore[dict-item]
    served.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    served.create(name, name)


def failure(served: Served, endpoint: str) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        served.invoke(endpoint, body=b"anything")
    return dict(caught.value.response)


def test_a_request_passes_the_stages_in_order_with_the_content_type_of_each_reply(served: Served) -> None:
    row = {"writes": "0.5,0.5", "type": "text/csv"}
    create(served, "chain", step("features", **row), scorer(served, "one.tar.gz"), step("decision"))
    reply = served.invoke("chain", body=b'{"text": "order"}', Accept="application/json")
    seen = json.loads(reply["Body"].read())
    assert float(seen["body"]) == pytest.approx(score(1))
    assert seen["type"].startswith("text/csv")
    # The caller's Accept is the last stage's alone: what lies between two stages is theirs.
    assert seen["accept"] == "application/json"
    assert reply["ContentType"] == "application/json"
    rows = served.instances("chain")
    assert [each["container"] for each in rows] == ["features", "score", "decision"]
    assert len({each["pid"] for each in rows}) == 3
    assert [each["counters"]["requests"] for each in rows] == [1, 1, 1]


@pytest.mark.parametrize(("place", "status"), [(0, 400), (1, 500)])
def test_the_failure_of_a_stage_is_a_model_error_that_names_it(served: Served, place: int, status: int) -> None:
    stages = [step("first"), step("second"), step("third")]
    stages[place] = step(stages[place]["ContainerHostname"], status=status)
    create(served, f"fails-{place}", *stages)
    error = failure(served, f"fails-{place}")
    name = stages[place]["ContainerHostname"]
    assert (error["Error"]["Code"], error["OriginalStatusCode"]) == ("ModelError", status)
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert f'from {name} with message "out of order"' in error["Error"]["Message"]
    asked = {each["container"]: each["counters"]["requests"] for each in served.instances(f"fails-{place}")}
    assert asked == {"first": 1, "second": 1, "third": 1}, "a request is counted for its whole instance"


def test_5_mb_between_two_stages_pass_and_one_byte_more_fails_with_both_names(served: Served) -> None:
    most = MAX_BYTES_BETWEEN_STAGES
    assert most == hosting.MAX_BYTES_BETWEEN_STAGES
    create(served, "full", step("first", bytes=most), step("second", writes="done", type="text/plain"))
    assert served.invoke("full")["Body"].read() == b"done"
    create(served, "over", step("first", bytes=most + 1), step("second"))
    error = failure(served, "over")
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert f"{most + 1} bytes from first" in error["Error"]["Message"]
    assert "cannot be sent to second" in error["Error"]["Message"]
    # What the last stage answers goes to the caller, and that limit is another one.
    create(served, "last", step("first", writes="1", type="text/csv"), step("second", bytes=most + 1))
    assert len(served.invoke("last")["Body"].read()) == most + 1


def test_one_multi_model_stage_loads_what_each_call_names(served: Served) -> None:
    row = {"writes": "0.5,0.5", "type": "text/csv"}
    create(served, "shared", step("features", **row), scorer(served, Mode="MultiModel"))
    assert served.score("shared", "one") == pytest.approx(score(1))
    assert served.score("shared", "two") == pytest.approx(score(2))
    with pytest.raises(ClientError, match="missing a target model header"):
        served.invoke("shared")
    (loaded,) = [each["loaded_models"] for each in served.instances("shared") if each["container"] == "score"]
    assert sorted(loaded) == ["one.tar.gz", "two.tar.gz"]


def test_each_stage_publishes_its_latency_and_the_variant_their_sum(served: Served, cloud: LocalCloud) -> None:
    row = {"writes": "0.5,0.5", "type": "text/csv"}
    create(served, "timed", step("features", **row), scorer(served, "one.tar.gz"))
    for _ in range(3):
        served.invoke("timed")
    cloud.admin("clock", {"advance_seconds": 120})
    published: dict[str | None, set[str]] = {}
    for page in served.account.client("cloudwatch").get_paginator("list_metrics").paginate():
        for metric in page["Metrics"]:
            dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
            if dimensions.get("EndpointName") == "timed":
                published.setdefault(dimensions.get("ContainerName"), set()).add(metric["MetricName"])
    assert published.keys() == {None, "features", "score"}
    assert published["features"] == published["score"] == set(PUBLISHED_OF_CONTAINERS["pipeline"])
    assert published[None] - {"InvocationModelErrors"} <= set(PUBLISHED["pipeline"])
    assert published[None] >= {"Invocations", "ModelLatency", "CPUUtilization", "MemoryUtilization"}


def test_a_stage_that_ends_takes_its_instance_out_of_service_until_it_is_back(served: Served) -> None:
    create(served, "comes-back", step("first", writes="1", type="text/csv"), step("second"))
    (pid,) = [each["pid"] for each in served.instances("comes-back") if each["container"] == "second"]
    os.kill(pid, signal.SIGKILL)
    served.wait_for(lambda: pid not in [each["pid"] for each in served.instances("comes-back")])
    served.wait_for(lambda: all(each["status"] == "InService" for each in served.instances("comes-back")))
    assert json.loads(served.invoke("comes-back")["Body"].read())["body"] == "1"
    assert {each["container"]: each["counters"]["restarts"] for each in served.instances("comes-back")} == {
        "first": 0,
        "second": 1,
    }

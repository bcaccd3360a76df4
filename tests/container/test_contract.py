"""SageMaker's container contract, spoken to a real process."""

import json
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from running_server import Client, RunningServer
from trained_models import Trained

ROW = b"1,2,3,4,5,6,7,8"
Start = Callable[..., RunningServer]


def test_load_list_describe_invoke_unload(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.ask("GET", "/ping").json == {"status": "Healthy"}
    assert server.load("m1", artefacts["binary"]).status == 200
    described = {"modelName": "m1", "modelUrl": str(artefacts["binary"])}
    assert server.ask("GET", "/models").json == {"models": [described]}
    one = server.ask("GET", "/models/m1").json
    assert described.items() <= one.items()
    assert (one["features"], one["sizeBytes"] > 10_000) == (8, True)
    assert server.invoke("m1", ROW).status == 200
    assert server.unload("m1").status == 200
    for gone in (server.unload("m1"), server.invoke("m1", ROW), server.ask("GET", "/models/m1")):
        assert gone.status == 404
        assert "'m1' is not loaded" in gone.json["message"]


def test_a_second_load_is_a_conflict(server: RunningServer, artefacts: dict[str, Path]) -> None:
    assert server.load("twice", artefacts["binary"]).status == 200
    answer = server.load("twice", artefacts["binary"])
    assert (answer.status, answer.json["type"]) == (409, "Conflict")
    assert server.invoke("twice", ROW).status == 200


def test_loads_of_one_model_at_once_are_one_load(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    request = json.dumps({"model_name": "m", "url": str(artefacts["json"])}).encode()
    head = b"POST /models HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(request)
    sockets = [server.socket() for _ in range(16)]
    for one in sockets:
        one.sendall(head + request)
    statuses = [int(one.recv(4096).split()[1]) for one in sockets]
    for one in sockets:
        one.close()
    assert set(statuses) <= {200, 409}  # 409 for one that came after the load had ended
    assert 200 in statuses
    server.terminate()
    server.wait()
    assert [line["message"] for line in server.log_lines()].count("loaded") == 1


def test_the_list_is_paged_and_stays_whole_while_models_come_and_go(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    names = [f"m{number:02d}" for number in range(25)]
    for name in names:
        assert server.load(name, artefacts["linear"]).status == 200
    seen: list[str] = []
    token = ""
    while True:
        page = server.ask("GET", f"/models?limit=10&next_page_token={token}").json
        seen += [model["modelName"] for model in page["models"]]
        if len(seen) == 10:
            server.unload("m00")  # already listed: the pages after it must not shift
        token = page.get("nextPageToken")
        if token is None:
            break
    assert seen == names
    assert server.ask("GET", "/models?limit=0").status == 400


def test_models_are_named_as_the_platform_likes(server: RunningServer, artefacts: dict[str, Path]) -> None:
    name = "tenant 7/2026-11-01.tar.gz é%"
    assert server.load(name, artefacts["binary"]).status == 200
    assert server.invoke(name, ROW).status == 200
    assert server.unload(name).status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b'{"model_name": "x"}', b'{"model_name": 3, "url": "/tmp"}', b'{"url": "/tmp"}',
     b'{"model_name": "", "url": "/tmp"}', b'{"model_name": "a\\u0000", "url": "/tmp"}',
     b'{"model_name": "a", "url": "/tmp\\u0000x"}', b'{"model_name": "a", "url": "/tmp/\\ud800"}',
     b'{"model_name": "' + b"n" * 2000 + b'", "url": "/tmp"}',
     b"[" * 100_000],
)  # fmt: skip
def test_a_load_request_that_is_none(body: bytes, server: RunningServer) -> None:
    answer = server.ask("POST", "/models", body)
    assert answer.status == 400
    assert "the load request is" in answer.json["message"]


def test_a_model_that_is_not_there(server: RunningServer) -> None:
    answer = server.load("nowhere", "/no/such/model")
    assert (answer.status, answer.json["message"]) == (
        404, "no model at '/no/such/model': No such file or directory"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/invocations", 404), ("PUT", "/models", 405), ("PATCH", "/models/x", 405),
     ("GET", "/models/x/invoke", 405), ("GET", "/models/%ff%00/invoke", 405), ("GET", "/models/", 404)],
)  # fmt: skip
def test_paths_and_methods_that_are_not(method: str, path: str, status: int, server: RunningServer) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.json["code"]) == (status, status)


def test_a_dedicated_endpoint_is_ready_when_its_model_is(start: Start, trained: dict[str, Trained],
                                                        tmp_path: Path) -> None:  # fmt: skip
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "xgboost-model").write_bytes(trained["binary"].saved)
    server = start(TIERFLEET_MODEL_DIRECTORY=str(tmp_path / "model"))
    statuses = [server.ask("GET", "/ping").status]
    while statuses[-1] != 200:
        statuses.append(server.ask("GET", "/ping").status)
    assert set(statuses) <= {503, 200}
    answer = server.ask("POST", "/invocations", ROW, {"content-type": "text/csv"})
    assert answer.status == 200
    assert server.ask("GET", "/models").status == 404
    answer = server.invoke("model", ROW)
    assert (answer.status, "/invocations" in answer.json["message"]) == (404, True)
    server.terminate()
    assert server.wait() == 0


def test_both_modes_reply_with_the_same_bytes(start: Start, artefacts: dict[str, Path]) -> None:
    shared = start(SAGEMAKER_MULTI_MODEL="true")
    shared.load("m", artefacts["multi-class"])
    alone = start(TIERFLEET_MODEL_DIRECTORY=str(artefacts["multi-class"]))
    while alone.ask("GET", "/ping").status != 200:
        pass
    for accept in ("", "*/*", "text/csv", "application/json", "application/jsonlines", "application/x-npy"):
        for body in (ROW, ROW + b"\n" + ROW, b"1,2"):
            headers = {"content-type": "text/csv", "accept": accept}
            assert shared.invoke("m", body, accept=accept) == alone.ask("POST", "/invocations", body, headers)


def test_a_dedicated_endpoint_without_a_servable_model_ends(start: Start, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pkl").write_bytes(b"\x80\x04K\x01.")
    server = start(TIERFLEET_MODEL_DIRECTORY=str(tmp_path / "model"))
    assert server.wait() == 1
    assert "is a pickle, which runs code" in server.log_lines()[-1]["message"]


def test_invocations_go_on_while_models_load(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    server.load("hot", artefacts["binary"])
    ended = threading.Event()
    failures: list[tuple[int, int]] = []

    def load_and_unload() -> None:
        with closing(Client(server.port)) as other:
            for _ in range(60):
                statuses = other.load("cold", artefacts["forest"]).status, other.unload("cold").status
                if statuses != (200, 200):
                    failures.append(statuses)
        ended.set()

    loader = threading.Thread(target=load_and_unload)
    loader.start()
    expected = server.invoke("hot", ROW)
    count = 0
    while not ended.is_set():
        assert server.invoke("hot", ROW) == expected
        count += 1
    loader.join()
    assert not failures
    assert count > 60


def test_logs_are_json_with_model_and_request(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_ACCESS_LOG="true")
    server.load("m", artefacts["binary"])
    headers = {"content-type": "text/csv", "X-Amzn-SageMaker-Inference-Id": "call-7"}
    server.ask("POST", "/models/m/invoke", b"1,2", headers)
    server.terminate()
    server.wait()
    assert len(server.log.read_text().splitlines()) == len(server.log_lines())
    refused = [line for line in server.log_lines() if line["level"] == "WARNING"]
    assert [(line["model"], line["request_id"], line["status"]) for line in refused] == [("m", "call-7", 400)]
    invoked = [line for line in server.log_lines() if line["message"] == "invoked"]
    assert [(line["model"], line["request_id"], line["status"]) for line in invoked] == [("m", "call-7", 400)]


def test_the_log_names_the_model_that_did_not_load(start: Start, tmp_path: Path) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    (tmp_path / "bad").write_bytes(b"{")
    assert server.load("m7", tmp_path / "bad").status == 400
    server.terminate()
    server.wait()
    [line] = [line for line in server.log_lines() if line["level"] == "WARNING"]
    assert (line["model"], line["url"], line["status"]) == ("m7", str(tmp_path / "bad"), 400)


def test_a_dedicated_endpoint_stops_while_its_model_loads(tmp_path: Path) -> None:
    slow = "m.load_model = lambda url, admitted, prepare: time.sleep(60); os._exit(m.main())"
    command = [sys.executable, "-c", f"import os, time, tierfleet_server.__main__ as m; {slow}"]
    (tmp_path / "model").write_bytes(b"{L")
    environment = {"TIERFLEET_MODEL_DIRECTORY": str(tmp_path / "model"), "TIERFLEET_DRAIN_SECONDS": "1"}
    server = RunningServer(environment, tmp_path / "log", command=command)
    try:
        assert server.ask("GET", "/ping").status == 503
        server.terminate()
        assert server.wait(20) == 0
    finally:
        server.close()


def test_metrics_count_what_happened(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true", TIERFLEET_MEMORY_BUDGET_MIB="64")
    server.load("a", artefacts["binary"])
    server.load("b", artefacts["binary"])
    server.load("a", artefacts["binary"])
    server.unload("b")
    for body in (ROW, ROW, b"x"):
        server.invoke("a", body)
    assert server.metric("models") == 1
    assert server.metric("memory_budget_bytes") == 64 * 1024 * 1024
    assert 0 < server.metric("memory_used_bytes") < 8 * 1024 * 1024
    assert server.metric('loads_total{status="200"}') == 2
    assert server.metric('loads_total{status="409"}') == 1
    assert server.metric("unloads_total") == 1
    assert server.metric('invocations_total{status="200"}') == 2
    assert server.metric('invocations_total{status="400"}') == 1
    assert server.metric("invocation_seconds_count") == 3

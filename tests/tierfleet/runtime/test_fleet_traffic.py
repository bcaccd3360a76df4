"""The benches' traffic: what its processes send, and that its summary hides no failed and no wrong call."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import ENVIRONMENT, FLEET, REGION, SHARED, WHALES_VERSION, FakeAws, route_document, score, serving, whale

from benchmarks.traffic.summary import Expected, Summary, Versions, summarise
from benchmarks.traffic.traffic import Client, Plan, Tenant, next_boto3_python, node, start, this_python

ROOT = Path(__file__).parents[3]

ROWS = ("0.5,2", "1,1\n2,2")
ADDS = {"v1": 0.0, "v2": 100.0, WHALES_VERSION: 0.0}
TENANTS = ("m01", "m07", "m37")


def predictions(tenant: str, body: str, adds: float = 0.0) -> tuple[float, ...]:
    return tuple(score(tenant, row) + adds for row in body.split("\n"))


def tenant(name: str, weight: float) -> Tenant:
    expected = {version: tuple(predictions(name, body, adds) for body in ROWS) for version, adds in ADDS.items()}
    return Tenant(name=name, weight=weight, bodies=ROWS, versions=("v1", WHALES_VERSION), expected=expected)


def plan(rate: float) -> Plan:
    return Plan(
        fleet=FLEET,
        environment=ENVIRONMENT,
        region=REGION,
        requests_per_second=rate,
        call_deadline_seconds=60,
        tenants=tuple(map(tenant, TENANTS, (3, 1, 1))),
    )


def installed_clients() -> list[Client]:
    clients = [this_python()]
    for find in (next_boto3_python, node):
        try:
            clients.append(find())
        except FileNotFoundError:
            continue
    return clients


@pytest.fixture
def aws() -> FakeAws:
    aws = FakeAws()
    aws.version_adds.update(ADDS)
    return aws


@pytest.fixture
def environment(aws: FakeAws) -> Iterator[dict[str, str]]:
    with serving(aws) as url:
        yield {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def until_called(aws: FakeAws, more: int) -> None:
    wanted, give_up = aws.count("InvokeEndpoint") + more, time.monotonic() + 60
    while aws.count("InvokeEndpoint") < wanted:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_every_client_calls_through_a_move_and_a_new_version(
    aws: FakeAws, environment: dict[str, str], tmp_path: Path
) -> None:
    clients = installed_clients()
    with start(plan(120), clients=clients, directory=tmp_path, environment=environment) as running:
        until_called(aws, 60)
        running.phase("promote m07, publish m37")
        running.versions("m37", "v1", "v2")
        with aws.lock:
            aws.endpoints = {SHARED, whale("m01"), whale("m07")}
            aws.routes = route_document(whales=("m01", "m07"))
            aws.versions["m37"] = "v2"
            aws.missing_archives.add("m37/v1.tar.gz")
        until_called(aws, 60)
        running.phase("three failures")
        failure = {"OriginalStatusCode": 500, "OriginalMessage": "boom"}
        aws.fail(SHARED, "ModelError", "boom", status=424, times=3, **failure)
        until_called(aws, 60)
        summary = running.stop()
    assert set(summary.clients) == {client.name for client in clients}
    assert all(part.calls > 0 for part in summary.clients.values())
    assert (summary.all.failed, summary.all.wrong, summary.misnamed) == (3, 0, 0), summary.examples
    assert [phase.name for phase in summary.phases] == ["start", "promote m07, publish m37", "three failures"]
    # A call belongs to the phase in which it was due, which may be over when it is answered.
    assert sum(phase.all.failed for phase in summary.phases) == 3
    assert summary.phase("three failures").all.calls > 0
    assert {example["error"].partition(":")[0] for example in summary.examples} <= {"ModelFailedError", "ModelError"}
    assert set(summary.tiers) == {"whale", "tail", "none"}
    assert summary.all.calls == sum(len(file.read_text().splitlines()) - 1 for file in tmp_path.glob("*.jsonl"))
    json.dumps(summary.to_json())


def test_another_models_reply_is_wrong(aws: FakeAws, environment: dict[str, str], tmp_path: Path) -> None:
    aws.version_adds["v1"] = 0.001
    with start(plan(200), clients=[this_python()], directory=tmp_path, environment=environment) as running:
        until_called(aws, 40)
        summary = running.stop()
    assert summary.tiers["whale"].wrong == 0
    assert summary.tiers["tail"].wrong == summary.tiers["tail"].calls > 0
    assert summary.all.failed == 0


def test_a_client_that_cannot_start_or_dies_is_an_error(
    aws: FakeAws, environment: dict[str, str], tmp_path: Path
) -> None:
    broken = Client("broken", "python", Path("/bin/false"))
    with pytest.raises(RuntimeError, match="client broken is not ready"):
        start(plan(10), clients=[broken], directory=tmp_path, environment=environment)
    with start(plan(100), clients=[this_python()], directory=tmp_path, environment=environment) as running:
        until_called(aws, 5)
        [process] = running._processes.values()
        process.kill()
        process.wait()
        assert running.died() == ["python"]
        with pytest.raises(RuntimeError, match="python ended with -9"):
            running.stop()


VERSIONS = st.sampled_from(["v1", "v2"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "due": st.floats(0, 100),
            "tenant": st.sampled_from(["a", "b"]),
            "latency_seconds": st.floats(0, 5),
            "made_by": VERSIONS,
            "failed": st.booleans(),
            "tier": st.sampled_from(["tail", "whale"]),
        }
    ),
    max_size=30,
)
CHANGES = st.lists(st.tuples(st.floats(0, 110), st.sampled_from(["a", "b"]), st.sets(VERSIONS)), max_size=6)
PHASES = st.lists(st.floats(0.01, 99), max_size=4, unique=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(records=RECORDS, changes=CHANGES, phases=PHASES)
def test_each_call_counts_once_and_is_right_if_its_version_was_at_any_moment_of_it(
    tmp_path: Path,
    records: list[dict[str, Any]],
    changes: list[tuple[float, str, set[str]]],
    phases: list[float],
) -> None:
    file = tmp_path / "one.jsonl"
    made = {"v1": [1.0], "v2": [2.0]}
    lines = [
        {k: v for k, v in record.items() if k not in {"made_by", "failed"}}
        | {"body": 0, "late_seconds": 0.0}
        | ({"error": "X: y"} if record["failed"] else {"predictions": made[record["made_by"]], "version": None})
        for record in records
    ]
    end = {"counts": {"RouteErrors": 1}, "sent": len(lines)}
    file.write_text("\n".join(map(json.dumps, [*lines, end])))
    expected = [Expected(name, {version: ((score[0],),) for version, score in made.items()}) for name in "ab"]
    at_first = [Versions(0.0, name, frozenset({"v1"})) for name in "ab"]
    timeline = at_first + [Versions(since, name, frozenset(right)) for since, name, right in changes]
    summary = summarise(
        {"one": file},
        expected=expected,
        versions=timeline,
        phases=[(0.0, "start"), *((moment, f"{moment}") for moment in sorted(phases))],
        ended=100.0,
        tolerance=1e-9,
    )
    wrong = sum(not record["failed"] and not was_right(record, timeline) for record in records)
    failed = sum(record["failed"] for record in records)
    assert (summary.all.calls, summary.all.failed, summary.all.wrong) == (len(records), failed, wrong)
    for stretches in (summary.phases, summary.windows):
        assert sum(stretch.all.calls for stretch in stretches) == len(records)
        assert sum(stretch.all.wrong for stretch in stretches) == wrong
        assert sum(part.failed for stretch in stretches for part in stretch.tiers.values()) == failed
    assert (summary.route_errors, summary.route_fallbacks) == (1, 0)


def was_right(record: dict[str, Any], timeline: list[Versions]) -> bool:
    """By asking at every moment at which anything changes."""
    began, ended = record["due"], record["due"] + record["latency_seconds"]
    moments = [began, *(change.since for change in timeline if began < change.since <= ended)]
    for moment in moments:
        so_far = [change for change in timeline if change.tenant == record["tenant"] and change.since <= moment]
        newest = max(change.since for change in so_far)
        if record["made_by"] in [change for change in so_far if change.since == newest][-1].right:
            return True
    return False


def test_a_lost_record_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"counts": {}, "sent": 1}))
    with pytest.raises(ValueError, match="holds 0 of 1 calls"):
        summarise({"one": file}, expected=[], versions=[], phases=[(0.0, "start")], ended=1.0, tolerance=0)


def test_an_empty_run_has_a_summary(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"counts": {}, "sent": 0}))
    summary: Summary = summarise(
        {"one": file}, expected=[], versions=[], phases=[(0.0, "start")], ended=0.0, tolerance=0
    )
    assert (summary.all.calls, summary.all.p99_milliseconds) == (0, None)

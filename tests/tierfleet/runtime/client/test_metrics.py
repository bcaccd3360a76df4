"""What a caller publishes: the fleet's counts, the busiest tenants by name, the others together."""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import ACCOUNT, ENVIRONMENT, FLEET, Clock, FakeAws, whale

from tierfleet.runtime import metrics
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import CallError
from tierfleet.runtime.client.metrics import NAMES_KEPT_SECONDS, OTHER_TENANTS, CallMetrics, default_emit


class Lines:
    """Takes metric lines and adds them up as CloudWatch would."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []

    def __call__(self, line: str) -> None:
        assert "\n" not in line
        self.documents.append(json.loads(line))

    def total(self, metric: str, **dimensions: str) -> float:
        """Sum of a metric under exactly these dimensions."""
        total = 0.0
        for document in self.documents:
            directive = document["_aws"]["CloudWatchMetrics"][0]
            assert directive["Namespace"] == "tierfleet"
            own = [{name: document[name] for name in names} for names in directive["Dimensions"]]
            if dimensions in own and metric in {entry["Name"] for entry in directive["Metrics"]}:
                value = document[metric]
                total += sum(value) if isinstance(value, list) else value
        return total

    @property
    def tenants(self) -> set[str]:
        return {document["Tenant"] for document in self.documents if "Tenant" in document}


FLEET_DIMENSIONS = {"Fleet": FLEET, "Environment": ENVIRONMENT}


@pytest.mark.usefixtures("url")
def test_a_gone_endpoint_counts_under_the_dimensions_the_alarm_reads(aws: FakeAws, boto_session: Any) -> None:
    lines = Lines()
    with FleetClient(FLEET, ENVIRONMENT, account=ACCOUNT, session=boto_session, emit=lines) as fleet:
        fleet.invoke("m01", b"1")
        aws.endpoints.remove(whale("m01"))
        for _ in range(3):
            assert fleet.invoke("m01", b"1").fell_back
        aws.fail("fraud--prod--tail--all--mme-m5-xlarge", "ValidationError", "no")
        with pytest.raises(CallError):
            fleet.invoke("m37", b"1")
    assert lines.total(metrics.ROUTE_ERRORS, **FLEET_DIMENSIONS) == 3
    assert lines.total(metrics.ROUTE_FALLBACK, **FLEET_DIMENSIONS) == 3
    assert lines.total(metrics.CALLS, **FLEET_DIMENSIONS) == 5
    assert lines.total(metrics.CALLS, **FLEET_DIMENSIONS, Tenant="m01") == 4
    assert lines.total(metrics.CALL_ERRORS, **FLEET_DIMENSIONS, Tenant="m37") == 1
    assert lines.total(metrics.CALL_LATENCY, **FLEET_DIMENSIONS) > 0


def test_the_alarms_metric_is_the_one_published() -> None:
    # Not at the top: a machine with boto3 alone runs all other tests of the runtime.
    pytest.importorskip("aws_cdk")
    from constructs_lib.metric import fleet_metric
    from tierfleet.config import load_all

    config = load_all(Path(__file__).parents[4] / "config")[0]
    lines = Lines()
    collected = CallMetrics(lines, fleet=config.fleet, environment=config.environment, named_tenants=1)
    collected.route(metrics.ROUTE_ERRORS)
    collected.close()
    alarm = fleet_metric(config, metrics.ROUTE_ERRORS)
    assert alarm.namespace == metrics.NAMESPACE
    assert lines.total(alarm.name, **dict(alarm.dimensions)) == 1


@given(st.lists(st.sampled_from([f"m{number:02}" for number in range(30)]), max_size=400), st.integers(0, 5))
def test_no_call_is_dropped_and_no_more_tenants_named_than_allowed(tenants: list[str], named: int) -> None:
    lines = Lines()
    collected = CallMetrics(lines, fleet=FLEET, environment=ENVIRONMENT, named_tenants=named, clock=Clock())
    for number, tenant in enumerate(tenants):
        collected.call(tenant, 0.001, answered=True)
        if number % 50 == 49:
            collected.flush()
    collected.close()
    assert lines.total(metrics.CALLS, **FLEET_DIMENSIONS) == len(tenants)
    by_tenant = sum(lines.total(metrics.CALLS, **FLEET_DIMENSIONS, Tenant=tenant) for tenant in lines.tenants)
    assert by_tenant == len(tenants)
    assert len(lines.tenants - {OTHER_TENANTS}) <= named
    longest = max((len(document.get(metrics.CALL_LATENCY, [])) for document in lines.documents), default=0)
    assert longest <= metrics.MOST_VALUES


def test_every_hour_the_busiest_of_the_last_one_are_named() -> None:
    lines, clock = Lines(), Clock()
    collected = CallMetrics(lines, fleet=FLEET, environment=ENVIRONMENT, named_tenants=1, clock=clock)
    collected.call("m01", 0.001, answered=True)
    collected.flush()
    for _ in range(3):
        collected.call("m02", 0.001, answered=True)
    collected.flush()
    assert lines.tenants == {"m01", OTHER_TENANTS}
    clock.now += NAMES_KEPT_SECONDS
    collected.call("m02", 0.001, answered=True)
    collected.close()
    assert lines.documents[-1]["Tenant"] == "m02"


def test_a_line_that_cannot_be_written_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(line: str) -> None:
        raise OSError("no space left")

    collected = CallMetrics(broken, fleet=FLEET, environment=ENVIRONMENT, named_tenants=1)
    collected.call("m01", 0.001, answered=True)
    collected.close()
    assert "no space left" in caplog.text


def test_a_slow_writer_never_blocks_a_caller() -> None:
    release, writing = threading.Event(), threading.Event()
    written = Counter[str]()

    def slow(line: str) -> None:
        writing.set()
        release.wait(60)
        written["lines"] += 1

    collected = CallMetrics(slow, fleet=FLEET, environment=ENVIRONMENT, named_tenants=1)
    collected.call("m01", 0.001, answered=True)
    flusher = threading.Thread(target=collected.flush)
    flusher.start()
    assert writing.wait(60)
    collected.call("m01", 0.001, answered=True)
    collected.route(metrics.ROUTE_ERRORS)
    release.set()
    flusher.join()
    collected.close()
    assert written["lines"] >= 4


def test_metrics_are_on_in_a_function_and_off_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    assert default_emit() is None
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "scorer")
    emit = default_emit()
    assert emit is not None
    emit("{}")
    assert capsys.readouterr().out == "{}\n"


def test_switched_off_it_keeps_nothing_and_starts_no_thread() -> None:
    collected = CallMetrics(None, fleet=FLEET, environment=ENVIRONMENT, named_tenants=1)
    collected.call("m01", 0.001, answered=True)
    collected.route(metrics.ROUTE_ERRORS)
    assert (len(collected._calls), collected._thread) == (0, None)
    collected.close()

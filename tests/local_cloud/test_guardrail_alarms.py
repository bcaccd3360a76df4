"""Any guardrail that `config check` accepts takes a bad version back in time, with AWS's delay of metrics.

The alarms are our template's, evaluated by the local emulator; traffic moves as the local emulator's timetable says.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import NOON, enter, metrics_at_noon
from synthesis import AUDIENCE, alarm, template_of

from constructs_lib.alarms import add_alarms
from constructs_lib.endpoint_alarms import dedicated_rollback_alarms
from constructs_lib.endpoint_metrics import EndpointMetrics
from constructs_lib.endpoint_parts import deployment_config
from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import alarm_evaluation, metric_alarms, store
from local_cloud.services.sagemaker import traffic_shift
from local_cloud.testing.fleets import checked, document, fleet
from tierfleet.config import DedicatedTier
from tierfleet.config.guardrail_time import BAKE_SECONDS, METRIC_DELAY_SECONDS

WHALE = "shop--test--whale--w1--dedicated-m5-large"
DIMENSIONS = {"EndpointName": WHALE, "VariantName": "AllTraffic"}
SLOT = store.SLOT_SECONDS
FAST_MICROSECONDS, CALLS_OF_A_SLOT = 1_000.0, 100


@pytest.fixture(scope="module")
def alarms() -> dict[str, dict[str, Any]]:
    """The two rollback alarms of the small fleet's whale, as synthesised."""
    config = fleet()
    tier = config.dedicated_tiers["whale"]

    def build(stack: Any) -> None:
        metrics = EndpointMetrics(WHALE, "dedicated")
        add_alarms(stack, dedicated_rollback_alarms(metrics, tier.alarms), AUDIENCE)

    template: Template = template_of(config, build)
    return {name: dict(alarm(template, section=name)) for name in ("server-errors", "model-latency")}


@pytest.fixture(scope="module", autouse=True)
def delayed() -> Iterator[None]:
    with metrics_at_noon():
        alarm_evaluation.metric_delay_seconds = METRIC_DELAY_SECONDS
        yield
        alarm_evaluation.metric_delay_seconds = 0.0


def for_limits(alarms: dict[str, dict[str, Any]], name: str, tier: DedicatedTier) -> dict[str, Any]:
    """The synthesised alarm with another tier's limits in it."""
    properties = copy.deepcopy(alarms[name])
    if name == "model-latency":
        properties["Threshold"] = tier.alarms.max_model_latency_p99_milliseconds * 1000
        return properties
    [query] = [query for query in properties["Metrics"] if "Expression" in query]
    query["Expression"], changed = re.subn(r">= \S+,", f">= {tier.alarms.min_requests / 5:.12g},", query["Expression"])
    assert changed == 1
    properties["Threshold"] = tier.alarms.max_5xx_ratio
    return properties


def timetable(tier: DedicatedTier, instances: int, second: int = 0) -> tuple[traffic_shift.Step, ...]:
    """As the template asks for it, from this second after NOON on."""
    guardrail = tier.guardrail
    shift = guardrail.shift(tier.fewest_instances)
    policy = deployment_config(guardrail, shift, []).blue_green_update_policy
    routing = policy.traffic_routing_configuration

    def size(given: Any) -> dict[str, Any]:
        return {"Type": given.type, "Value": int(given.value)}

    return traffic_shift.timetable(
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": routing.type,
                    "WaitIntervalInSeconds": routing.wait_interval_in_seconds,
                    **({"CanarySize": size(routing.canary_size)} if routing.canary_size else {}),
                    **({"LinearStepSize": size(routing.linear_step_size)} if routing.linear_step_size else {}),
                },
                "TerminationWaitInSeconds": policy.termination_wait_in_seconds,
            }
        },
        NOON + second,
        instances,
    )


def share(steps: tuple[traffic_shift.Step, ...], moment: float) -> float:
    return next((step.new_fleet_traffic_percent / 100 for step in steps if moment < step.ends_at), 1.0)


def put(name: str, start: float, values: list[float]) -> None:
    store.put("AWS/SageMaker", name, DIMENSIONS, "None", start=start, seconds=SLOT, values=values, percentiles=True)


def observe(steps: tuple[traffic_shift.Step, ...], start: float, calls: float, slow_microseconds: float) -> None:
    """What ten seconds of calls become, where the new fleet fails each of its calls, and answers each slowly."""
    bad = sum(share(steps, start + second + 0.5) for second in range(SLOT)) / SLOT
    put("Invocations", start, [calls])
    put("Invocation5XXErrors", start, [calls * bad])
    slow = round(CALLS_OF_A_SLOT * bad)
    put("ModelLatency", start, [slow_microseconds] * slow + [FAST_MICROSECONDS] * (CALLS_OF_A_SLOT - slow))


def gone_off_at(
    name: str, properties: dict[str, Any], steps: tuple[traffic_shift.Step, ...], *, phase: float, calls: float
) -> float | None:
    """The moment at which the alarm goes off, if it does before the old fleet is gone."""
    store.cloudwatch.reset()
    enter()
    metric_alarms.put(properties["AlarmName"], properties)
    made = store.cloudwatch._alarms[properties["AlarmName"]]
    slow = 2 * float(properties["Threshold"]) if name == "model-latency" else FAST_MICROSECONDS
    moved = steps[0].ends_at
    now = (moved // 60 - 6) * 60
    while now <= steps[-1].ends_at:
        observe(steps, now, calls, slow)
        now += SLOT
        clock._stopped_at = now
        if now % 60 == phase:  # an alarm is evaluated once a minute
            alarm_evaluation.evaluate(made)
            if made["StateValue"] == "ALARM":
                assert now > moved, "before any traffic moved"
                return now
    return None


# One second short and long enough, and what fleet files say; refused ones are a minority.
waits = st.sampled_from([BAKE_SECONDS, BAKE_SECONDS + 1, BAKE_SECONDS + 47, 600, 900, BAKE_SECONDS - 1, 60])
whales = st.fixed_dictionaries(
    {
        "instances": st.tuples(st.sampled_from([2, 4, 6, 1]), st.integers(0, 12)).map(
            lambda pair: {"min": pair[0], "initial": pair[0], "max": pair[0] + pair[1]}
        ),
        "alarms": st.fixed_dictionaries(
            {
                "max_model_latency_p99_milliseconds": st.sampled_from([2, 50, 5000]),
                "max_5xx_ratio": st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.1, 0.24, 0.25, 0.5, 0.9]),
                "min_requests": st.sampled_from([1, 7, 100, 10_000, 400_000]),
            }
        ),
        "guardrail": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["CANARY", "LINEAR", "ALL_AT_ONCE"]),
                "canary_instances": st.sampled_from([1, 2, 3]),
                "linear_step_percent": st.integers(10, 50),
                "wait_interval_in_seconds": waits,
                "termination_wait_in_seconds": waits,
                "maximum_execution_timeout_in_seconds": st.sampled_from([28_800, 3600]),
            }
        ),
    }
)


def test_every_guardrail_that_is_accepted_takes_a_bad_version_back_in_time(
    alarms: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    outcomes = Counter[str]()

    @given(data=st.data())
    @settings(max_examples=400)
    def sweep(data: st.DataObject) -> None:
        outcomes.update(_outcomes(alarms, tmp_path, data))

    sweep()
    # Of each kind some were accepted, so that the sweep says something.
    assert min(outcomes[kind] for kind in ("ALL_AT_ONCE", "CANARY", "LINEAR", "refused")) >= 10, outcomes


def _outcomes(alarms: dict[str, dict[str, Any]], directory: Path, data: st.DataObject) -> list[str]:
    """The shift of an accepted guardrail, once both alarms have gone off in time; "refused" for any other."""
    whale = data.draw(whales)
    file_checked = checked(directory, document(tiers={"whale": whale}))
    about = [
        p
        for p in file_checked.problems
        if "guardrail" in str(p) or "5XX alarm" in str(p) or "rollback alarms" in str(p)
    ]
    if file_checked.config is None or about:
        return ["refused"]
    tier = file_checked.config.dedicated_tiers["whale"]
    instances = data.draw(st.integers(tier.fewest_instances, tier.most_instances))
    phase = data.draw(st.sampled_from(range(0, 60, SLOT)))
    steps = timetable(tier, instances, second=data.draw(st.integers(0, 59)))
    # The fewest that the alarm evaluates; check refuses a limit that the instances could never reach.
    calls = ceil(tier.alarms.min_requests / 5) * SLOT / 60 * (1 + 1e-9)
    all_traffic = next(step.ends_at for step in steps if share(steps, step.ends_at) == 1.0)
    for name in alarms:
        at = gone_off_at(name, for_limits(alarms, name, tier), steps, phase=phase, calls=calls)
        assert at is not None, f"{name} never went off: {steps}"
        if tier.guardrail.type != "ALL_AT_ONCE":
            assert at <= all_traffic, f"{name} went off {at - all_traffic:g} s after all traffic had moved: {steps}"
    return [str(tier.guardrail.type)]


def whale(**guardrail: Any) -> DedicatedTier:
    config = fleet(tiers={"whale": {"guardrail": guardrail}})
    return config.dedicated_tiers["whale"]


@pytest.mark.parametrize("kind", ["CANARY", "LINEAR", "ALL_AT_ONCE"])
@pytest.mark.parametrize("name", ["server-errors", "model-latency"])
def test_the_default_guardrail_goes_off_within_its_first_bake(
    alarms: dict[str, dict[str, Any]], kind: str, name: str
) -> None:
    for second in (0, 31):
        steps = timetable(whale(type=kind), instances=2, second=second)
        moments = [gone_off_at(name, alarms[name], steps, phase=phase, calls=100.0) for phase in (0, 50)]
        assert all(at is not None and steps[0].ends_at < at <= steps[1].ends_at for at in moments), moments


def test_what_was_shipped_first_let_a_bad_version_have_all_traffic(alarms: dict[str, dict[str, Any]]) -> None:
    """Five bad minutes of five, and a canary of 300 s: the simulation sees the fault that it is there to see."""
    steps = tuple(
        traffic_shift.Step(NOON + 180 + wait, percent) for wait, percent in ((0, 0), (300, 50), (420, 100), (3000, 100))
    )
    shipped = {**alarms["server-errors"], "DatapointsToAlarm": 5}
    at = gone_off_at("server-errors", shipped, steps, phase=0, calls=100.0)
    assert at is not None
    assert at > steps[1].ends_at

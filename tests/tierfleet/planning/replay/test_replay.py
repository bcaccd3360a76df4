"""A trace served again on a fleet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import MIB, requests_of
from workloads import PROFILES

from benchmarks.planner_truth.simulation import Machine, simulate
from local_cloud.testing.fleets import fleet, serverless_tier
from tierfleet.config import FleetConfig
from tierfleet.errors import InputError
from tierfleet.instance_types import describe
from tierfleet.planning.profiles.latency import Network, load_steps
from tierfleet.planning.replay.endpoints import Settings
from tierfleet.planning.replay.outcome import Replay
from tierfleet.planning.replay.replay import replay
from tierfleet.planning.replay.shared_tier import _Homes
from tierfleet.planning.replay.text import replay_text
from tierfleet.planning.replay.trace_source import read_calls
from tierfleet.planning.search.requirements import Requirements
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.trace import Reading
from tierfleet.planning.traffic.trace_columns import Columns

# Monday, 2 November 2026, 00:00 UTC.
_MONDAY = 1_793_577_600.0
_STOCK = PROFILES["stock"]


def _fleet(**tail: Any) -> FleetConfig:
    config = fleet()
    tiers = dict(config.tiers)
    tiers["tail"] = tiers["tail"].model_copy(update={"scale_on_cache": None, "warm_up": None, **tail})
    return config.model_copy(update={"tiers": tiers})


def _zipf(tenants: int, calls: int, days: float) -> Requests:
    random = np.random.default_rng(8)
    popularity = np.arange(1, tenants + 1) ** -0.9
    who = random.choice(tenants, calls, p=popularity / popularity.sum())
    return requests_of(who.tolist(), (_MONDAY + np.sort(days * 86_400 * random.random(calls))).tolist(), count=tenants)


def _replayed(config: FleetConfig, requests: Requests, model_mb: float = 40.0, **more: Any) -> Replay:
    settings = Settings(
        source="a test",
        profile=_STOCK,
        requirements=Requirements(cold_p95_seconds=4.0),
        counted_from_seconds=more.pop("counted_from", 0.0),
    )
    return replay(config, requests, np.full(len(requests.tenants), model_mb), settings, **more)


def test_what_is_counted_by_hour_by_tenant_and_in_all_is_the_same_and_what_a_plain_simulation_finds() -> None:
    requests = _zipf(300, 12_000, 2)
    [tail] = _replayed(_fleet(), requests).endpoints
    served = tail.served
    assert served.calls == 12_000
    for parts in (tail.hours, tail.tenants):
        for name in ("calls", "in_memory", "waited_for_running_load", "from_disk", "from_s3"):
            assert sum(getattr(part.served, name) for part in parts) == getattr(served, name)
        assert sum(part.served.outside for part in parts) == pytest.approx(served.outside)
    assert max(hour.served.longest_wait_seconds for hour in tail.hours) == served.longest_wait_seconds
    assert tail.instances == (("2026-11-02T00:00:00+00:00", 2),)
    assert tail.instance_hours == pytest.approx(2 * 48, abs=0.1)
    steps = load_steps(_STOCK, np.full(300, 40.0), vcpus=4, network=Network())
    machine = Machine(
        memory_bytes=int(_STOCK.model_memory_mib(16) * MIB),
        disk_bytes=0,
        places=4,
        load=lambda who: float(steps.load[who]),
        from_disk=lambda who: float(steps.from_disk[who]),
        from_s3=lambda who: float(np.median(steps.first_byte) + steps.fetch[who] + steps.extract[who]),
    )
    sizes = [int(_STOCK.resident_mib(40.0) * MIB)] * 300
    calls = zip(requests.tenant.tolist(), requests.seconds.tolist(), strict=True)
    plain = simulate(calls, _Homes(300, 6).of(2).tolist(), machine, sizes, sizes)
    assert describe("ml.m5.xlarge").vcpus == 4
    in_memory = sum(call.outcome == "warm" for call in plain)
    # Draws for S3 differ, so a few calls meet a running load in one of the two only.
    assert served.in_memory == pytest.approx(in_memory, abs=20)


def test_tenants_go_to_the_tiers_of_the_file() -> None:
    requests = replace(_zipf(3, 3_000, 1), tenants=("t0001", "t0002", "w1"))
    outcome = _replayed(_fleet(), requests)
    tail, whale = outcome.endpoints
    assert [tenant.tenant for tenant in tail.tenants] == ["t0001", "t0002"]
    assert (whale.tier, whale.tenant, whale.served.hit_ratio) == ("whale", "w1", 1.0)
    assert tail.served.calls + whale.served.calls == outcome.calls == 3_000
    assert sum(hour.served.calls for hour in whale.hours) == whale.served.calls


def test_only_the_tenants_that_must_move_when_an_instance_comes() -> None:
    homes = _Homes(2_000, 8)
    before, after = homes.of(4), homes.of(5)
    moved = before != after
    assert set(after[moved].tolist()) == {4}
    assert moved.mean() == pytest.approx(1 / 5, abs=0.03)


def test_many_calls_bring_instances_and_those_begin_empty() -> None:
    calls = 200_000
    seconds = _MONDAY + np.arange(calls) * (3600 / calls)
    requests = requests_of((np.arange(calls) % 50).tolist(), seconds.tolist(), count=50)
    [tail] = _replayed(_fleet(), requests).endpoints
    assert [count for _, count in tail.instances] == [2, 3]
    # A third of the 50 models moves to the third instance and is loaded there.
    assert 55 <= tail.served.from_s3 <= 80
    assert tail.hours[0].instances == pytest.approx(3 - 8 / 60, abs=0.04)


def test_a_warm_up_loads_models_ahead_of_their_callers_and_is_not_counted() -> None:
    tenants = [f"t{number:04}" for number in range(40)]
    seconds = [_MONDAY, *(_MONDAY + 9 * 3600 + number for number in range(40))]
    requests = requests_of([0, *range(40)], seconds, count=40)
    cold = _replayed(_fleet(), requests).endpoints[0].served
    warm_up = fleet().multi_model_tiers["tail"].warm_up
    assert warm_up is not None
    warmed = _fleet(warm_up=warm_up.model_copy(update={"tenants": tuple(tenants)}))
    warm = _replayed(warmed, requests).endpoints[0].served
    assert warm.calls == cold.calls == 41
    assert (cold.in_memory, cold.from_s3) == (1, 40)
    assert (warm.in_memory, warm.from_s3) == (40, 1)


def test_a_model_that_no_instance_holds_is_named() -> None:
    outcome = _replayed(_fleet(instance_type="ml.m5.large"), _zipf(2, 50, 1), model_mb=6_000.0)
    assert outcome.endpoints[0].never_fit == ("t0000", "t0001")
    assert any("2 models do not fit the memory of ml.m5.large" in notice for notice in outcome.notices)


def test_the_first_days_only_fill_the_caches() -> None:
    requests = _zipf(60, 6_000, 3)
    whole = _replayed(_fleet(), requests).endpoints[0].served
    rest = _replayed(_fleet(), requests, counted_from=_MONDAY + 86_400).endpoints[0].served
    assert whole.from_s3 > 55
    assert rest.from_s3 < 5
    with pytest.raises(InputError, match="all of it is left out"):
        _replayed(_fleet(), requests, counted_from=_MONDAY + 9 * 86_400)


@pytest.mark.parametrize("days", [1, 5, 80])
def test_every_line_fits_80_columns_whatever_the_tenants_are_called(days: int) -> None:
    requests = _zipf(400, 4_000, days)
    names = (*(f"{number:08x}-0000-4000-8000-123456789abc" for number in range(399)), "w1")
    config = _fleet(scaling=fleet().tiers["tail"].scaling.model_copy(update={"max_requests_per_second": 0.02}))
    text = replay_text(_replayed(config, replace(requests, tenants=names)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 90


def test_rates_cannot_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("tenant,requests_per_day\na,3\n")
    with pytest.raises(InputError, match="needs the calls one by one"):
        read_calls(
            str(file), tmp_path, reading=Reading(Columns(), None, False), default_megabytes=1.0, packed_ratio=None
        )


def test_calls_of_a_serverless_tenant_are_not_counted_as_the_default_tiers() -> None:
    requests = _zipf(5, 500, 2)
    rare = serverless_tier((requests.tenants[0],), memory_size_in_mb=1024, max_concurrency=1)
    with_rare = fleet(network_isolation=False, routes={"bake_minutes": 7}, tiers={"rare": rare})
    outcome = _replayed(with_rare, requests)
    (tail,) = outcome.endpoints
    assert tail.served.calls == int((requests.tenant != 0).sum())
    assert any("calls to the tenants of rare (serverless) are left out" in notice for notice in outcome.notices)

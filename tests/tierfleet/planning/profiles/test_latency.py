"""Call times: the queue against theory and simulation, percentiles against their definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierfleet.errors import InputError
from tierfleet.planning.profiles.latency import Latency, Network, Shares, latency
from tierfleet.planning.profiles.load_queue import LoadWait, load_wait
from tierfleet.planning.profiles.profile_files import load_profiles

PROFILES = load_profiles()
WARM, COLD = Shares(1, 0, 0), Shares(0, 0, 1)


def of(profile: str = "tierfleet", shares: Shares = WARM, model_mb: float = 44.0, **options: object) -> Latency:
    arguments = {"vcpus": 8, "loads_per_second": 0.0, **options}
    return latency(PROFILES[profile], [model_mb], shares, **arguments)  # type: ignore[arg-type]


def test_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    fixed = load_wait([2.0], 0.25, 1)
    assert fixed.utilisation == 0.5
    assert fixed.probability == pytest.approx(0.5)
    assert fixed.mean_seconds == pytest.approx(0.25 * 2**2 / (2 * 0.5))
    mixed = load_wait([1.0, 3.0], 0.25, 1)
    assert mixed.mean_seconds == pytest.approx(0.25 * (1 + 9) / 2 / (2 * 0.5))


def test_several_servers_wait_as_erlang_c_says() -> None:
    # M/M/2 with utilisation 0.75: C = 9/14. A load's variation of 2 makes Allen and Cunneen's formula M/M/c's.
    durations = -np.log(1 - (np.arange(200_000) + 0.5) / 200_000)
    wait = load_wait(durations, 1.5, 2)
    assert wait.probability == pytest.approx(9 / 14, rel=1e-3)
    assert wait.mean_seconds == pytest.approx(9 / 14 / (2 - 1.5), rel=1e-3)
    assert load_wait([1.0], 30, 64).probability < 1e-6


def test_a_simulated_queue_waits_as_long() -> None:
    random = np.random.default_rng(11)
    durations = np.array([0.2, 0.2, 0.2, 1.4])
    arrivals = np.cumsum(random.exponential(1 / 1.2, 200_000))
    services = random.choice(durations, len(arrivals))
    free, waits = 0.0, np.empty(len(arrivals))
    for number, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        begin = max(arrival, free)
        waits[number], free = begin - arrival, begin + service
    predicted = load_wait(durations, 1.2, 1)
    assert predicted.mean_seconds == pytest.approx(waits.mean(), rel=0.08)
    assert predicted.probability == pytest.approx((waits > 0).mean(), abs=0.02)
    # The exponential tail is an approximation; at p95 it is within a fifth here.
    tail = -math.log(0.05 / predicted.probability) * predicted.mean_seconds_if_waiting
    assert tail == pytest.approx(np.percentile(waits, 95), rel=0.2)


def test_a_queue_that_never_ends_is_infinite_and_warm_calls_are_not() -> None:
    times = of("stock", Shares(0.5, 0.0, 0.5), vcpus=2, loads_per_second=10)
    assert times.load_wait == LoadWait(pytest.approx(times.load_wait.utilisation), 1.0, math.inf)
    assert times.load_wait.utilisation > 1
    assert math.isinf(times.percentile(99))
    assert times.percentile(40) < 0.2


def test_warm_calls_keep_the_measured_percentiles() -> None:
    quiet = Network(overhead_p50_ms=1e-6, overhead_p99_ms=2e-6)
    times = of("stock", WARM, model_mb=44.2, network=quiet)
    assert [times.percentile(p) * 1000 for p in (50, 95, 99)] == pytest.approx([8.9, 31, 43], rel=0.03)


def test_a_cold_call_is_the_sum_of_its_steps() -> None:
    steady = Network(
        overhead_p50_ms=5, overhead_p99_ms=5.0001, s3_first_byte_p5_ms=150, s3_first_byte_p95_ms=150.001,
        s3_slowdown_p95=1.0001,
    )  # fmt: skip
    stock = PROFILES["stock"]
    times = of("stock", COLD, model_mb=44.2, network=steady)
    fetch = stock.artefact_mb(44.2) / 75
    steps = 0.005 + 0.0089 + 0.150 + fetch + stock.extract_seconds(44.2) + 2.914
    assert times.percentile(50) == pytest.approx(steps, rel=0.01)
    from_disk = of("stock", Shares(0, 1, 0), model_mb=44.2, network=steady).percentile(50)
    assert from_disk == pytest.approx(0.005 + 0.0089 + 44.2 / 134.2 + 2.914, rel=0.01)


def test_the_stock_container_breaks_three_seconds_cold_and_ours_does_not() -> None:
    cold = {name: of(name, COLD, model_mb=44.2).percentile(95) for name in PROFILES}
    assert cold["stock"] > 3.0 > cold["booster"] > cold["tierfleet"]


def test_many_sizes_are_read_off_a_profile_as_one_is() -> None:
    stock = PROFILES["stock"]
    sizes = [0.01, 0.1, 3.0, 5.7, 20.0, 44.2, 300.0]
    times = latency(stock, sizes, COLD, vcpus=1, loads_per_second=1e-9)
    mean = sum(stock.load_seconds(mb) for mb in sizes) / len(sizes)
    assert times.load_wait.utilisation == pytest.approx(1e-9 * mean, rel=1e-3)


def test_outside_the_sla_counts_each_class_by_its_own_bound() -> None:
    times = of("stock", Shares(0.7, 0.1, 0.2), model_mb=44.2)
    assert times.outside(warm_seconds=100, cold_seconds=100) == 0
    assert times.outside(warm_seconds=100, cold_seconds=0) == pytest.approx(0.3)
    assert times.outside(warm_seconds=0, cold_seconds=100) == pytest.approx(0.7)


def test_sizes_count_by_how_often_they_are_called() -> None:
    ours = PROFILES["tierfleet"]
    arguments = {"vcpus": 4, "loads_per_second": 0.0}
    mixed = latency(ours, [1.0, 100.0], COLD, weights=[3, 1], **arguments)  # type: ignore[arg-type]
    small, big = (latency(ours, [mb], COLD, **arguments).percentile(50) for mb in (1.0, 100.0))  # type: ignore[arg-type]
    middle = (small + big) / 2
    assert float(np.mean(mixed.cold > middle)) == pytest.approx(0.25, abs=0.01)
    assert latency(ours, [1.0, 100.0], COLD, weights=[1, 0], **arguments).percentile(50) == pytest.approx(small)  # type: ignore[arg-type]


def test_cold_calls_take_as_long_as_what_is_loaded_and_warm_ones_as_what_is_called() -> None:
    arguments = {"vcpus": 4, "loads_per_second": 0.5, "weights": [99, 1], "load_weights": [0, 1]}
    mixed = latency(PROFILES["stock"], [1.0, 100.0], Shares(0.9, 0.05, 0.05), **arguments)  # type: ignore[arg-type]
    small, big = (of("stock", Shares(0.9, 0.05, 0.05), mb, vcpus=4, loads_per_second=0.5) for mb in (1.0, 100.0))
    assert np.median(mixed.warm) == pytest.approx(np.median(small.warm), rel=0.02)
    assert np.percentile(mixed.cold, 95) == pytest.approx(np.percentile(big.cold, 95), rel=0.01)
    assert np.percentile(mixed.disk, 95) == pytest.approx(np.percentile(big.disk, 95), rel=0.01)
    assert mixed.load_wait == big.load_wait


def test_the_same_input_gives_the_same_output() -> None:
    one, other = (of("stock", Shares(0.8, 0.1, 0.1), loads_per_second=0.5) for _ in range(2))
    assert np.array_equal(one.cold, other.cold)
    assert one.percentile(99) == other.percentile(99)


@settings(max_examples=50)
@given(
    name=st.sampled_from(sorted(PROFILES)),
    model_mb=st.floats(0.1, 200),
    cold=st.floats(0, 0.9),
    more=st.floats(0, 0.1),
    disk=st.floats(0, 1),
    percent=st.floats(1, 99.9),
    utilisation=st.floats(0, 0.95),
)
def test_percentiles_rise_with_the_cold_share(
    name: str, model_mb: float, cold: float, more: float, disk: float, percent: float, utilisation: float
) -> None:
    profile = PROFILES[name]
    rate = utilisation * profile.loads_at_once(4) / profile.load_seconds(model_mb)

    on_disk = disk * (1 - cold - more)
    fewer = of(name, Shares(1 - on_disk - cold, on_disk, cold), model_mb, vcpus=4, loads_per_second=rate)
    many = replace(fewer, shares=Shares(1 - on_disk - cold - more, on_disk, cold + more))
    assert fewer.percentile(percent) <= many.percentile(percent)
    assert (fewer.warm <= fewer.disk).all()
    assert (fewer.disk <= fewer.cold).all()
    assert fewer.percentile(percent) <= fewer.percentile(99.95)
    bounds = {"warm_seconds": 0.3, "cold_seconds": 0.3}
    assert fewer.outside(**bounds) <= many.outside(**bounds) + 1e-9


@settings(max_examples=30)
@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=5), st.integers(1, 16), st.floats(0.01, 0.9))
def test_waits_grow_with_the_load(durations: list[float], servers: int, utilisation: float) -> None:
    rate = utilisation * servers / (sum(durations) / len(durations))
    low, high = load_wait(durations, rate, servers), load_wait(durations, rate * 1.05, servers)
    assert low.utilisation == pytest.approx(utilisation)
    assert 0 <= low.mean_seconds <= high.mean_seconds
    assert load_wait(durations, rate, servers + 1).mean_seconds <= low.mean_seconds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Shares(0.5, 0.2, 0.2), "all together 1"),
        (lambda: Shares(1.5, -0.5, 0), "each must be 0 to 1"),
        (lambda: Shares(math.nan, 0.5, 0.5), "each must be 0 to 1"),
        (lambda: of(model_mb=0.0), "not above 0 MB"),
        (lambda: of(loads_per_second=-1.0), "loads_per_second is -1"),
        (lambda: of(weights=[1, 2]), "1 model sizes and 2 weights"),
        (lambda: of(weights=[0]), "all are 0"),
    ],
)
def test_impossible_input_is_an_error(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        call()

"""One prediction from a trace and from rates: what measurements are held against."""

import numpy as np
import pytest

from tierfleet.planning.cache.lru import CacheFleet
from tierfleet.planning.cache.miss_ratio_curve import miss_ratio_curve
from tierfleet.planning.cache.prediction import predict
from tierfleet.planning.traffic.rates import rates_of, steady_rates
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.shapes import zipf_shape
from tierfleet.planning.traffic.synthesize import synthesize

SHAPE = zipf_shape(200, 20_000, 0.9)
SIZES = np.full(200, 10.0)


@pytest.mark.parametrize("sessions", [Sessions(), Sessions(3.0, 60.0)])
@pytest.mark.parametrize("models", [10, 40, 100])
def test_rates_predict_what_a_trace_of_them_does(models: int, sessions: Sessions) -> None:
    requests = synthesize(SHAPE, days=3, seed=2, sessions=sessions)
    fleet = CacheFleet(memory_mib=models * 10.0)
    start = float(requests.seconds[0]) + 86_400
    exact = predict(requests, SIZES, fleet, counted_from_seconds=start)
    from_rates = predict(
        steady_rates(requests.tenants, requests.requests_per_tenant() / 3, sessions=sessions), SIZES, fleet
    )
    assert exact.exact
    assert not from_rates.exact
    assert exact.hit_ratio == miss_ratio_curve(requests, SIZES, counted_from_seconds=start).hit_ratio(models * 10.0)
    assert from_rates.hit_ratio == pytest.approx(exact.hit_ratio, abs=0.02)
    assert from_rates.loads_per_hour == pytest.approx(exact.loads_per_hour, rel=0.08)


def test_the_parts_make_a_whole_on_several_instances_with_a_disk() -> None:
    requests = synthesize(SHAPE, days=2, seed=3)
    for traffic in (requests, rates_of(requests)):
        prediction = predict(traffic, SIZES, CacheFleet(memory_mib=300.0, disk_mib=800.0, instances=2))
        assert prediction.hit_ratio + prediction.cold_share == pytest.approx(1)
        assert prediction.disk_share + prediction.s3_share == pytest.approx(prediction.cold_share)
        assert prediction.disk_share > 0
        fewer = predict(traffic, SIZES, CacheFleet(memory_mib=300.0, disk_mib=800.0))
        assert fewer.hit_ratio < prediction.hit_ratio


def test_what_rates_cannot_tell_is_refused() -> None:
    rates = steady_rates(("a", "b"), np.array([5.0, 1.0]))
    with pytest.raises(ValueError, match="give a trace"):
        predict(rates, np.ones(2), CacheFleet(memory_mib=1.0, routing="random"))
    with pytest.raises(ValueError, match="1 model sizes for 2 tenants"):
        predict(rates, np.ones(1), CacheFleet(memory_mib=1.0))

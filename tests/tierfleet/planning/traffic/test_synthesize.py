"""The shapes are what they say, and the same every time."""

import numpy as np
import pytest

from tierfleet.errors import InputError
from tierfleet.planning.traffic.sessions import Sessions
from tierfleet.planning.traffic.shapes import SHAPES, varied, zipf_shape
from tierfleet.planning.traffic.synthesize import model_bytes, synthesize, write_trace
from tierfleet.planning.traffic.trace import read_trace

WHALES = ("m01", "m04", "m12", "m18", "m29")


def _share(requests, tenants):
    index = [requests.tenants.index(tenant) for tenant in tenants]
    return requests.requests_per_tenant()[index].sum() / len(requests)


def test_the_fraud_shape():
    requests = synthesize(varied("fraud", requests_per_day=30_000), days=14, seed=1)
    assert len(requests.tenants) == 70
    assert len(requests) / 14 == pytest.approx(30_000, rel=0.02)
    occasional = [f"m{number}" for number in range(56, 71)]
    regular = [tenant for tenant in requests.tenants if tenant not in {*WHALES, *occasional}]
    assert len(regular) == 50
    assert _share(requests, WHALES) == pytest.approx(0.80, abs=0.01)
    assert _share(requests, regular) == pytest.approx(0.19, abs=0.01)
    assert _share(requests, occasional) == pytest.approx(0.01, abs=0.002)
    # Regular merchants call from eight to six, Monday to Friday.
    calls = requests.seconds[np.isin(requests.tenant, [requests.tenants.index(tenant) for tenant in regular])]
    hour, day = calls % 86400 // 3600, (calls // 86400 + 3) % 7
    assert ((hour >= 8) & (hour < 18) & (day < 5)).all()
    sizes = model_bytes(SHAPES["fraud"], seed=1)
    assert 10e6 <= sizes.min() < 15e6 < 45e6 < sizes.max() <= 50e6


@pytest.mark.parametrize("name", ["churn", "churn-flat"])
def test_the_churn_shapes(name):
    requests = synthesize(SHAPES[name], days=5, seed=1)
    assert len(requests.tenants) == 4000
    assert len(requests) / 5 == pytest.approx(80_000, rel=0.01)
    counts = requests.requests_per_tenant()
    shares = [counts[:500].sum(), counts[500:2000].sum(), counts[2000:].sum()]
    assert np.array(shares) / len(requests) == pytest.approx([0.60, 0.25, 0.15], abs=0.006)
    by_hour = np.bincount((requests.seconds % 86400 // 3600).astype(int))
    assert by_hour.argmin() in (3, 4, 5)
    assert by_hour.max() / by_hour.min() == pytest.approx(3, rel=0.1)


def test_sessions_have_the_calls_and_gaps_that_were_asked_for():
    # A tenant calls once a day at most, so each cluster of calls is one session.
    shape = zipf_shape(20_000, 4000, 0.0)
    requests = synthesize(shape, days=4, seed=2, sessions=Sessions(2.5, 100))
    order = np.lexsort((requests.seconds, requests.tenant))
    same = np.diff(requests.tenant[order]) == 0
    gaps = np.diff(requests.seconds[order])
    inside = gaps[same & (gaps < 3000)]
    sessions = len(requests) - len(inside)
    assert len(requests) == pytest.approx(16_000, rel=0.05)
    assert len(requests) / sessions == pytest.approx(2.5, rel=0.03)
    assert inside.mean() == pytest.approx(100, rel=0.05)


def test_the_same_seed_gives_the_same_requests():
    first, again, other = (synthesize(SHAPES["churn"], days=0.2, seed=seed) for seed in (1, 1, 2))
    assert (first.tenant == again.tenant).all()
    assert (first.seconds == again.seconds).all()
    assert len(first) != len(other) or (first.tenant != other.tenant).any()
    assert (np.diff(first.seconds) >= 0).all()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl.gz"])
def test_a_written_trace_reads_back_as_it_was(tmp_path, ending):
    shape, file = varied("fraud", requests_per_day=30_000), tmp_path / f"trace{ending}"
    written = write_trace(shape, file, days=1.5, seed=4, sessions=Sessions(3, 60))
    requests = synthesize(shape, days=1.5, seed=4, sessions=Sessions(3, 60))
    trace = read_trace(str(file), tmp_path / "work", strict=True)
    assert written == len(requests) == len(trace.requests)
    assert trace.notices == ()
    assert trace.requests.tenants == requests.tenants
    assert (trace.requests.tenant == requests.tenant).all()
    assert trace.requests.seconds == pytest.approx(requests.seconds, abs=1e-6)
    assert trace.requests.model_bytes.tolist() == requests.model_bytes.tolist()


def test_varied_shapes():
    assert varied("churn", zipf=0.0).tenant_shares() == pytest.approx(np.full(4000, 1 / 4000))
    flat = synthesize(varied("fraud", requests_per_day=20_000, without_rhythm=True), days=2, seed=1)
    by_hour = np.bincount((flat.seconds % 86400 // 3600).astype(int))
    assert by_hour.max() / by_hour.min() < 1.2
    with pytest.raises(InputError, match="'nonsense' is no traffic shape; there are fraud, churn, churn-flat"):
        varied("nonsense")


@pytest.mark.parametrize("name", ["trace.xlsx", "trace.parquet.gz", "trace"])
def test_refuses_an_ending_it_cannot_write(tmp_path, name):
    with pytest.raises(InputError, match=r"give it the ending \.parquet, \.csv or \.jsonl"):
        write_trace(SHAPES["fraud"], tmp_path / name, days=1, seed=0)

"""Flat forests on the local emulator: published by the command, deployed, called, warmed and explained.

Real model servers on real processes; every score is compared with XGBoost's own, bit by bit.
"""

import contextlib
import http.client
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
import tomlkit
import xgboost
from real_fleet import TAIL, Fleet, whale
from served_fleet import calling, served_fleet
from served_fleet import warm_up as run_warm_up
from typer.testing import CliRunner

from local_cloud import LocalCloud, start
from local_cloud.host.cdk_cli import environment
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import DELETE
from tierfleet.cli import app
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import ContributionsUnavailableError

pytestmark = pytest.mark.skipif(not tierfleet_forest.available, reason="the compiled reader is not built")

FEATURES = 4
ROWS = np.random.default_rng(1).normal(size=(50, FEATURES)).astype(np.float32)
HOSTED: dict[str, Any] = {
    "container": {"image": "tierfleet", "version": DELETE},
    "probe": {"body": ",".join(["0"] * FEATURES)},
    "tiers": {
        "tail": {"first_generation": DELETE, "instances": {"min": 1, "initial": 1}, "warm_up": {"tenants": ["t1"]}},
        "whale": {
            "instances": {"min": 1, "initial": 1},
            "guardrail": {"type": "ALL_AT_ONCE"},
            "tenants": {"w1": {"model": "w1/1.tar.gz"}},
        },
    },
}


def train(seed: int, objective: str, classes: int = 0) -> xgboost.Booster:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    label = random.integers(0, classes or 2, len(rows)).astype(np.float32)
    parameters: dict[str, Any] = {"objective": objective, "max_depth": 5, "nthread": 1, "verbosity": 0}
    return xgboost.train(parameters | ({"num_class": classes} if classes else {}), xgboost.DMatrix(rows, label), 30)


@dataclass(frozen=True)
class Tenant:
    booster: xgboost.Booster
    published_with: tuple[str, ...]
    """Options of `tierfleet models publish`."""


EXPLAINED = ("--forest", "alone", "--contribs")
TENANTS = {
    "t1": Tenant(train(1, "binary:logistic"), EXPLAINED),
    "t2": Tenant(train(2, "multi:softprob", classes=3), EXPLAINED),
    "t3": Tenant(train(3, "reg:squarederror"), ("--forest", "beside")),
    "t4": Tenant(train(4, "binary:logistic"), ("--forest", "none")),
    "w1": Tenant(train(5, "count:poisson"), EXPLAINED),
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("forests"), serving="models") as running:
        yield running


@pytest.fixture(scope="module")
def shop(serving: LocalCloud, synth: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The fleet with the dense image, its models published by the command."""
    directory = tmp_path_factory.mktemp("shop")
    shop = served_fleet(Account(serving, "730000000001"), synth)
    shop.publish = lambda *_: publish(shop, directory)  # type: ignore[method-assign]
    shop.create(**HOSTED)
    return shop


def publish(shop: Fleet, directory: Path) -> None:
    file = directory / "shop-test.toml"
    file.write_text(tomlkit.dumps(shop.config.model_dump(mode="json", exclude_none=True)))
    for tenant, own in TENANTS.items():
        model = directory / "-".join(own.published_with) / tenant / "1.ubj"
        model.parent.mkdir(parents=True)
        model.write_bytes(bytes(own.booster.save_raw("ubj")))
    for options in {own.published_with for own in TENANTS.values()}:
        command = ["models", "publish", str(file), str(directory / "-".join(options)), *options]
        done = CliRunner().invoke(app, command, env=environment(shop.account.cloud, shop.account.id))
        assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def client(shop: Fleet) -> Iterator[FleetClient]:
    with (
        contextlib.closing(calling(shop.account)) as aws,
        FleetClient("shop", "test", region="eu-west-1", aws=aws) as client,
    ):
        yield client


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_published_forest_answers_with_xgboosts_own_bits(client: FleetClient, tenant: str) -> None:
    rows = ROWS.copy()
    rows[::7, 1] = np.nan
    expected = TENANTS[tenant].booster.predict(xgboost.DMatrix(rows))
    sent = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
    assert np.array_equal(np.array(client.predict(tenant, sent), dtype=np.float32), expected)


def test_forests_serve_where_they_were_published_and_a_booster_where_none_was(client: FleetClient, shop: Fleet) -> None:
    for tenant in TENANTS:
        client.predict(tenant, [[0.0] * FEATURES])
    assert models_by_form(shop, tail(shop)) == {"forest": 3, "booster": 1}
    assert models_by_form(shop, whale("w1")) == {"forest": 1}


@pytest.mark.parametrize("tenant", ["t1", "t2", "t4", "w1"])
def test_a_forest_is_explained_as_xgboost_explains_its_booster(client: FleetClient, tenant: str) -> None:
    explained = client.explain(tenant, [list(map(float, row)) for row in ROWS[:5]])
    expected = TENANTS[tenant].booster.predict(xgboost.DMatrix(ROWS[:5]), pred_contribs=True)
    told = [[[*output.contributions, output.bias] for output in row.outputs] for row in explained.rows]
    assert np.allclose(told, expected.reshape(5, -1, FEATURES + 1), rtol=1e-5, atol=1e-5)


def test_a_forest_that_was_published_without_contributions_says_so(client: FleetClient) -> None:
    with pytest.raises(ContributionsUnavailableError, match="convert the model again with contributions"):
        client.explain("t3", [[0.0] * FEATURES])


def test_the_deployed_warm_up_loads_forests(shop: Fleet) -> None:
    report = run_warm_up(shop, "t1", "t2", "t3", "t4", "nobody")
    assert (sorted(report["warmed"]), report["missing"]) == (["t1", "t2", "t3", "t4"], ["nobody"])


def models_by_form(shop: Fleet, endpoint: str) -> dict[str, int]:
    """How many models the container holds as a forest, of either form, and as a Booster."""
    counted: Counter[str] = Counter()
    for form, number in samples(shop, endpoint, "models_by_form").items():
        counted[form.partition("-")[0]] += int(float(number))
    return dict(counted)


def samples(shop: Fleet, endpoint: str, metric: str) -> dict[str, str]:
    """The values of a metric of the endpoint's one container by form."""
    (row,) = [row for row in shop.account.cloud.admin("instances") if row["endpoint"] == endpoint]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", row["port"], timeout=30)) as connection:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    return dict(re.findall(rf'{metric}{{form="([^"]+)"}} (\S+)', page))


def tail(shop: Fleet) -> str:
    endpoint: str = shop.served_routes()["tiers"]["tail"]["endpoint"]
    assert endpoint.startswith(TAIL)
    return endpoint

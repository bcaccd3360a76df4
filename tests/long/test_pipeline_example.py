"""examples/pipeline, deployed on real processes: its decisions are those of the same steps in plain Python."""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from real_fleet import Fleet
from served_fleet import calling

from local_cloud import LocalCloud, start
from local_cloud.testing.account import Account
from local_cloud.testing.fleets import CONFIG, ROOT
from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import PayloadRejectedError

sys.path.insert(0, str(ROOT / "examples" / "pipeline"))
from steps import Policy, decision, features

ACCOUNT = "540000000001"
POLICY = Policy(review_from=0.4, refuse_from=0.8)
ORDERS = [
    {
        "placed_at": f"2027-09-{1 + number % 28:02}T{number % 24:02}:15:00+02:00",
        "customer_since": f"20{20 + number % 7}-03-01T12:00:00+00:00",
        "amount": 7.5 * number,
        "note": ("please hurry, URGENT" if number % 3 else "ring twice at no. 5") + "!" * (number % 5),
    }
    for number in range(60)
]


def booster() -> xgboost.Booster:
    """Urgent orders of new customers are fraud here, and some others."""
    rows = np.array([features(order) for order in ORDERS], dtype=np.float32)
    urgent_and_new = (rows[:, 5] > 0) & (rows[:, 3] < np.median(rows[:, 3]))
    label = (urgent_and_new ^ (np.random.default_rng(0).random(len(rows)) < 0.2)).astype(np.float32)
    parameters = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(rows, label=label), 20)


def plain(model: xgboost.Booster, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = np.array([features(order) for order in orders], dtype=np.float32)
    return [decision(float(score), POLICY) for score in model.predict(xgboost.DMatrix(rows))]


def tier(*, shared: bool) -> dict[str, Any]:
    """The showcase's own pipeline, in the account and region of the test."""
    decided = tomllib.loads((CONFIG / "showcase-dev.toml").read_text())["tiers"]["decided"]
    for stage in decided["stages"]:
        stage["image"] = stage["image"].replace("111122223333", ACCOUNT).replace("us-east-1", "eu-west-1")
    if shared:
        decided["stages"][1] |= {"mode": "MultiModel"}
        del decided["stages"][1]["model"]
    return {**decided, "tenants": {"p1": {} if shared else {"model": "p1/1.tar.gz"}}}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start(tmp_path_factory.mktemp("pipeline"), serving="models") as running:
        yield running


def test_the_decisions_of_the_deployed_stages_are_those_of_plain_python(
    cloud: LocalCloud, synth: Callable[..., Path]
) -> None:
    from tierfleet_server.model.archive import pack

    model = booster()
    packed = pack({"xgboost-model": bytes(model.save_raw("ubj"))})
    account = Account(cloud, ACCOUNT)
    shop = Fleet(account, synth, lambda _: packed)
    shop.first_models = ("t1/1", "t2/1", "t3/1", "w1/2027-01-01", "p1/1")
    changes = {"network_isolation": False, "probe": {"body": "0.5,0.5,0.5,0.5,0.5,0.5"}}
    expected = plain(model, ORDERS)
    assert {each["decision"] for each in expected} == {"approve", "review", "refuse"}

    def decisions() -> Any:
        with FleetClient("shop", "test", region="eu-west-1", aws=calling(account)) as client:
            body = json.dumps(ORDERS).encode()
            reply = client.invoke("p1", body, content_type="application/json")
            with pytest.raises(PayloadRejectedError, match=r"ModelError: features: ValueError: amount is -1"):
                client.invoke("p1", json.dumps([{**ORDERS[0], "amount": -1}]).encode(), content_type="application/json")
            return json.loads(reply.body)

    shop.create(**changes, tiers={"decided": tier(shared=False)})
    assert decisions() == expected
    own = [row for row in cloud.admin("instances") if "--p1--pipeline" in row["endpoint"]]
    assert [row["container"] for row in own] == ["features", "score", "decision"]
    assert len({row["pid"] for row in own}) == 3

    # The same stages around a multi-model container: one endpoint, and each call names its model.
    assert shop.update(**changes, tiers={"decided": tier(shared=True)}) == "UPDATE_COMPLETE", shop.reasons()
    assert decisions() == expected
    assert not [name for name in shop.live_endpoints() if "--p1--pipeline" in name]

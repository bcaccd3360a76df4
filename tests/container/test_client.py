"""FleetClient over boto3 to real servers: its rows are XGBoost's own, on a shared and on a dedicated endpoint."""

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xgboost
from loopback import ACCOUNT, ENVIRONMENT, FLEET, SHARED, FakeAws, route_document, serving, session, whale
from running_server import RunningServer
from trained_models import KINDS, Trained

from tierfleet.runtime.client import FleetClient
from tierfleet.runtime.client.errors import ContributionsUnavailableError, PayloadRejectedError

WHALES = ("m01", "m02")
WHALE_KINDS = {"m01": "binary", "m02": "multi-class"}
TENANTS = {f"m{number}": kind for number, kind in enumerate(KINDS, start=10)}


class Relay:
    """The platform between an endpoint and its one instance."""

    def __init__(self, server: RunningServer, *, shared: bool) -> None:
        self.server, self.shared = server, shared

    def __call__(self, tenant: str, body: bytes, content_type: str, accept: str) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            path = f"/models/{tenant}/invoke" if self.shared else "/invocations"
            connection.request("POST", path, body, {"Content-Type": content_type, "Accept": accept})
            reply = connection.getresponse()
            return reply.status, reply.headers["Content-Type"], reply.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def fleet(
    server: RunningServer, artefacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetClient]:
    """A fleet whose multi-model endpoint has a tenant for each kind of model, and two dedicated ones."""
    aws = FakeAws()
    aws.routes = route_document(whales=WHALES)
    aws.endpoints = {SHARED, *map(whale, WHALES)}
    for tenant, kind in TENANTS.items():
        assert server.load(tenant, artefacts[kind]).status == 200
    aws.containers[SHARED] = Relay(server, shared=True)
    dedicated = []
    for tenant, kind in WHALE_KINDS.items():
        directory = tmp_path_factory.mktemp("dedicated")
        shutil.copytree(artefacts[kind], directory / "model")
        environment = {"TIERFLEET_MODEL_DIRECTORY": str(directory / "model")}
        dedicated.append(RunningServer(environment, directory / "log"))
        aws.containers[whale(tenant)] = Relay(dedicated[-1], shared=False)
        while dedicated[-1].ask("GET", "/ping").status != 200:
            assert dedicated[-1].process.poll() is None
    with serving(aws) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        with FleetClient(FLEET, ENVIRONMENT, account=ACCOUNT, session=session()) as client:
            yield client
    for one in dedicated:
        one.close()


@pytest.mark.parametrize(("tenant", "kind"), [*TENANTS.items(), *WHALE_KINDS.items()])
def test_rows_and_reasons_are_xgboosts_own(
    tenant: str, kind: str, fleet: FleetClient, trained: dict[str, Trained]
) -> None:
    model = trained[kind]
    rows = model.rows[:20]
    scores = fleet.predict(tenant, rows.tolist())
    assert np.array_equal(np.array(scores, np.float32), model.scores[:20])
    assert isinstance(scores[0], list) == (model.scores.ndim == 2)
    (one,) = fleet.predict(tenant, rows[:1].tolist())
    assert one == scores[0]

    explained = fleet.explain(tenant, rows.tolist())
    types = model.booster.feature_types
    data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=types is not None)
    expected = model.booster.predict(data, pred_contribs=True, strict_shape=True)
    margins = model.booster.predict(data, output_margin=True, strict_shape=True)
    got = [[[*output.contributions, output.bias] for output in row.outputs] for row in explained.rows]
    assert np.array_equal(np.array(got, np.float32), expected)
    assert [row.score for row in explained.rows] == scores
    summed = np.array([[output.margin for output in row.outputs] for row in explained.rows])
    assert np.allclose(summed, margins, rtol=1e-5, atol=1e-5)
    assert explained.feature_names == tuple(f"f{column}" for column in range(rows.shape[1]))


def test_every_form_of_a_dense_reply_gives_the_same_rows(fleet: FleetClient, trained: dict[str, Trained]) -> None:
    for tenant in ("m01", "m02"):
        rows = trained[WHALE_KINDS[tenant]].rows[:5].tolist()
        scores = fleet.predict(tenant, rows)
        body = "\n".join(",".join(map(repr, row)) for row in rows).encode()
        for accept in ("text/csv", "application/json", "application/jsonlines"):
            assert fleet.invoke(tenant, body, accept=accept).predictions == scores


def test_what_the_server_says_reaches_the_caller(
    fleet: FleetClient, server: RunningServer, trained: dict[str, Trained], tmp_path: Path
) -> None:
    with pytest.raises(PayloadRejectedError, match="row 0 has 2 features; the model has 8"):
        fleet.explain("m01", [[1, 2]])

    document = json.loads(trained["binary"].booster.save_raw("json"))
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        tree["sum_hessian"] = [0.0] * len(tree["sum_hessian"])
    booster = xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))
    (tmp_path / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    assert server.load("m99", tmp_path).status == 200
    row = trained["binary"].rows[:1].tolist()
    assert len(fleet.predict("m99", row)) == 1
    with pytest.raises(ContributionsUnavailableError, match=r"its scores cannot be explained: .* no finite numbers"):
        fleet.explain("m99", row)

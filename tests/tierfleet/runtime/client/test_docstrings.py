"""The examples in the docstrings of what a caller imports, run against AWS on loopback."""

import doctest
import json
from typing import Any

import pytest
from loopback import SHARED, FakeAws, async_route_document, queued, score

from tierfleet.runtime import client, names
from tierfleet.runtime.client import batch
from tierfleet.runtime.contributions import CONTRIBS, Contributions

FEATURES = ["amount", "country", "age"]
DOCUMENTED = [
    client.FleetClient,
    client.FleetClient.invoke,
    client.FleetClient.predict,
    client.FleetClient.explain,
    client.FleetClient.explain_body,
    client.FleetClient.submit,
    client.FleetClient.result,
    client.FleetClient.wait_many,
    client.Submission,
    client.ClientSettings,
    client.CallError,
    names.endpoint_name,
    client.Reply,
    Contributions,
    batch.call_many,
]


def dense_server(tenant: str, body: bytes, _content_type: str, accept: str) -> tuple[int, str, bytes]:
    """Scores as loopback has them; each feature contributes its own value."""
    rows = body.decode().splitlines()
    predictions: list[dict[str, Any]] = [{"score": score(tenant, row)} for row in rows]
    document: dict[str, Any] = {"predictions": predictions}
    if accept == CONTRIBS:
        document = {"feature_names": FEATURES, **document}
        for row, prediction in zip(rows, predictions, strict=True):
            prediction |= {"bias": int(tenant[1:]), "contributions": [float(value) for value in row.split(",")]}
    return 200, "application/json", json.dumps(document).encode()


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda documented: documented.__qualname__)
def test_the_example_of_the_docstring_runs(
    documented: Any, aws: FakeAws, url: str, boto_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.containers[SHARED] = dense_server
    aws.unpublished = {"m38"}
    aws.routes = async_route_document("m08")
    aws.endpoints.add(queued("m08"))
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(f"AWS_{name}", value)
    known = {**vars(client), **vars(batch), **vars(names)}
    with client.FleetClient("fraud", "prod", region="eu-west-1", session=boto_session) as fleet:
        fleet.predict("m37", [[0.0]])
        finder = doctest.DocTestFinder(recurse=False)
        [example] = finder.find(documented, documented.__qualname__, globs={**known, "fleet": fleet})
        assert example.examples, "no example"
        assert doctest.DocTestRunner().run(example).failed == 0

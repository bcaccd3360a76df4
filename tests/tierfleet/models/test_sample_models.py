"""Sample models: one for each tenant that a fleet file names, as wide as its probe."""

from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.testing.fleets import DELETE, document, fleet
from tierfleet.config.model import Probe
from tierfleet.models.sample_models import VERSION, probe_features, sample_versions, train_sample_models


def test_they_are_of_the_tenants_that_the_file_names() -> None:
    assert sample_versions(fleet()) == {**dict.fromkeys(("t1", "t2", "t3"), VERSION), "w1": "2027-01-01"}
    unnamed = fleet(tiers={"whale": {"tenants": DELETE}, "tail": {"warm_up": DELETE}})
    assert sample_versions(unnamed) == {"sample": VERSION}
    tail = document()["tiers"]["tail"]
    further = {key: value for key, value in tail.items() if key not in {"default", "warm_up"}}
    listed = fleet(tiers={"second": {**further, "tenants": ["s1"]}})
    assert sample_versions(listed)["s1"] == VERSION


def test_they_are_real_models_that_differ(tmp_path: Path) -> None:
    assert train_sample_models(fleet(), tmp_path) == 4
    rows = xgboost.DMatrix(np.ones((1, 3), dtype=np.float32))
    files = sorted(tmp_path.glob("*/*.ubj"))
    scores = {float(xgboost.Booster(model_file=file).predict(rows)[0]) for file in files}
    assert len(files) == len(scores) == 4


@given(st.integers(1, 50), st.sampled_from(["csv", "libsvm", "json row", "json rows", "instances", "features"]))
def test_a_probe_says_how_many_features_there_are(features: int, form: str) -> None:
    row = [0.5] * features
    libsvm = " ".join(f"{index}:0.5" for index in range(features))
    body, content_type = {
        "csv": (",".join(map(str, row)), "text/csv"),
        "libsvm": (f"0 {libsvm}", "text/libsvm"),
        "json row": (str(row), "application/json"),
        "json rows": (str([row, row]), "application/json; charset=utf-8"),
        "instances": (f'{{"instances": [{row}]}}', "application/json"),
        "features": (f'{{"instances": [{{"features": {row}}}]}}', "application/json"),
    }[form]
    assert probe_features(Probe(content_type=content_type, body=body)) == features


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/libsvm", "0"), ("application/json", "{"), ("application/json", "{}"), ("application/json", "[]"),
     ("application/json", "3"), ("application/x-protobuf", "x")],
)  # fmt: skip
def test_a_probe_that_is_no_row_is_refused_with_its_content_type(content_type: str, body: str) -> None:
    with pytest.raises(ValueError, match=r"\[probe\]"):
        probe_features(Probe(content_type=content_type, body=body))

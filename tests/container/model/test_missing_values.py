"""What a model's metadata says about rows besides its steps: the missing value, and the first column of libsvm."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tierfleet_server.model.artefact import Metadata
from tierfleet_server.model.preprocessing import Preprocessing
from tierfleet_server.model.refusal import BadModel, Refusal
from tierfleet_server.payloads.payload import read_rows


def rows(body: bytes, content_type: str, **steps: Any) -> list[list[float]]:
    model: Any = SimpleNamespace(
        features=3, outputs=1, work_per_row=1, preprocessing=Preprocessing.from_metadata(steps, 3, ("a", "b", "c"))
    )
    rows = read_rows(body, content_type, model)
    if isinstance(rows.owner, np.ndarray):
        return [[float(value) for value in row] for row in rows.owner]
    return [[float(value) for value in rows.owner]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/csv", b"-999,2,-999.0"), ("application/json", b"[-999,2,-999.0]"), ("text/libsvm", b"0:-999 1:2 2:-999")],
)
def test_the_trained_missing_value_is_missing(content_type: str, body: bytes) -> None:
    assert str(rows(body, content_type, missing=-999)) == "[[nan, 2.0, nan]]"
    assert str(rows(body, content_type, missing=-999, fill={"a": 7})) == "[[7.0, 2.0, nan]]"
    assert rows(body, content_type) == [[-999.0, 2.0, -999.0]]


def test_libsvm_rows_may_count_from_one() -> None:
    assert str(rows(b"1 1:1 2:2", "text/libsvm", libsvm_base=1)) == "[[1.0, 2.0, nan]]"
    assert str(rows(b"1 1:1 2:2", "text/libsvm")) == "[[nan, 1.0, 2.0]]"
    with pytest.raises(Refusal, match=r"sets column '0'; the model has columns 1 to 3"):
        rows(b"0:1", "text/libsvm", libsvm_base=1)
    with pytest.raises(Refusal, match="columns 0 to 2; if you count from 1, package it with --libsvm-base 1"):
        rows(b"1:1 2:2 3:3", "text/libsvm")


@pytest.mark.parametrize(
    "wrong", [{"missing": "x"}, {"missing": True}, {"missing": 1e39}, {"libsvm_base": 2}, {"libsvm_base": True}]
)
def test_a_value_that_is_not_allowed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match="it must be"):
        Preprocessing.from_metadata(wrong, 3, ())


def test_metadata_without_them_is_what_it_was() -> None:
    fields: dict[str, Any] = {
        "features": 3, "feature_names": [], "objective": "o", "booster": "gbtree", "rounds": 1, "best_iteration": None,
        "xgboost_version": "3.0.5", "size_bytes": 1, "crc32": 1, "sha256": "", "preprocessing": {},
    }  # fmt: skip
    plain = Metadata(**fields).to_json()
    assert "missing" not in json.loads(plain)
    assert Metadata.from_json(plain.encode()).steps == {}
    both = Metadata(**fields, missing=-1.0, libsvm_base=1).to_json()
    assert Metadata.from_json(both.encode()).steps == {"missing": -1.0, "libsvm_base": 1}

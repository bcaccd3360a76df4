"""Train one merchant's trio and write its artefacts: `python train.py models`, then `models/m12/<container>-1.tar.gz`.

A card-present model in XGBoost, a document check in scikit-learn and a velocity check in ONNX, each on made-up data.
Prints one row for each container and its score, which the endpoint must answer.
"""

import io
import json
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from skl2onnx import to_onnx
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

TENANT = "m12"
SEED = 7


def card_present() -> tuple[dict[str, bytes], str, float]:
    """XGBoost: six numbers of a payment as CSV."""
    random = np.random.default_rng(SEED)
    rows = random.standard_normal((400, 6)).astype(np.float32)
    data = xgboost.DMatrix(rows, label=(rows @ random.standard_normal(6) > 1).astype(np.float32))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 20)
    row = np.array([[0.5, 0.25, 0.125, 0.75, 1.5, 0.1]], np.float32)
    score = float(booster.predict(xgboost.DMatrix(row))[0])
    return {"xgboost-model": bytes(booster.save_raw("ubj"))}, "0.5,0.25,0.125,0.75,1.5,0.1", score


def document_check() -> tuple[dict[str, bytes], str, float]:
    """scikit-learn: the text of a scanned document; digits in a name make it suspicious."""
    random = np.random.default_rng(SEED)
    names = ["ANNA", "ERIK", "MARIA", "JONAS", "SOFIA", "DAVID", "LENA", "OSKAR"]
    sound = [f"P<UTO{a}<<{b}" for a in names for b in names if a != b]
    forged = [text.replace("A", "4").replace("O", "0").replace("E", "3") for text in sound]
    estimator = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 2)), LogisticRegression(random_state=0))
    estimator.fit(sound + forged, [0] * len(sound) + [1] * len(forged))
    text = str(random.choice(forged))
    score = float(estimator.predict_proba([text])[0, 1])
    return {"model.joblib": pickle.dumps(estimator)}, json.dumps([text]), score


def velocity() -> tuple[dict[str, bytes], str, float]:
    """ONNX: payments of a card in the last minute, hour and day, and the amount over its mean."""
    random = np.random.default_rng(SEED)
    rows = random.gamma(2.0, 1.0, (600, 4)).astype(np.float32)
    estimator = MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0).fit(
        rows, rows @ [0.5, 0.2, 0.1, 0.4] > 2.6
    )
    graph = to_onnx(estimator, rows[:1], options={id(estimator): {"zipmap": False}}, target_opset=18)
    row = [[2.0, 1.5, 3.0, 2.5]]
    score = float(estimator.predict_proba(np.array(row, np.float32))[0, 1])
    return {"model.onnx": graph.SerializeToString()}, json.dumps(row), score


def artefact(files: dict[str, bytes]) -> bytes:
    """A tar.gz of these files, the same bytes each time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def main(directory: Path) -> dict[str, Any]:
    """Write the artefacts; for each container a request body and the score that it must be answered with."""
    expected = {}
    for name, train in (("card-present", card_present), ("document-check", document_check), ("velocity", velocity)):
        files, body, score = train()
        file = directory / TENANT / f"{name}-1.tar.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(artefact(files))
        expected[name] = {"body": body, "score": score}
    return expected


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=1))

"""Runs under any XGBoost from 1.0 on (Python 3.8+): `score.py WORK.json` loads model files and scores rows with each.

WORK.json is a list of {"model": file, "rows": npy, "scores": npy to write, "margins": npy to write}; a JSON list comes
back on standard output: null for each that was scored, else XGBoost's first line of why not. Files are loaded the way
the stock image does it: `Booster.load_model` of a file called `xgboost-model`.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import xgboost


def one(item, folder):
    file = folder / item.get("name", "xgboost-model")
    shutil.copyfile(item["model"], str(file))
    try:
        booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
        booster.load_model(str(file))
        rows = np.load(item["rows"])
        matrix = xgboost.DMatrix(rows, missing=np.nan, nthread=1)
        # The stock image of 1.5 and 1.7 predicts like this; newer ones have no best_ntree_limit.
        more = {"validate_features": False}
        if item.get("as_image") and getattr(booster, "best_ntree_limit", 0):
            more["ntree_limit"] = booster.best_ntree_limit
        np.save(item["scores"], booster.predict(matrix, **more))
        if item.get("margins"):
            np.save(item["margins"], booster.predict(matrix, output_margin=True, **more))
    except Exception as error:  # whatever XGBoost or NumPy says is the answer
        return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return None


def main():
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps([one(item, Path(folder)) for item in json.loads(Path(sys.argv[1]).read_text())]))


main()

"""Small but real XGBoost models for the demo: one a merchant, each with a rule of its own."""

from pathlib import Path

import numpy as np
import xgboost

FEATURES = 10  # as many as the probe row of config/fraud-dev.toml has
MERCHANTS = [f"m{number:02d}" for number in range(1, 71)]


def train_models(directory: Path, version: str) -> int:
    """Train and save `<directory>/<merchant>/<version>.ubj` for 70 merchants; returns how many."""
    for seed, merchant in enumerate(MERCHANTS):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((400, FEATURES)).astype(np.float32)
        fraud = (rows @ rng.standard_normal(FEATURES) > 1).astype(np.float32)
        data = xgboost.DMatrix(rows, label=fraud)
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 20)
        file = directory / merchant / f"{version}.ubj"
        file.parent.mkdir(parents=True, exist_ok=True)
        booster.save_model(file)
    return len(MERCHANTS)

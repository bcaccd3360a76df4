"""The models that are measured: 200 of 0.1 MB, 12 of 6 MB, 8 of 44 MB; generated once, kept under .build/."""

from pathlib import Path

import numpy as np
import xgboost

FEATURES = 30
COUNTS = {"small": 200, "medium": 12, "large": 8}
_TREES = {"small": 36, "medium": 84, "large": 660}


def generate(root: Path) -> dict[str, list[Path]]:
    """Directories with one `model.ubj` each, by size; models of a size are parts of one long training."""
    directories = {size: [root / size / f"m{number:03d}" for number in range(n)] for size, n in COUNTS.items()}
    if not (root / "complete").exists():
        signal = _train(rounds=_TREES["small"] + COUNTS["small"], depth=5, noise=False)
        noise = _train(rounds=_TREES["large"] + 4 * COUNTS["large"], depth=11, noise=True)
        for size, places in directories.items():
            for number, place in enumerate(places):
                place.mkdir(parents=True, exist_ok=True)
                begin = number if size == "small" else 4 * number
                part = (signal if size == "small" else noise)[begin : begin + _TREES[size]]
                part.save_model(place / "model.ubj")
        (root / "complete").touch()
    return directories


def _train(*, rounds: int, depth: int, noise: bool) -> xgboost.Booster:
    """On noise, trees grow to any size at little cost; their shape is real, their worth none."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((20_000, FEATURES)).astype(np.float32)
    label = random.integers(0, 2, len(rows)) if noise else rows[:, 0] + rows[:, 1] * rows[:, 2] > 0
    data = xgboost.QuantileDMatrix(rows, label.astype(np.float32), max_bin=32)
    parameters = {
        "objective": "binary:logistic", "max_depth": depth, "max_bin": 32, "eta": 0.02 if noise else 0.1,
        "min_child_weight": 0, "lambda": 0.0 if noise else 1.0, "nthread": 2, "colsample_bytree": 0.5,
    }  # fmt: skip
    return xgboost.train(parameters, data, rounds)


def row(seed: int = 0) -> bytes:
    """One csv row."""
    values = np.random.default_rng(seed).standard_normal(FEATURES)
    return ",".join(f"{value:.6f}" for value in values).encode()

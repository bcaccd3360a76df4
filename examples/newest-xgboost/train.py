"""Trains the colleague's model of docs/five-models.md; XGBoost 3.4.1 wrote the other files of this folder.

`python train.py` needs numpy and xgboost alone. It writes 1.ubj, 100 rows and the scores that its own predict gives.
"""

from pathlib import Path

import numpy as np
import xgboost

HERE = Path(__file__).parent

random = np.random.default_rng(34)
rows = random.lognormal(1, 1, (2000, 6)).round(2).astype(np.float32)
rows[random.random(rows.shape) < 0.05] = np.nan
amount = np.exp(0.2 * np.nan_to_num(rows[:, 0]) ** 0.5 + 0.1 * random.standard_normal(2000))
booster = xgboost.train(
    {"objective": "reg:gamma", "max_depth": 4, "eta": 0.2, "nthread": 1}, xgboost.DMatrix(rows, label=amount), 40
)
booster.save_model(HERE / "1.ubj")
np.savetxt(HERE / "rows.csv", rows[:100], delimiter=",", fmt="%.9g")
np.savetxt(HERE / "scores.csv", booster.predict(xgboost.DMatrix(rows[:100])), fmt="%.9g")
print(xgboost.__version__)

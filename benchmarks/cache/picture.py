"""Draw what benchmarks/cache measured onto the curves that the planner predicts.

`python -m benchmarks.cache.picture FIGURES.json docs/cache.svg`
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

from benchmarks.cache.traffic import BURSTINESS, SHAPE
from tierfleet.planning.cache.che import che
from tierfleet.planning.traffic.rates import steady_rates

_COLOURS = dict(zip(BURSTINESS, ("#1f5f99", "#b5521b"), strict=True))
_MARKERS = {(1, False): "o", (2, False): "s", (1, True): "x"}
_WORDS = {(1, False): "one instance", (2, False): "two instances", (1, True): "one instance, injected latencies"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    rcParams["svg.hashsalt"] = "tierfleet"  # the same picture for the same figures
    rows = json.loads(options.figures.read_text())["measured"]
    figure = Figure(figsize=(7.5, 4.4))
    axes = figure.subplots()
    daily = SHAPE.requests_per_day * SHAPE.tenant_shares()
    models = np.geomspace(60, 2600, 60)
    for name, sessions in BURSTINESS.items():
        rates = steady_rates(SHAPE.tenants, daily, sessions=sessions)
        predicted = [100 * che(rates, np.ones(len(SHAPE.tenants)), float(count)).hit_ratio for count in models]
        axes.plot(models, predicted, color=_COLOURS[name], label=f"{name}, planner")
        for kind, marker in _MARKERS.items():
            some = [row for row in rows if row["burstiness"] == name and (row["instances"], row["injected"]) == kind]
            x, y = [row["capacity_models"] for row in some], [100 * row["hit_ratio"] for row in some]
            axes.plot(x, y, marker, color=_COLOURS[name], fillstyle="none", label=f"{name}, {_WORDS[kind]}")
    axes.set(
        xscale="log", ylim=(0, 100), xlabel="models that the endpoint holds in memory, of 4,000", ylabel="hit ratio, %"
    )  # fmt: skip
    axes.set_xticks([100, 250, 500, 1000, 2000], ["100", "250", "500", "1,000", "2,000"], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(options.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()

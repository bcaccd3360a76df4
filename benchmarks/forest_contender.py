"""One contender of benchmarks/forest.py in its own process: `forest_contender.py NAME`, one command per line on stdin.

Commands and answers are JSON. An answer's line begins with `@@`. Times are processor time, of this thread unless stated
otherwise. Each call has a different row.
"""

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "container"))

import numpy as np

BATCH = 512
_ROWS = 2048


class Contender:
    """`load` reads a model file. `one` scores one row and `batch` 512 rows of float32 values."""

    load: Callable[[Path], Any]
    one: Callable[[Any, Any], Any]
    batch: Callable[[Any, Any], Any]


def forest_path(model: Path) -> Path:
    """The flat forest of `.../models/<size>/<name>/model.ubj`. It is elsewhere: a server loads that whole folder."""
    size, name = model.parts[-3:-1]
    return model.parents[3] / "forests" / size / f"{name}.forest"


class Forest(Contender):
    """Flat forests."""

    def __init__(self) -> None:
        import tierfleet_forest

        self.load = lambda path: tierfleet_forest.load(str(forest_path(path)))
        self.one = self.batch = lambda model, rows: model.predict(rows)


class InplacePredict(Contender):
    """XGBoost's Python function, which most servers call."""

    def __init__(self) -> None:
        import xgboost

        def load(path: Path) -> Any:
            return xgboost.Booster({"nthread": 1}, model_file=str(path))

        self.load = load
        self.one = self.batch = lambda model, rows: model.inplace_predict(rows)


class CCall(Contender):
    """XGBoost's C function, called as the dense server calls it."""

    def __init__(self) -> None:
        from tierfleet_server.model import native

        self.load = lambda path: native.Handle(path.read_bytes())
        self.one = lambda model, rows: model.predict_dense_now(rows.ctypes.data, *rows.shape)
        self.batch = lambda model, rows: model.predict_dense(rows.ctypes.data, *rows.shape)


class Treelite(Contender):
    """treelite's general inference library."""

    def __init__(self) -> None:
        import treelite

        self.load = lambda path: treelite.frontend.load_xgboost_model(str(path))
        self.one = self.batch = lambda model, rows: treelite.gtil.predict(model, rows, nthread=1)


class OnnxRuntime(Contender):
    """ONNX Runtime. A model is converted once, which takes minutes for 44 MB."""

    def __init__(self) -> None:
        import onnxruntime

        def load(path: Path) -> Any:
            file = forest_path(path).with_suffix(".onnx")
            if not file.exists():
                _to_onnx(path, file)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        self.load = load
        self.one = self.batch = lambda model, rows: model.run(["probabilities"], {"rows": rows})[0][:, 1]


def _to_onnx(path: Path, file: Path) -> None:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = xgboost.Booster(model_file=str(path))
    shape = FloatTensorType([None, booster.num_features()])
    file.write_bytes(convert_xgboost(booster, initial_types=[("rows", shape)]).SerializeToString())


class OneDal(Contender):
    """oneDAL through daal4py of scikit-learn-intelex."""

    def __init__(self) -> None:
        import xgboost
        from daal4py.mb import convert_model

        def load(path: Path) -> Any:
            return convert_model(xgboost.Booster(model_file=str(path)))

        self.load = load
        self.one = self.batch = lambda model, rows: model.predict_proba(rows)[:, 1]


CONTENDERS = {
    "forest": Forest, "inplace_predict": InplacePredict, "C call": CCall, "treelite": Treelite,
    "ONNX Runtime": OnnxRuntime, "oneDAL": OneDal,
}  # fmt: skip


def pss_mib() -> float:
    """This process's proportional set size, after malloc has returned its free memory to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


class Bench:
    """The loaded models, and the measurements."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.models: list[Any] = []
        self.rows: list[Any] = []

    def load(self, paths: list[str], copies: int, features: int) -> dict[str, float]:
        """Load `copies` models from these files in turn. Returns milliseconds and MiB per model."""
        random = np.random.default_rng(1)
        rows = random.standard_normal((_ROWS, features)).astype(np.float32)
        rows[::7, 3 % features] = np.nan
        self.rows = [np.ascontiguousarray(rows[at : at + 1]) for at in range(_ROWS)]
        self.block = np.ascontiguousarray(rows[:BATCH])
        self.models = []
        first = self.contender.load(Path(paths[0]))
        self.contender.one(first, self.rows[0])
        before, times = pss_mib(), []
        for copy in range(copies):
            started = time.process_time()
            model = self.contender.load(Path(paths[copy % len(paths)]))
            times.append((time.process_time() - started) * 1e3)
            self.contender.one(model, self.rows[copy % _ROWS])
            self.models.append(model)
        return {"ms": float(np.median(times)), "mib": (pss_mib() - before) / copies}

    def reload(self, paths: list[str]) -> dict[str, float]:
        """Milliseconds to load one of these files, again: each is dropped before the next."""
        times = []
        for path in paths:
            started = time.process_time()
            model = self.contender.load(Path(path))
            times.append((time.process_time() - started) * 1e3)
            self.contender.one(model, self.rows[0])
            del model
        return {"ms": float(np.median(times))}

    def one(self, calls: int, copies: int) -> dict[str, float]:
        """Microseconds per call with one row. Each call goes to the next of `copies` models."""
        models, one, rows = self.models[:copies], self.contender.one, self.rows
        for at in range(min(calls, 50)):
            one(models[at % copies], rows[at])
        started = time.thread_time()
        for at in range(calls):
            one(models[at % copies], rows[at % _ROWS])
        return {"us": (time.thread_time() - started) / calls * 1e6}

    def batch(self, calls: int) -> dict[str, float]:
        """Milliseconds per call with 512 rows, of all threads."""
        started = time.process_time()
        for _ in range(calls):
            self.contender.batch(self.models[0], self.block)
        return {"ms": (time.process_time() - started) / calls * 1e3}

    def scores(self) -> list[float]:
        """The scores of 512 rows by the first model."""
        return [float(score) for score in np.asarray(self.contender.batch(self.models[0], self.block)).ravel()]

    def drop(self) -> None:
        """Free the models."""
        self.models = []
        gc.collect()


def main() -> None:
    """Answer until the end of stdin."""
    bench = Bench(CONTENDERS[sys.argv[1]]())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(bench, command.pop("do"))(**command)
        except Exception as error:  # any failure of a peer is its answer
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print("\n@@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""SageMaker's container contract in front of a model of another framework: GET /ping and POST /invocations.

The artefact says the framework: `model.joblib` is a scikit-learn estimator, `model.onnx` runs in ONNX Runtime. The
request is a JSON list of rows as the model takes them, the reply `{"predictions": [{"score": 0.1}, ...]}`.
"""

import json
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DIRECTORY = Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))


def load(directory: Path) -> Callable[[list[Any]], list[float]]:
    """A function from rows to the probabilities of the second class."""
    if (file := directory / "model.onnx").exists():
        import numpy as np
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda rows: session.run(["probabilities"], {name: np.array(rows, np.float32)})[0][:, 1].tolist()
    import joblib

    # A pickle runs code. This one comes from the only folder of the bucket that the tenant's role can read.
    estimator = joblib.load(directory / "model.joblib")
    return lambda rows: estimator.predict_proba(rows)[:, 1].tolist()


class Contract(BaseHTTPRequestHandler):
    """One request; a thread for each connection."""

    protocol_version = "HTTP/1.1"
    score = staticmethod(load(DIRECTORY))

    def do_GET(self) -> None:
        """/ping: the model is loaded."""
        self._answer(200, b"")

    def do_POST(self) -> None:
        """/invocations: 400 says what is wrong with the request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            scores = self.score(json.loads(body))
        except Exception as error:
            self._answer(400, f"{type(error).__name__}: {error}".encode(), "text/plain")
        else:
            self._answer(200, json.dumps({"predictions": [{"score": score} for score in scores]}).encode())

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No line for each request."""


if __name__ == "__main__":
    # SageMaker gives each container of an instance another port. The local emulator wants loopback.
    host, port = os.environ.get("TIERFLEET_BIND_HOST", "0.0.0.0"), int(os.environ.get("SAGEMAKER_BIND_TO_PORT", 8080))  # noqa: S104
    ThreadingHTTPServer((host, port), Contract).serve_forever()

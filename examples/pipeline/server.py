"""SageMaker's container contract in front of the two steps: GET /ping and POST /invocations.

One image serves both stages; the variable STAGE says which one a container is: `features` reads a JSON list of orders
and writes CSV, `decision` reads scores as JSON or CSV and writes a JSON list of decisions.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from steps import Policy, csv, decision, features


def to_features(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Orders become rows of features."""
    if content_type != "application/json":
        raise ValueError(f"content type is {content_type}, allowed: application/json")
    return csv([features(order) for order in json.loads(body)]).encode(), "text/csv"


def to_decisions(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Scores become decisions. A model server answers in JSON or in CSV, as its caller's Accept asks."""
    if content_type == "application/json":
        reply = json.loads(body)
        rows = reply["predictions"] if isinstance(reply, dict) else reply
        scores = [float(row["score"] if isinstance(row, dict) else row) for row in rows]
    else:
        scores = [float(cell) for cell in body.decode().replace(",", "\n").split()]
    policy = Policy(float(os.environ["REVIEW_FROM"]), float(os.environ["REFUSE_FROM"]))
    return json.dumps([decision(score, policy) for score in scores]).encode(), "application/json"


STAGES = {"features": to_features, "decision": to_decisions}


class Contract(BaseHTTPRequestHandler):
    """One stage."""

    protocol_version = "HTTP/1.1"
    stage = staticmethod(STAGES[os.environ["STAGE"]])

    def do_GET(self) -> None:
        """/ping: the server is ready."""
        self._answer(200, b"", "text/plain")

    def do_POST(self) -> None:
        """/invocations: 400 says what is wrong with the request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        content_type = self.headers.get("content-type", "").partition(";")[0].strip()
        try:
            self._answer(200, *self.stage(body, content_type))
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, f"{type(error).__name__}: {error}".encode(), "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No line per request."""


if __name__ == "__main__":
    host = os.environ.get("TIERFLEET_BIND_HOST", "")
    ThreadingHTTPServer((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Contract).serve_forever()

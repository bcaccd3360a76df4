"""The small fleet with a tier of every hosting shape that answers calls, and one tenant that moves between them.

`shop.update(**on("pipeline"))` puts t2 on the pipeline; `on("multi-model")` puts it back on the default tier.
"""

import shlex
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from real_fleet import Fleet
from served_fleet import ROUNDS

from local_cloud.testing.served_account import artefact
from tierfleet.runtime import names
from tierfleet.runtime.hosting import SHAPES

TENANT = "t2"
PIN = f"{TENANT}/1.tar.gz"
# The second model of the multi-container endpoint. No call names it.
OTHER = f"{TENANT}/other-1.tar.gz"
SHARED_PIPELINE = "pipeline with a multi-model stage"
ANSWERING = (*(word for word, shape in SHAPES.items() if shape.request_response), SHARED_PIPELINE)
"""Every hosting that answers calls; a pipeline is one or the other thing to its callers."""
STEP = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/step:1"
# A stage that answers with its request, so that the row reaches the model as it was sent.
_STEP_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Step(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.answer(b"")
    def do_POST(self): self.answer(self.rfile.read(int(self.headers["content-length"])))
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", self.headers.get("content-type", "text/plain"))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Step).serve_forever()
"""
_ONE = {"instances": {"min": 1, "initial": 1, "max": 2}}
_INSTANCES = {**_ONE, "instance_type": "ml.m5.large", "scaling": {"max_requests_per_second": 100}}
# The shortest waits that a guardrail may have, on one instance.
_GUARDRAIL = {"type": "ALL_AT_ONCE", "termination_wait_in_seconds": 60}
_STOCK = {"image": "sagemaker-xgboost", "version": "1.7-1"}


def image_commands(directory: Path) -> dict[str, str]:
    """What the local emulator runs for the pipeline's first stage."""
    server = directory / "step.py"
    server.write_text(_STEP_SERVER)
    return {STEP: f"{shlex.join([sys.executable, str(server)])} {{port}}"}


def publish_other(shop: Fleet) -> None:
    """Upload the second model of the multi-container endpoint. It is not published: no pointer may name it."""
    bucket = names.models_bucket("shop", "test", shop.account.id, "eu-west-1")
    shop.account.client("s3").put_object(Bucket=bucket, Key=f"models/{OTHER}", Body=artefact(ROUNDS["t2/2"]))


def on(hosting: str, among: Collection[str] = ANSWERING) -> dict[str, Any]:
    """Changes of the small fleet: a tier of every hosting of `among`, with t2 on the tier of this one."""
    tiers = {name: table(hosting == word) for word, (name, table) in _TIERS.items() if word in among}
    return {
        "network_isolation": False,
        "probe": {"body": "0.5,0.5"},
        "routes": {"ttl_seconds": 15},
        "tiers": {"tail": {**_ONE, "warm_up": {"tenants": ["t1"]}}, **tiers},
    }


def tier_of(hosting: str) -> str | None:
    """The tier in the routes of t2; None for the default one, which lists no tenant."""
    return _TIERS[hosting][0] if hosting in _TIERS else None


def _dedicated(is_here: bool) -> dict[str, Any]:
    tenants = {"w1": {"model": "w1/2027-01-01.tar.gz"}, **({TENANT: {"model": PIN}} if is_here else {})}
    return {**_ONE, "guardrail": _GUARDRAIL, "tenants": tenants}


def _serverless(is_here: bool) -> dict[str, Any]:
    return {
        "hosting": "serverless",
        "memory_size_in_mb": 1024,
        "max_concurrency": 8,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "tenants": {TENANT: {"model": PIN}} if is_here else {},
    }


def _multi_container(is_here: bool) -> dict[str, Any]:
    containers = [{"hostname": "main", **_STOCK, "model": PIN}, {"hostname": "other", **_STOCK, "model": OTHER}]
    return {
        **_INSTANCES,
        "hosting": "multi-container",
        "guardrail": _GUARDRAIL,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "tenants": {TENANT: {"primary": "main", "containers": containers}} if is_here else {},
    }


def _pipeline(is_here: bool) -> dict[str, Any]:
    return {
        **_INSTANCES,
        "hosting": "pipeline",
        "guardrail": _GUARDRAIL,
        "alarms": {"max_model_latency_p99_milliseconds": 500},
        "stages": [{"name": "step", "image": STEP}, {"name": "score", **_STOCK, "model": "tenant"}],
        "tenants": {TENANT: {"model": PIN}} if is_here else {},
    }


def _shared_pipeline(is_here: bool) -> dict[str, Any]:
    stages = [{"name": "step", "image": STEP}, {"name": "score", **_STOCK, "mode": "MultiModel"}]
    return {**_pipeline(False), "stages": stages, "tenants": {TENANT: {}} if is_here else {}}


_TIERS: Mapping[str, tuple[str, Callable[[bool], dict[str, Any]]]] = {
    "dedicated": ("whale", _dedicated),
    "multi-container": ("trio", _multi_container),
    "pipeline": ("decided", _pipeline),
    SHARED_PIPELINE: ("together", _shared_pipeline),
    "serverless": ("rare", _serverless),
}
"""Name and table of the tier of each shape but the default tier; the table is told whether t2 is there."""

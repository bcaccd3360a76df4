"""What InvokeEndpoint's front in the local emulator costs: `python -m benchmarks.invoke_front [--seconds 5]`

It needs wrk.

The emulator's own front, answering a constant, against the data plane, answering a model, at rest and while stacks of
150 alarms come and go; and the same model asked directly, which is what the front adds to. docs/adr/0021 has a run.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud import LocalCloud, start
from local_cloud.data_plane.instances.model_cache import container_name
from local_cloud.testing.account import Account
from local_cloud.testing.fleet_template import alarm
from local_cloud.testing.served_account import ROW, Served

ACCOUNT, OTHER_ACCOUNT, MODEL = "100000000001", "200000000002", "m01.tar.gz"
_ALARMS = 150
_SCRIPT = f"""
wrk.method, wrk.body = "POST", "{ROW.decode()}"
wrk.headers["Content-Type"] = "text/csv"
wrk.headers["X-Amzn-SageMaker-Target-Model"] = "{MODEL}"
wrk.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential={ACCOUNT}/20270101/eu-west-1/sagemaker/aws4_request"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("\\n%f %f %f %d\\n", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """Requests per second, milliseconds, failed requests."""

    per_second: float
    p50: float
    p99: float
    errors: int

    def __str__(self) -> str:
        return f"{self.per_second:6.0f} requests/s, p50 {self.p50:.2f} ms, p99 {self.p99:.1f} ms, {self.errors} errors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    seconds = parser.parse_args().seconds
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs wrk (in Debian: apt-get install wrk)")
    modes: dict[str, dict[str, Any]] = {"constant": {}, "models": {"serving": "models"}}
    for name, options in modes.items():
        with tempfile.TemporaryDirectory() as scratch, start(Path(scratch) / "s", account=ACCOUNT, **options) as cloud:
            script = Path(scratch) / "wrk.lua"
            script.write_text(_SCRIPT)
            served = Served(Account(cloud, ACCOUNT))
            served.publish(m01=20)
            served.config("tail")
            served.create("tail", "tail")
            served.invoke("tail", "m01")
            front = f"{cloud.endpoint_url}/endpoints/tail/invocations"
            for connections in (1, 8):
                if name == "models":
                    direct = f"http://127.0.0.1:{served.instances('tail')[0]['port']}/models/{container_name(MODEL)}"
                    report("model, directly", connections, wrk(f"{direct}/invoke", script, connections, seconds))
                report(f"{name}, at rest", connections, wrk(front, script, connections, seconds))
                with stacks_that_come_and_go(cloud):
                    report(f"{name}, with stacks", connections, wrk(front, script, connections, seconds))


def report(what: str, connections: int, load: Load) -> None:
    print(f"{what:<22} c={connections}  {load}  (load average {os.getloadavg()[0]:.1f})", flush=True)


def wrk(url: str, script: Path, connections: int, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    per_second, p50, p99, errors = done.stdout.strip().splitlines()[-1].split()
    return Load(float(per_second), float(p50), float(p99), int(errors))


@contextlib.contextmanager
def stacks_that_come_and_go(cloud: LocalCloud) -> Iterator[None]:
    """Another account's stack is created and destroyed over and over meanwhile."""
    account, ended = Account(cloud, OTHER_ACCOUNT), threading.Event()
    template = {"Resources": {f"A{n}": alarm(f"alarm-{n}", "Test", "Slow", Tenant=f"t{n}") for n in range(_ALARMS)}}

    def work() -> None:
        while not ended.is_set():
            account.deploy(template)
            account.destroy()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


if __name__ == "__main__":
    main()

"""What a backfill does to the calls of others, and what a kill costs it: 200,000 rows of one tenant of a shared tier.

    python -m benchmarks.backfill [--rows N] [--json]

fraud-dev on the local emulator with trained models. Other tenants of the multi-model tier are called at a steady rate
throughout, timed from the moment a call was due. `tierfleet batch` scores the file, is killed half way and is started
again.

Bars: the others' p99 during the backfill is at most 1.5 of that at rest, before and after it, in the same run; none of
their calls fails; the output has every row once, in order, with the score that XGBoost gives it here. Exits 1 if a bar
is missed.
"""

import argparse
import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost

from local_cloud import LocalCloud, running
from local_cloud.testing.fleets import ROOT
from tierfleet.batch.run_state import journal_path
from tierfleet.config import FleetConfig, load
from tierfleet.models.sample_models import VERSION as SAMPLE_VERSION
from tierfleet.models.sample_models import probe_features, train_sample_models
from tierfleet.runtime import clients
from tierfleet.runtime.client import CallError, ClientSettings, FleetClient
from tierfleet.runtime.client.batch import percentile
from tierfleet.runtime.names import models_bucket

MOST_P99_OVER_REST: Final = 1.5
FILE: Final = "fraud-dev.toml"
CALLS_PER_SECOND: Final = 20.0
OTHERS: Final = 8
REST_SECONDS: Final = 45.0
SETTLE_SECONDS: Final = 10.0
COMMAND: Final = str(Path(sys.executable).parent / "tierfleet")


class Others:
    """Calls of other tenants at a steady rate, each with its time and duration, from `with` to its end."""

    def __init__(self, client: FleetClient, tenants: list[str], body: bytes) -> None:
        self.seen: list[tuple[float, float]] = []
        """When a call was due, and its seconds from then on."""
        self.failed: list[str] = []
        self._client, self._tenants, self._body = client, itertools.cycle(tenants), body
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Others":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> list[float]:
        """Durations of the calls that were due in this time, ascending, in milliseconds."""
        return sorted(seconds * 1000 for due, seconds in self.seen if begin <= due < end)

    def _run(self) -> None:
        due = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                pool.submit(self._call, next(self._tenants), due)
                due += 1 / CALLS_PER_SECOND

    def _call(self, tenant: str, due: float) -> None:
        try:
            self._client.invoke(tenant, self._body)
        except CallError as error:
            self.failed.append(str(error))
        self.seen.append((due, time.monotonic() - due))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        result = run(Path(directory), arguments.rows)
    print(json.dumps(result, indent=1) if arguments.json else table(result))
    return 0 if all(result["bars"].values()) else 1


def run(directory: Path, rows: int) -> dict[str, Any]:
    shutil.copy(ROOT / "config" / FILE, directory)
    _tierfleet(directory, "local", "up", FILE, "--deploy", "--sample-models")
    cloud, fleet = running(directory / ".local-cloud"), load(directory / FILE)
    try:
        return measured(cloud, fleet, directory, rows)
    finally:
        cloud.stop()


def measured(cloud: LocalCloud, fleet: FleetConfig, directory: Path, rows: int) -> dict[str, Any]:
    session = cloud.session(fleet.account, region=fleet.region)
    aws = clients.calling_clients(
        session=session, region=fleet.region, read_timeout_seconds=70, connections=32, endpoint_url=cloud.endpoint_url
    )
    tenant, *others = _shared_tenants(cloud, fleet)
    table = np.random.default_rng(7).normal(size=(rows, probe_features(fleet.probe))).astype(np.float32)
    file, out = directory / "rows.csv", directory / "scores.csv"
    np.savetxt(file, table, fmt="%.9g", delimiter=",")
    client = FleetClient(
        fleet.fleet, fleet.environment, account=fleet.account, session=session, aws=aws, emit=lambda _: None,
        settings=ClientSettings(connections=32),
    )  # fmt: skip
    with client, Others(client, others[:OTHERS], fleet.probe.body.encode()) as live:
        time.sleep(SETTLE_SECONDS)
        started = time.monotonic()
        time.sleep(REST_SECONDS)
        begun = time.monotonic()
        command = [COMMAND, "batch", tenant, str(file), "-o", str(out), "--local", "--json"]
        killed_rows = _killed_half_way(command, directory, out, rows)
        summary = json.loads(_tierfleet(directory, *command[1:]))
        ended = time.monotonic()
        time.sleep(REST_SECONDS)
        finished = time.monotonic()
    aws.close()
    rest = sorted([*live.between(started, begun), *live.between(ended, finished)])
    during = live.between(begun, ended)
    p99_at_rest, p99_during = (percentile(part, 0.99) or 0.0 for part in (rest, during))
    exact = _every_row_once(out, expected_scores(fleet, tenant, table, directory / "trained"))
    return {
        "rows": rows,
        "backfill_seconds": round(ended - begun, 1),
        "rows_per_second": round(rows / (ended - begun)),
        "rows_before_the_kill": killed_rows,
        "resumed_rows": summary["resumed_rows"],
        "others": {
            "calls": len(live.seen),
            "failed": len(live.failed),
            "p50_at_rest_milliseconds": round(percentile(rest, 0.5) or 0.0, 1),
            "p50_during_milliseconds": round(percentile(during, 0.5) or 0.0, 1),
            "p99_at_rest_milliseconds": round(p99_at_rest, 1),
            "p99_during_milliseconds": round(p99_during, 1),
            "ratio": round(p99_during / p99_at_rest, 2),
        },
        "bars": {
            f"others' p99 at most {MOST_P99_OVER_REST} of that at rest": p99_during <= MOST_P99_OVER_REST * p99_at_rest,
            "no call of others failed": not live.failed,
            "killed half way, and resumed from there": 0 < summary["resumed_rows"] < rows,
            "every row once, in order, with its score": exact,
        },
    }


def expected_scores(fleet: FleetConfig, tenant: str, table: Any, directory: Path) -> Any:
    """What XGBoost makes of the rows with the tenant's sample model, which is the same however often it is trained."""
    train_sample_models(fleet, directory)
    booster = xgboost.Booster(model_file=directory / tenant / f"{SAMPLE_VERSION}.ubj")
    return booster.predict(xgboost.DMatrix(table))


def _every_row_once(out: Path, expected: Any) -> bool:
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    numbers = [int(line["row"]) for line in lines]
    scores = np.array([float(line["score"]) for line in lines])
    return numbers == list(range(1, len(expected) + 1)) and bool(np.allclose(scores, expected, atol=1e-5))


def _shared_tenants(cloud: LocalCloud, fleet: FleetConfig) -> list[str]:
    """Published tenants of the default tier."""
    from tierfleet.local.drive import published_tenants

    s3 = cloud.client("s3", fleet.account, region=fleet.region)
    own = {tenant for tier in fleet.tenant_endpoint_tiers.values() for tenant in tier.tenants}
    bucket = models_bucket(fleet.fleet, fleet.environment, fleet.account, fleet.region)
    return [tenant for tenant in published_tenants(s3, bucket) if tenant not in own]


def _killed_half_way(command: list[str], directory: Path, out: Path, rows: int) -> int:
    """Start the backfill, and kill it once half of the rows have their score; how many had."""
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, env=os.environ.copy())
    scored = 0
    journal = journal_path(out)
    while process.poll() is None:
        time.sleep(0.5)
        if journal.exists():
            scored = sum(len(json.loads(line)["results"]) for line in _whole_lines(journal))
        if scored >= rows / 2:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return scored


def _whole_lines(journal: Path) -> list[bytes]:
    return [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _tierfleet(directory: Path, *arguments: str) -> str:
    done = subprocess.run([COMMAND, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"tierfleet {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def table(result: dict[str, Any]) -> str:
    others = result["others"]
    rate, before, resumed = result["rows_per_second"], result["rows_before_the_kill"], result["resumed_rows"]
    lines = [
        f"{result['rows']:,} rows in {result['backfill_seconds']:g} s ({rate:,} rows/s)",
        f"killed at {before:,} rows, resumed from {resumed:,}",
        f"others: {others['calls']:,} calls, {others['failed']} failed",
        f"  p50 {others['p50_at_rest_milliseconds']} ms at rest, {others['p50_during_milliseconds']} ms during it",
        f"  p99 {others['p99_at_rest_milliseconds']} ms at rest, {others['p99_during_milliseconds']} ms during it",
        f"  ratio of the p99: {others['ratio']}",
        *(f"{'ok  ' if holds else 'FAIL'} {bar}" for bar, holds in result["bars"].items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""How fast models are validated, published, listed and collected: many tiny models into the local emulator on loopback.

The local emulator answers in one Python process on the same machine, and S3 itself is not the limit there.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import xgboost
from tierfleet_server.publishing.packaging import package_model

from local_cloud import LocalCloud, start
from local_cloud.host.cdk_cli import environment
from local_cloud.testing.fleets import fleet
from tierfleet.models.collection.delete import delete_garbage
from tierfleet.models.collection.find import find_garbage
from tierfleet.models.files import ModelFile, every_model
from tierfleet.models.listing import list_models
from tierfleet.models.package import package_file
from tierfleet.models.publish_many import publish_all
from tierfleet.models.references import Deployed
from tierfleet.models.validation.validate import validate
from tierfleet.runtime.clients import s3_client
from tierfleet.runtime.names import models_bucket


def main() -> None:
    """Print a table, or JSON; there is no bar to pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = train(Path(scratch) / "models", arguments.models)
        with start(Path(scratch) / "cloud") as cloud:
            rows = measure(cloud, models, arguments.jobs)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for name, row in rows.items():
        took = f"{row['seconds']:>7.2f} s  {row['per_second']:>6.0f}/s  {row['processor_seconds']:>6.2f} s of processor"
        print(f"{name:<32} {took}  {row['s3_calls']:>6} calls of S3")


def train(directory: Path, count: int) -> list[ModelFile]:
    """The same small real model for each tenant, packaged."""
    rows = np.random.default_rng(7).standard_normal((200, 3)).astype(np.float32)
    data = xgboost.DMatrix(rows, label=rows[:, 0] > 0)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, data, 10)
    model = bytes(booster.save_raw("ubj"))
    archive, _ = package_model(model)
    (directory / "raw").mkdir(parents=True)
    (directory / "raw" / "1.ubj").write_bytes(model)
    for number in range(count):
        file = directory / f"t{number:04d}" / "1.tar.gz"
        file.parent.mkdir(parents=True)
        file.write_bytes(archive)
    return [model for model in every_model([directory]) if model.packaged]


def measure(cloud: LocalCloud, models: list[ModelFile], jobs: int) -> dict[str, dict[str, float]]:
    """Seconds, models a second, this process's processor seconds and calls of S3 of each step."""
    config = fleet(account="100000000001")
    os.environ.update(environment(cloud, config.account))
    bucket = models_bucket(config.fleet, config.environment, config.account, config.region)
    session = boto3.Session(region_name=config.region)
    s3 = s3_client(connections=max(jobs, 32), session=session)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    calls = 0

    def count(**_: object) -> None:
        nonlocal calls
        calls += 1

    s3.meta.events.register("before-send.s3", count)
    table: dict[str, dict[str, float]] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        before, started, processor = calls, time.perf_counter(), time.process_time()
        result = step()
        seconds = time.perf_counter() - started
        table[name] = {
            "seconds": seconds,
            "per_second": len(models) / seconds,
            "processor_seconds": time.process_time() - processor,
            "s3_calls": calls - before,
        }
        return result

    def published() -> set[str]:
        return {item.status for item in publish_all(s3, bucket=bucket, models=models, jobs=jobs)}

    raw = models[0].file.parent.parent / "raw" / "1.ubj"
    timed("package, compared", lambda: [package_file(ModelFile("raw", "1", raw)) for _ in models])
    validated = timed("validate", lambda: validate(models, fleet=config))
    assert all(item.ok for item in validated)
    assert timed(f"publish, {jobs} at once", published) == {"published"}
    assert timed("publish again, nothing to do", published) == {"unchanged"}
    listing = timed("list", lambda: list_models(s3, bucket=bucket, fleet=config))
    assert len(listing.rows) >= len(models)
    for pointer_key in [f"catalog/{model.tenant}.json" for model in models[: len(models) // 10]]:
        s3.delete_object(Bucket=bucket, Key=pointer_key)
    now = datetime.now(UTC) + timedelta(days=2)
    keywords: dict[str, Any] = {"bucket": bucket, "now": now}
    collection, held = timed("gc, dry run", lambda: find_garbage(s3, pins={}, deployed=Deployed(), **keywords))
    timed("gc --delete of a tenth", lambda: delete_garbage(s3, collection, held, look_again=Deployed, **keywords))
    assert len(collection.of("deleted")) == len(models) // 10
    return table


if __name__ == "__main__":
    main()

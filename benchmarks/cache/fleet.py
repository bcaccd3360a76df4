"""The endpoints: real model servers in the local emulator, at a scale that makes an instance hold so many models."""

import contextlib
import http.client
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.cache.models import Models
from benchmarks.cache.simulation import Instance
from benchmarks.cache.traffic import authorisation
from local_cloud import LocalCloud, start
from tierfleet.instance_types import describe

ACCOUNT = "111122223333"
_BUCKET = "models-cache"
_ROLE = f"arn:aws:iam::{ACCOUNT}:role/sagemaker-execution"
_IMAGE = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/tierfleet-server:1"
_VARIANT = "AllTraffic"
# Of the type's memory, for models; docs/local-cloud.md.
MODELS_SHARE_OF_MEMORY = 0.9
# How many more models the disk holds than the memory.
DISK_TO_MEMORY = 1.25
_LIMIT_SECONDS = 120.0


@dataclass(frozen=True)
class Size:
    """So much memory for models, on one instance or split over two; `models` is what it is worth."""

    models: int
    one: str
    two: str

    def types(self, instances: int) -> str:
        return self.one if instances == 1 else self.two


SIZES = (
    Size(125, "ml.m6i.large", "ml.c6i.large"),
    Size(250, "ml.m6i.xlarge", "ml.m6i.large"),
    Size(500, "ml.m6i.2xlarge", "ml.m6i.xlarge"),
    Size(1000, "ml.m6i.4xlarge", "ml.m6i.2xlarge"),
    Size(2000, "ml.m6i.8xlarge", "ml.m6i.4xlarge"),
)


def mean_resident_bytes(models: Models) -> float:
    return sum(kind.sizes.resident_bytes for kind in models.kinds) / len(models.kinds)


def mean_file_bytes(models: Models) -> float:
    return sum(kind.sizes.file_bytes for kind in models.kinds) / len(models.kinds)


def scale(models: Models) -> float:
    """At which the biggest size holds its number of models."""
    biggest = SIZES[-1]
    memory_bytes = describe(biggest.one).memory_gib * 2**30 * MODELS_SHARE_OF_MEMORY
    return biggest.models * mean_resident_bytes(models) / memory_bytes


@dataclass(frozen=True)
class Counted:
    """Of an endpoint since it began: by the instances' own counters, and by the metric."""

    requests: int
    hits: int
    from_disk: int
    from_s3: int
    refusals: int
    metric_hits: float
    metric_requests: float

    def since(self, before: "Counted") -> "Counted":
        return Counted(*(now - then for now, then in zip(vars(self).values(), vars(before).values(), strict=True)))


class Stand:
    """A running emulator with the models in its S3."""

    def __init__(self, cloud: LocalCloud, models: Models) -> None:
        self.cloud, self.models = cloud, models
        self.port = int(cloud.endpoint_url.rsplit(":", 1)[1])
        self.sagemaker, self._cloudwatch = cloud.client("sagemaker"), cloud.client("cloudwatch")

    def publish(self, tenants: list[str]) -> None:
        """Upload each tenant's artefact, without boto3's cost."""
        self.cloud.client("s3").create_bucket(
            Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": self.cloud.region}
        )
        headers = {"authorization": authorisation(ACCOUNT, "s3") + ", Signature=0"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            for tenant in tenants:
                path = f"/{_BUCKET}/models/{tenant}.tar.gz"
                connection.request("PUT", path, self.models.of(tenant).packed, headers)
                reply = connection.getresponse()
                reply.read()
                if reply.status != 200:
                    raise RuntimeError(f"PUT {path}: {reply.status}")

    def create(self, endpoint: str, instance_type: str, instances: int) -> None:
        """Begin a multi-model endpoint; its disk holds `DISK_TO_MEMORY` as many models as its memory."""
        file_share = mean_file_bytes(self.models) / mean_resident_bytes(self.models)
        volume_gib = describe(instance_type).memory_gib * MODELS_SHARE_OF_MEMORY * DISK_TO_MEMORY * file_share
        self.sagemaker.create_model(
            ModelName=endpoint,
            ExecutionRoleArn=_ROLE,
            PrimaryContainer={"Image": _IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{_BUCKET}/models/"},
        )
        variant = {
            "VariantName": _VARIANT, "ModelName": endpoint, "InstanceType": instance_type,
            "InitialInstanceCount": instances, "VolumeSizeInGB": max(1, round(volume_gib)),
        }  # fmt: skip
        self.sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)

    def wait(self, endpoint: str) -> None:
        """Until the endpoint is in service."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while (now := self.sagemaker.describe_endpoint(EndpointName=endpoint))["EndpointStatus"] != "InService":
            if now["EndpointStatus"] == "Failed" or time.monotonic() > deadline:
                raise RuntimeError(f"{endpoint} is {now['EndpointStatus']}: {now.get('FailureReason', '')}")
            time.sleep(0.1)

    def delete(self, endpoint: str) -> None:
        """Delete the endpoint and wait until its processes have ended."""
        self.sagemaker.delete_endpoint(EndpointName=endpoint)
        deadline = time.monotonic() + _LIMIT_SECONDS
        while self.rows(endpoint):
            if time.monotonic() > deadline:
                raise RuntimeError(f"instances of {endpoint} do not end")
            time.sleep(0.1)

    def rows(self, endpoint: str) -> list[dict[str, Any]]:
        """Its instances, as the emulator describes them."""
        return [row for row in self.cloud.admin("instances") if row["endpoint"] == endpoint]

    def simulated(self, endpoint: str) -> list[Instance]:
        """Empty instances of the same budgets."""
        return [
            Instance(
                row["instance"],
                row["memory_budget_mib"] * 2**20,
                row["disk_budget_bytes"],
                self.models.fixed_bytes,
                self.models.load_factor,
            )
            for row in self.rows(endpoint)
        ]

    def counted(self, endpoint: str, requests: int) -> Counted:
        """What was counted; waits until the metric has all `requests` that were sent since the endpoint began."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while (metric := self._metric(endpoint))[1] < requests and time.monotonic() < deadline:
            time.sleep(0.5)
        rows = [row["counters"] for row in self.rows(endpoint)]
        served, hits, from_disk, from_s3, refusals = (
            sum(row[key] for row in rows)
            for key in ("requests", "hits", "disk_hits", "downloads", "refusals_for_memory")
        )
        return Counted(served, hits, from_disk, from_s3, refusals, *metric)

    def _metric(self, endpoint: str) -> tuple[float, float]:
        """ModelCacheHit through CloudWatch: its sum and its number of samples."""
        now = datetime.fromtimestamp(float(self.cloud.admin("clock")["now"]), UTC)
        points = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="ModelCacheHit",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": _VARIANT}],
            StartTime=now - timedelta(hours=6),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points), sum(point["SampleCount"] for point in points)


@contextlib.contextmanager
def stand(models: Models, tenants: list[str], **settings: Any) -> Iterator[Stand]:
    """A local emulator with the tenants' models published."""
    with (
        tempfile.TemporaryDirectory(prefix="tierfleet-cache-") as directory,
        start(Path(directory), account=ACCOUNT, serving="models", **settings) as cloud,
    ):
        running = Stand(cloud, models)
        running.publish(tenants)
        yield running

"""An account whose endpoints really serve: small models of two features whose score tells which model it was."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost
from tierfleet_server.model.archive import pack

from local_cloud.testing.account import Account

ROLE = "arn:aws:iam::111122223333:role/sagemaker-execution"
IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/tierfleet-server:1"
ROW = b"0.5,0.5"
_LIMIT_SECONDS = 120.0
_RETRIES = "retry-config-sagemaker-runtime"


@functools.cache
def _booster(rounds: int) -> xgboost.Booster:
    random = np.random.default_rng(rounds)
    rows = random.standard_normal((200, 2)).astype(np.float32)
    data = xgboost.DMatrix(rows, label=rows[:, 0] * rows[:, 1])
    parameters = {"objective": "reg:squarederror", "max_depth": 4, "nthread": 1, "base_score": 0.0, "verbosity": 0}
    return xgboost.train(parameters, data, rounds)


@functools.cache
def artefact(rounds: int) -> bytes:
    """A packed model; each number of rounds is another model with another score of `ROW`."""
    return pack({"xgboost-model": bytes(_booster(rounds).save_raw("ubj"))})


@functools.cache
def score(rounds: int) -> float:
    """What that model makes of `ROW`."""
    row = np.array([[0.5, 0.5]], dtype=np.float32)
    return float(_booster(rounds).predict(xgboost.DMatrix(row))[0])


class Served:
    """Endpoints of one account and what they answer."""

    def __init__(self, account: Account) -> None:
        self.account, self.cloud = account, account.cloud
        self.sagemaker = account.client("sagemaker")
        self.runtime = account.client("sagemaker-runtime")
        # Errors as they come, where botocore would hide some behind retries.
        self.runtime.meta.events.unregister("needs-retry.sagemaker-runtime", unique_id=_RETRIES)

    def publish(self, **models: int) -> None:
        """`m01=3` uploads the model of three rounds as m01.tar.gz."""
        for name, rounds in models.items():
            self.account.upload(f"models/{name}.tar.gz", artefact(rounds))

    def config(self, name: str, key: str = "", *, instances: int = 1, role: str = ROLE, **container: Any) -> None:
        """A configuration of a multi-model endpoint, or of a dedicated one over `models/<key>`."""
        mode = {} if key else {"Mode": "MultiModel"}
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=role,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://{self.account.bucket}/models/{key}",
                **mode,
                **container,
            },
        )
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large"}
        variant |= {"InitialInstanceCount": instances}  # type: ignore[dict-item]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def create(self, endpoint: str, config: str) -> None:
        self.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        assert self.settled(endpoint)["EndpointStatus"] == "InService", self.describe(endpoint)

    def describe(self, endpoint: str) -> Any:
        return self.sagemaker.describe_endpoint(EndpointName=endpoint)

    def settled(self, endpoint: str) -> Any:
        self.wait_for(lambda: self.describe(endpoint)["EndpointStatus"] in ("InService", "Failed"))
        return self.describe(endpoint)

    def invoke(self, endpoint: str, model: str | None = None, body: bytes = ROW, **request: Any) -> Any:
        target = {"TargetModel": f"{model}.tar.gz"} if model else {}
        return self.runtime.invoke_endpoint(
            EndpointName=endpoint, Body=body, ContentType="text/csv", **target, **request
        )

    def score(self, endpoint: str, model: str | None = None, **request: Any) -> float:
        return float(self.invoke(endpoint, model, **request)["Body"].read())

    def instances(self, endpoint: str) -> list[dict[str, Any]]:
        rows = self.cloud.admin("instances")
        return [row for row in rows if (row["account"], row["endpoint"]) == (self.account.id, endpoint)]

    def counters(self, endpoint: str) -> dict[str, Any]:
        (instance,) = self.instances(endpoint)
        counters: dict[str, Any] = instance["counters"]
        return counters

    def delete_all(self) -> None:
        for endpoint in self.sagemaker.list_endpoints()["Endpoints"]:
            if endpoint["EndpointStatus"] != "Deleting":
                self.settled(endpoint["EndpointName"])
                self.sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])

    def faults(self, **faults: Any) -> Any:
        return self.cloud.admin("faults", faults)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, json.dumps(self.cloud.admin("instances"), indent=1)
            time.sleep(0.02)

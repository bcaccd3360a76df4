"""The fleet of the bench: fraud-dev's, at the moments of its moves, with models that all predict differently."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost

from benchmarks.deployed_fleet import bucket_of
from benchmarks.traffic.traffic import Tenant
from local_cloud import LocalCloud
from tierfleet.config import FleetConfig, load
from tierfleet.models.files import ModelFile
from tierfleet.models.package import package_file
from tierfleet.models.publish import publish
from tierfleet.runtime.names import MODELS_PREFIX

ROOT: Final = Path(__file__).resolve().parents[2]
TENANTS: Final = tuple(f"m{number:02d}" for number in range(1, 71))
WHALES: Final = ("m01", "m04")
FEATURES: Final = 10
ROWS: Final = 4
V1, V2, BROKEN = "v1", "v2", "broken"
# The fraud fleet's own split of its calls: the merchants big enough for endpoints of their own, those with traffic in
# business hours, the occasional ones.
BIG: Final = ("m01", "m04", "m07", "m12", "m18")
BIG_SHARE, USUAL_SHARE, OCCASIONAL_SHARE = 0.80, 0.19, 0.01
OCCASIONAL: Final = TENANTS[55:]


@dataclass(frozen=True)
class Model:
    """One version of one tenant's model: its file, and what it makes of each of `bodies()`."""

    tenant: str
    version: str
    file: Path

    @cached_property
    def archive(self) -> bytes:
        return package_file(ModelFile(self.tenant, self.version, self.file))

    @cached_property
    def predictions(self) -> tuple[tuple[float, ...], ...]:
        booster = xgboost.Booster(model_file=self.file)
        scores = booster.predict(xgboost.DMatrix(_rows()))
        return tuple((float(score),) for score in scores)


def train(directory: Path, versions: Mapping[str, tuple[str, ...]]) -> list[Model]:
    """A model of 100 trees for each tenant and version, each with a rule of its own."""
    models = []
    for tenant, names in versions.items():
        for name in names:
            draw = np.random.default_rng([TENANTS.index(tenant), (V1, V2).index(name)])
            rows = draw.standard_normal((400, FEATURES)).astype(np.float32)
            fraud = (rows @ draw.standard_normal(FEATURES) > 1).astype(np.float32)
            parameters = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}
            booster = xgboost.train(parameters, xgboost.DMatrix(rows, label=fraud), 100)
            file = directory / tenant / f"{name}.ubj"
            file.parent.mkdir(parents=True, exist_ok=True)
            booster.save_model(file)
            models.append(Model(tenant, name, file))
    return models


def publish_models(cloud: LocalCloud, config: FleetConfig, models: list[Model]) -> None:
    """Each first version becomes current, each second one is there to be pinned; and one artefact that is none."""
    s3, bucket = cloud.client("s3", config.account, region=config.region), bucket_of(config)
    for model in models:
        if model.version == V1:
            publish(s3, bucket=bucket, tenant=model.tenant, version=V1, archive=model.archive)
        else:
            s3.put_object(Bucket=bucket, Key=f"{MODELS_PREFIX}{model.tenant}/{V2}.tar.gz", Body=model.archive)
    s3.put_object(Bucket=bucket, Key=f"{MODELS_PREFIX}m08/{BROKEN}.tar.gz", Body=b"no archive")


def make_current(cloud: LocalCloud, config: FleetConfig, model: Model) -> None:
    """Publish a version: callers of the multi-model endpoint use it by themselves."""
    s3 = cloud.client("s3", config.account, region=config.region)
    publish(s3, bucket=bucket_of(config), tenant=model.tenant, version=model.version, archive=model.archive)


def traffic_of(models: list[Model]) -> tuple[Tenant, ...]:
    """Fraud's tenants as callers see them."""
    by_tenant: dict[str, list[Model]] = {tenant: [] for tenant in TENANTS}
    for model in models:
        by_tenant[model.tenant].append(model)
    return tuple(
        Tenant(
            name=tenant,
            weight=_weight(tenant),
            bodies=bodies(),
            versions=(V1,),
            expected={model.version: model.predictions for model in models},
        )
        for tenant, models in by_tenant.items()
    )


def bodies() -> tuple[str, ...]:
    return tuple(",".join(repr(float(value)) for value in row) for row in _rows())


def fleet(
    *,
    pins: Mapping[str, str],
    tail_instance_type: str = "ml.m5.large",
    whale_instance_type: str = "ml.m5.large",
    tail_volume_size_in_gb: int | None = None,
) -> FleetConfig:
    """fraud-dev with these whales (tenant to version), production's warm-up list, and bounds that nothing scales past.

    A whale's update keeps the old instances for 15 s, not 60, and is taken back above 5 s, not 50 ms: a laptop's two
    cores run all instances and all callers here, and a busy laptop is no slow version.
    """
    document: dict[str, Any] = load(ROOT / "config" / "fraud-dev.toml").model_dump(mode="json", exclude_none=True)
    production = load(ROOT / "config" / "fraud-prod.toml").model_dump(mode="json", exclude_none=True)["tiers"]["tail"]
    tail, whale = document["tiers"]["tail"], document["tiers"]["whale"]
    one = {"min": 1, "max": 1, "initial": 1}
    tail |= {"instance_type": tail_instance_type, "instances": one, "volume_size_in_gb": tail_volume_size_in_gb}
    tail |= {name: production[name] for name in ("models_per_instance", "warm_up")}
    tail["scaling"] = production["scaling"]
    tail["warm_up"]["tenants"] = [tenant for tenant in tail["warm_up"]["tenants"] if tenant not in WHALES]
    tail["warm_up"] |= {"concurrency": 2}
    whale |= {"instance_type": whale_instance_type, "instances": one}
    whale["guardrail"]["termination_wait_in_seconds"] = 15
    whale["alarms"]["max_model_latency_p99_milliseconds"] = 5000
    whale["tenants"] = {tenant: {"model": f"{tenant}/{version}.tar.gz"} for tenant, version in pins.items()}
    return FleetConfig.model_validate_json(json.dumps(document))


def _rows() -> np.ndarray[Any, Any]:
    return np.random.default_rng(70).standard_normal((ROWS, FEATURES)).astype(np.float32)


def _weight(tenant: str) -> float:
    if tenant in BIG:
        return BIG_SHARE / len(BIG)
    if tenant in OCCASIONAL:
        return OCCASIONAL_SHARE / len(OCCASIONAL)
    usual = [name for name in TENANTS if name not in BIG and name not in OCCASIONAL]
    ranks = random.Random(70).sample(range(1, len(usual) + 1), len(usual))  # noqa: S311 - traffic, no secret
    weights = dict(zip(usual, (1 / rank for rank in ranks), strict=True))
    return USUAL_SHARE * weights[tenant] / sum(weights.values())

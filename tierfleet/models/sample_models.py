"""Small real models for every tenant that a fleet file names, so that a fleet can be tried before there are any."""

import json
import shutil
from pathlib import Path
from typing import Final

from tierfleet.config import FleetConfig
from tierfleet.config.container import Probe
from tierfleet.runtime.names import version_of

_TENANT: Final = "sample"
# Comes before any other version, since publishing never goes back to an earlier one.
VERSION: Final = "0-sample"
_ROWS: Final = 400
_ROUNDS: Final = 20


def sample_versions(fleet: FleetConfig) -> dict[str, str]:
    """The current version by tenant: the pinned one of dedicated tenants, VERSION of the tenants in the lists of
    warm-ups and of shared tiers.

    One tenant called `sample` where the file names none.
    """
    warmed = {
        tenant: VERSION for tier in fleet.multi_model_tiers.values() if tier.warm_up for tenant in tier.warm_up.tenants
    }
    pinned = {
        # A sample is a model; what further stages of a pipeline load is not.
        tenant: version_of(next(iter(tier.pinned_models(tenant).values())))
        for tier in fleet.tenant_endpoint_tiers.values()
        for tenant in tier.tenants
    }
    listed = {
        tenant: VERSION for tier in fleet.tiers.values() if not tier.endpoint_per_tenant for tenant in tier.tenants
    }
    return {**warmed, **listed, **pinned} or {_TENANT: VERSION}


def train_sample_models(fleet: FleetConfig, directory: Path) -> int:
    """Train and save `<directory>/<tenant>/<version>.ubj` for each of `sample_versions` and each further container, and
    nothing else there.

    Returns how many. They are binary classifiers of 20 trees, each with a rule of its own, that take as many features
    as the fleet's probe has. Raises ValueError where the probe cannot be read as one row, and
    ModuleNotFoundError without XGBoost.
    """
    import numpy as np
    import xgboost

    features = probe_features(fleet.probe)
    versions = sorted({*sample_versions(fleet).items(), *_of_containers(fleet)})
    shutil.rmtree(directory, ignore_errors=True)
    for seed, (tenant, version) in enumerate(versions):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((_ROWS, features)).astype(np.float32)
        label = (rows @ rng.standard_normal(features) > 1).astype(np.float32)
        data = xgboost.DMatrix(rows, label=label)
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, _ROUNDS)
        file = directory / tenant / f"{version}.ubj"
        file.parent.mkdir(parents=True, exist_ok=True)
        booster.save_model(file)
    return len(versions)


def _of_containers(fleet: FleetConfig) -> set[tuple[str, str]]:
    """Tenant and version of each pinned model, where a tenant's containers have several."""
    return {
        (tenant, version_of(model))
        for tier in fleet.tenant_endpoint_tiers.values()
        for tenant in tier.tenants
        for model in tier.pinned_models(tenant).values()
    }


def probe_features(probe: Probe) -> int:
    """How many features the probe row has. Raises ValueError where it cannot be read as a row."""
    media_type = probe.content_type.partition(";")[0].strip().lower()
    line = probe.body.strip().splitlines()[0] if probe.body.strip() else ""
    try:
        if "json" in media_type:
            return _json_features(json.loads(probe.body))
        if "libsvm" in media_type:
            return max(int(pair.partition(":")[0]) for pair in line.split() if ":" in pair) + 1
        if media_type == "text/csv":
            return len(line.split(","))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"[probe] body cannot be read as a row of {probe.content_type}: {error}") from None
    raise ValueError(
        f"[probe] content_type is {probe.content_type}; sample models need text/csv, libsvm or JSON: give models of "
        "your own with --models"
    )


def _json_features(document: object) -> int:
    rows = document["instances"] if isinstance(document, dict) else document
    if not isinstance(rows, list) or not rows:
        raise ValueError("expected a list of numbers or of rows")
    first = rows[0]
    if isinstance(first, dict):
        first = first["features"]
    return len(first) if isinstance(first, list) else len(rows)

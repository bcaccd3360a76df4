"""What refers to artefacts besides the pointers: the pins of fleet files, and every model that SageMaker has."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tierfleet.runtime.names import MODELS_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.client import SageMakerClient

    from tierfleet.config import FleetConfig

DESCRIBES_AT_ONCE: Final = 8


def pins(fleets: Sequence["FleetConfig"]) -> dict[str, str]:
    """Artefacts that tenants with an endpoint and whole tiers pin, each with who says so."""
    of_tiers = {
        model: f"pinned by [tiers.{name}]"
        for fleet in fleets
        for name, tier in fleet.tiers.items()
        for model in tier.shared_models
    }
    return of_tiers | {
        model: f"pinned by [tiers.{name}.tenants] {who}"
        for fleet in fleets
        for name, tier in fleet.tenant_endpoint_tiers.items()
        for who in tier.tenants
        for model in tier.pinned_models(who).values()
    }


@dataclass
class Deployed:
    """What SageMaker's models refer to in one bucket; `models` are the ones that were already described."""

    targets: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)

    def why(self, target_model: str) -> str | None:
        """Which SageMaker model refers to it, if any."""
        if target_model in self.targets:
            return self.targets[target_model]
        return next((name for prefix, name in self.prefixes.items() if target_model.startswith(prefix)), None)


def read_deployed(sagemaker: "SageMakerClient", bucket: str, *, known: Deployed | None = None) -> Deployed:
    """Read every model of the account and region; with `known`, only newer ones.

    A model of the mode MultiModel over the whole of `models/` refers to no artefact by itself: it serves what the
    pointers name. Any other prefix keeps all that lies under it. Raises botocore's errors.
    """
    known = known or Deployed()
    pages = sagemaker.get_paginator("list_models").paginate()
    names = [model["ModelName"] for page in pages for model in page["Models"]]
    new = [name for name in names if name not in known.models]
    with ThreadPoolExecutor(DESCRIBES_AT_ONCE, "describe") as pool:
        described = list(pool.map(lambda name: _describe(sagemaker, name), new))
    deployed = Deployed(dict(known.targets), dict(known.prefixes), known.models | set(new))
    for name, model in zip(new, described, strict=True):
        for url in _urls(model):
            path = _path_in(bucket, url)
            if path is None or not (path.startswith(MODELS_PREFIX) or MODELS_PREFIX.startswith(path)):
                continue
            target = path.removeprefix(MODELS_PREFIX)
            if url.endswith(".tar.gz"):
                deployed.targets[target] = f"deployed as SageMaker model {name}"
            elif path != MODELS_PREFIX:
                whole = "" if MODELS_PREFIX.startswith(path) else target
                deployed.prefixes[whole] = f"under the prefix of SageMaker model {name}"
    return deployed


def _describe(sagemaker: "SageMakerClient", name: str) -> dict[str, Any]:
    try:
        return dict(sagemaker.describe_model(ModelName=name))
    except sagemaker.exceptions.ClientError as error:
        if "could not find model" in str(error).lower():
            return {}  # deleted since it was listed
        raise


def _path_in(bucket: str, url: str) -> str | None:
    """The key or prefix that an address names, None where it is another bucket's. SageMaker takes s3:// and https://,
    and https has the bucket in the host's name or first in the path.
    """
    parts = urlsplit(url)
    path = parts.path.removeprefix("/")
    if parts.netloc.partition(".")[0] == bucket:
        return path
    owner, _, path = path.partition("/")
    return path if parts.scheme == "https" and owner == bucket else None


def _urls(model: dict[str, Any]) -> Iterable[str]:
    containers = [model.get("PrimaryContainer") or {}, *model.get("Containers", [])]
    for container in containers:
        sources = [container.get("ModelDataSource") or {}, *container.get("AdditionalModelDataSources", [])]
        yield from (source.get("S3DataSource", {}).get("S3Uri") for source in sources if source.get("S3DataSource"))
        if container.get("ModelDataUrl"):
            yield container["ModelDataUrl"]

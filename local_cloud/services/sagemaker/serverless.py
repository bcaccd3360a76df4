"""What SageMaker accepts of serverless variants, and how they are described.

https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.core.errors import ServiceError
from local_cloud.data_plane.desired import ServerlessSpec
from local_cloud.services.sagemaker.endpoint import Endpoint, Variant

# CloudFormation's schema allows every number from 1024 to 6144; the service takes these only.
_MEMORY_SIZES_MB = (1024, 2048, 3072, 4096, 5120, 6144)
_MOST_CONCURRENCY = 200
_NOT_WITH_IT = ("InstanceType", "InitialInstanceCount", "VolumeSizeInGB", "RoutingConfig", "ManagedInstanceScaling")


def check(variant: Mapping[str, Any], model: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Raises ServiceError for what CreateEndpointConfig refuses; a variant with instances passes."""
    config = variant.get("ServerlessConfig")
    if config is None:
        return
    containers = [model.get("PrimaryContainer"), *model.get("Containers", [])]
    concurrency, provisioned = config["MaxConcurrency"], config.get("ProvisionedConcurrency")
    refused = {
        f"with {', '.join(key for key in _NOT_WITH_IT if key in variant)}": any(key in variant for key in _NOT_WITH_IT),
        f"with MemorySizeInMB {config['MemorySizeInMB']}, only with one of {list(_MEMORY_SIZES_MB)}": (
            config["MemorySizeInMB"] not in _MEMORY_SIZES_MB
        ),
        f"with MaxConcurrency {concurrency}, only with 1 to {_MOST_CONCURRENCY}": (
            not 1 <= concurrency <= _MOST_CONCURRENCY
        ),
        f"with ProvisionedConcurrency {provisioned}, only with 1 to MaxConcurrency": (
            provisioned is not None and not 1 <= provisioned <= concurrency
        ),
        "for models in a VPC": "VpcConfig" in model,
        "for models with network isolation": bool(model.get("EnableNetworkIsolation")),
        "for multi-model containers": any(
            container and container.get("Mode") == "MultiModel" for container in containers
        ),
        "for inference pipelines": len(model.get("Containers", [])) > 1,
        "with several production variants": len(request["ProductionVariants"]) > 1,
        "with data capture": "DataCaptureConfig" in request,
    }
    wrong = [why for why, holds in refused.items() if holds]
    if wrong:
        raise ServiceError("ValidationException", f"Serverless Inference is not supported {'; '.join(wrong)}.")


def spec_of(config: Mapping[str, int] | None) -> ServerlessSpec | None:
    """What the data plane is told of a ServerlessConfig; None for a variant with instances."""
    if config is None:
        return None
    return ServerlessSpec(
        memory_mib=config["MemorySizeInMB"],
        max_concurrency=config["MaxConcurrency"],
        provisioned_concurrency=config.get("ProvisionedConcurrency", 0),
    )


def updated(config: dict[str, int] | None, change: Mapping[str, int] | None) -> dict[str, int] | None:
    """The configuration after UpdateEndpointWeightsAndCapacities. Raises ServiceError."""
    if change is None:
        return config
    if config is None:
        raise ServiceError("ValidationException", "ServerlessUpdateConfig is only supported for serverless variants.")
    return {**config, **change}


def refuse_to_become(endpoint: Endpoint, variants: Sequence[Variant]) -> None:
    """Raises ServiceError where instances would become serverless; AWS refuses that."""
    if any(v.serverless is None for v in endpoint.variants) and any(v.serverless is not None for v in variants):
        raise ServiceError(
            "ValidationException", "Cannot update an endpoint from instance-based variants to serverless variants."
        )

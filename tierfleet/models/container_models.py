"""Artefacts that a fleet file pins for one container of several: each is made for that container's image.

`models publish` packages and checks what reads XGBoost models, and uploads anything else as it is. Of a tenant's
containers only the primary one's artefact becomes the version that the pointer names, since that is what a multi-model
endpoint would serve if the tenant moved to one.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierfleet.models.files import ModelFile
from tierfleet.models.package import Package, package
from tierfleet.models.target import Target, target_of_container
from tierfleet.models.validation.findings import Finding, Validated
from tierfleet.models.validation.validate import validate

if TYPE_CHECKING:
    from tierfleet_server.publishing.rounds import Rounds

    from tierfleet.config import Container, FleetConfig

_READS_XGBOOST = ("tierfleet", "sagemaker-xgboost")


@dataclass(frozen=True)
class ContainerArtefact:
    """What the artefact of one container is for."""

    container: "Container"
    makes_current: bool
    """Whether the tenant's pointer names it: the primary container's, or that of a pipeline's stage with the model."""

    @property
    def target(self) -> Target | None:
        """The image as packaging knows it; None for an image that reads other artefacts."""
        return target_of_container(self.container) if self.container.image in _READS_XGBOOST else None


def container_artefacts(fleet: "FleetConfig") -> dict[str, ContainerArtefact]:
    """What each artefact that is pinned for a container is for, by `<tenant>/<version>.tar.gz`."""
    artefacts = {
        target_model: ContainerArtefact(container, makes_current=False)
        for tier in fleet.tiers.values()
        for target_model, container in tier.shared_models.items()
    }
    for tier in fleet.tenant_endpoint_tiers.values():
        for tenant in tier.tenants:
            for position, (target_model, container) in enumerate(tier.models_of_containers(tenant).items()):
                artefacts[target_model] = ContainerArtefact(container, makes_current=position == 0)
    return artefacts


def leave_pointers(fleet: "FleetConfig") -> frozenset[str]:
    """The artefacts that are stored without becoming their tenant's current version."""
    return frozenset(name for name, artefact in container_artefacts(fleet).items() if not artefact.makes_current)


def packaging_for(
    fleet: "FleetConfig", make: Callable[[ModelFile, Target | None], Package] = package
) -> Callable[[ModelFile], Package]:
    """How `publish_all` packages a model of this fleet.

    make: how a model is packaged for an image, None for the fleet's; it is not asked about artefacts of images that
    read no XGBoost models. The returned function raises ValueError as `package` does, and for such an artefact that is
    no `.tar.gz`.
    """
    artefacts = container_artefacts(fleet)

    def package_one(model: ModelFile) -> Package:
        artefact = artefacts.get(model.target_model)
        if artefact is None:
            return make(model, None)
        if artefact.target is not None:
            return make(model, artefact.target)
        if not model.packaged:
            raise ValueError(f"{model.file}: {_not_packaged(artefact)}")
        return Package(model.read())

    return package_one


def validate_for(
    fleet: "FleetConfig",
    models: Sequence[ModelFile],
    *,
    rounds: "Rounds" = "auto",
    jobs: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Validated]:
    """`validate` with a fleet, in the order of the models: each with the image that will read it.

    The fleet's probe is a row of the tenants' models and of no single container's.
    """
    artefacts = container_artefacts(fleet)
    groups: dict[Target | None, list[ModelFile]] = defaultdict(list)
    results: dict[ModelFile, Validated] = {}
    for model in models:
        artefact = artefacts.get(model.target_model)
        if artefact is not None and artefact.target is None:
            results[model] = _as_it_is(model, artefact)
            done()
        else:
            groups[artefact.target if artefact else None].append(model)
    for target, group in groups.items():
        checked = validate(group, fleet=None if target else fleet, target=target, rounds=rounds, jobs=jobs, done=done)
        results |= dict(zip(group, checked, strict=True))
    return [results[model] for model in models]


def _as_it_is(model: ModelFile, artefact: ContainerArtefact) -> Validated:
    if not model.packaged:
        return Validated(model, 0, (Finding("error", "image", _not_packaged(artefact)),), None)
    said = f"is for the image {artefact.container.image}, which reads it as it is; only its name is checked"
    return Validated(model, model.file.stat().st_size, (Finding("note", "image", said),), None)


def _not_packaged(artefact: ContainerArtefact) -> str:
    return f"is pinned for a container with the image {artefact.container.image}, which reads a .tar.gz of its own"

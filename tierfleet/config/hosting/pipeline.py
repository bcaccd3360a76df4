"""hosting = "pipeline": its table of the fleet file and its own rules.

A pipeline is 2 to 15 containers of one endpoint, called in order: each reply is the next container's request. One stage
has the tenant's model. The others turn a caller's request into features, or a score into a decision.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from tierfleet import images
from tierfleet.aws_limits import LONGEST_CALL_SECONDS
from tierfleet.config.container import Container, Probe
from tierfleet.config.hosting.container_rules import check_one_of_several, check_probe, check_probe_against_image
from tierfleet.config.hosting.dedicated import DedicatedAlarmLimits
from tierfleet.config.hosting.digest import content_of, id_digest, short_digest
from tierfleet.config.hosting.tier import Guardrail, RestOfFile, Tier
from tierfleet.config.problems import Problem
from tierfleet.config.section import SMALLEST_LIMIT, ModelKey, PinnedModel, TenantId, Word
from tierfleet.runtime.names import ALL_TENANTS, WORD_PATTERN

FEWEST_STAGES: Final = 2
MOST_STAGES: Final = 15
# Of the nested stack of one endpoint, without the alarms of single stages. A test compares it with the template.
STACK_RESOURCES: Final = 13
TENANT: Final = "tenant"
"""The value of a stage's `model` where each tenant has one of its own."""
_MODEL_PATTERN: Final = rf"^({TENANT}|{WORD_PATTERN}/[A-Za-z0-9][A-Za-z0-9._-]*\.tar\.gz)$"


class Stage(Container):
    """One container of a pipeline."""

    name: Word
    """Its name in errors, logs and metrics; no other stage of the tier has it. -> AWS::SageMaker::Model
    Containers.ContainerHostname"""
    mode: Literal["SingleModel", "MultiModel"] = "SingleModel"
    """`MultiModel` on at most one stage: it loads the model that a call names, so all tenants of the tier share one
    endpoint. -> AWS::SageMaker::Model Containers.Mode"""
    model: Annotated[str, Field(pattern=_MODEL_PATTERN, max_length=948)] | None = None
    """`tenant`: the artefact that the tenant's line pins. `<folder>/<version>.tar.gz` below `models/`: the same for
    every tenant. Left out: the stage needs none. -> AWS::SageMaker::Model Containers.ModelDataUrl"""
    max_average_latency_milliseconds: (
        Annotated[float, Field(ge=SMALLEST_LIMIT, le=1000 * LONGEST_CALL_SECONDS)] | None
    ) = None
    """ContainerLatency of this stage to hold, on average. Left out: the stage has no alarm of its own."""

    @property
    def is_own_image(self) -> bool:
        """Whether the image is not one of AWS's."""
        return self.image not in images.STOCK_VERSIONS


class PipelineTenant(PinnedModel):
    """A tenant of a pipeline."""

    model: ModelKey | None = None  # type: ignore[assignment]
    """The pinned artefact of the stage with `model = "tenant"`, `<tenant>/<version>.tar.gz` below `models/` in the
    model bucket. Changing it rolls the endpoint through its guardrail. Left out where a stage is `MultiModel`: the
    pointer names the version. -> AWS::SageMaker::Model Containers.ModelDataUrl"""
    stage_models: Mapping[Word, ModelKey] = {}
    """This tenant's own artefacts of further stages, by the stage's name, instead of the stage's `model`."""


class PipelineTier(Tier):
    """One endpoint of several containers, called one after the other: for each tenant, or one for all of them."""

    ROUTE_KEYS: ClassVar[Mapping[str, Any]] = {"stages": {"type": "string"}}

    hosting: Literal["pipeline"]
    """`pipeline`: an endpoint of several containers for each tenant, or, with a `MultiModel` stage, for all tenants of
    the tier."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=FEWEST_STAGES, max_length=MOST_STAGES)]
    """The containers, in the order in which a request passes them: `[[tiers.<tier>.stages]]`.
    -> AWS::SageMaker::Model Containers"""
    tenants: Mapping[TenantId, PipelineTenant] = {}
    """The tenants, one line each; where they share an endpoint, `<tenant> = {}`."""
    probe: Probe | None = None
    """One valid request of the pipeline. Left out: the fleet's `[probe]`."""
    alarms: DedicatedAlarmLimits
    """ModelLatency is the sum over all stages."""
    guardrail: Guardrail = Guardrail()
    """How a new version gets its traffic."""

    @property
    def endpoint_per_tenant(self) -> bool:
        """False with a MultiModel stage: all tenants of the tier share one endpoint then."""
        return all(stage.mode == "SingleModel" for stage in self.stages)

    @property
    def stack_tenants(self) -> tuple[str, ...]:
        """Each tenant, or `all`."""
        return tuple(sorted(self.tenants)) if self.endpoint_per_tenant else (ALL_TENANTS,)

    @property
    def capacity(self) -> str:
        """The stages and the instances, for `config show`."""
        return f"{' -> '.join(stage.name for stage in self.stages)}, {super().capacity}"

    @property
    def shared_models(self) -> Mapping[str, Stage]:
        """The stages that have the same artefact for every tenant, by that artefact."""
        return {stage.model: stage for stage in self.stages if stage.model is not None and stage.model != TENANT}

    @property
    def pulled_by_policy(self) -> tuple[Stage, ...]:
        """The stages with own images, where other stages have AWS's."""
        own = tuple(stage for stage in self.stages if stage.is_own_image)
        return own if len(own) < len(self.stages) else ()

    @property
    def order_id(self) -> str:
        """Eight characters for the order of the stages: the logical id of the Model has them."""
        return id_digest([stage.name for stage in self.stages])

    def made_of(self, _own: Container, /) -> Mapping[str, Any]:
        """The stages. The fleet's own container is not part of a pipeline."""
        return self._settings

    @property
    def _settings(self) -> Mapping[str, Any]:
        """The stages in order: a list, so that a new order is another generation. Limits of alarms make no difference
        to the instances."""
        left_out = {"max_average_latency_milliseconds"}
        return {
            "stages": [stage.model_dump(mode="json", exclude=left_out, exclude_defaults=True) for stage in self.stages],
            "image_content": content_of(*self.stages),
        }

    def route_details(self, tenant: str, /) -> Mapping[str, Any]:
        """Six characters for what the stages are made of, besides the model of the tenant."""
        return {"stages": short_digest([self._settings, sorted(self.tenants[tenant].stage_models.items())])}

    def containers(self, _own: Container, _tenant: str | None = None, /) -> tuple[Stage, ...]:
        """The stages. The fleet's own container is not part of a pipeline."""
        return self.stages

    def probe_or(self, fleets: Probe, /) -> Probe:
        """The tier's own probe, else the fleet's."""
        return self.probe or fleets

    @property
    def model_stage(self) -> Stage:
        """The stage with the tenants' models. Raises StopIteration where `check` finds none."""
        return next(stage for stage in self.stages if stage.mode == "MultiModel" or stage.model == TENANT)

    def model_container(self, _own: Container, /) -> Stage:
        """The stage with the tenants' models."""
        return self.model_stage

    def model_probe(self, fleets: Probe, /) -> Probe | None:
        """The probe where the models' stage is the first; after another one their rows are not known."""
        return self.probe_or(fleets) if self.model_stage is self.stages[0] else None

    def pinned_models(self, tenant: str) -> Mapping[str, str]:
        """The tenant's own artefacts: `model` first, then those of further stages."""
        pinned = self.tenants[tenant]
        models = {"model": pinned.model, **{f"stage_models.{name}": key for name, key in pinned.stage_models.items()}}
        return {key: model for key, model in models.items() if model is not None}

    def models_of_containers(self, tenant: str, /) -> Mapping[str, Stage]:
        """The stages by the tenant's own artefacts; the one with the tenant's model first."""
        pinned, by_name = self.tenants[tenant], {stage.name: stage for stage in self.stages}
        own = {pinned.model: self.model_stage} if pinned.model is not None else {}
        return own | {key: by_name[name] for name, key in pinned.stage_models.items()}

    def artefact(self, stage: Stage, tenant: str | None) -> ModelKey | None:
        """The key below `models/` of what a stage loads at its start; None: nothing, or what each call names."""
        if tenant is None:
            return stage.model
        pinned = self.tenants[tenant]
        return pinned.stage_models.get(stage.name, pinned.model if stage.model == TENANT else stage.model)

    def stack_resources(self, _tenant: str, /) -> int:
        """The same for every tenant."""
        return STACK_RESOURCES + sum(stage.max_average_latency_milliseconds is not None for stage in self.stages)

    def check(self, where: str, rest: RestOfFile, /) -> Iterator[Problem]:
        """One stage has the tenant's model, and every stage's container can run."""
        for stage_name, count in sorted(Counter(stage.name for stage in self.stages).items()):
            if count > 1:
                message = f"{count} stages are called {stage_name}, and a name says which one failed"
                yield Problem(f"{where}.stages", "name", stage_name, message, "give each stage a name of its own")
        yield from _who_has_the_model(where, self)
        for place, stage in enumerate(self.stages):
            yield from _stage(f"{where}.stages.{place}", stage, self, rest)
        yield from _tenants(where, self)
        yield from _mixed_images(where, self)
        yield from _probe(where, self, rest)


def _who_has_the_model(where: str, tier: PipelineTier) -> Iterator[Problem]:
    shared = [stage.name for stage in tier.stages if stage.mode == "MultiModel"]
    own = [stage.name for stage in tier.stages if stage.mode == "SingleModel" and stage.model == TENANT]
    fix = 'write model = "tenant" on the stage with the tenant\'s model, or mode = "MultiModel" on it'
    if len(shared) > 1:
        message = f"{len(shared)} stages are MultiModel ({', '.join(shared)}), SageMaker takes one in a pipeline"
        yield Problem(f"{where}.stages", "mode", "MultiModel", message, "leave it on one of them")
    elif shared and own:
        message = f"{shared[0]} is MultiModel, so one endpoint serves all tenants, and {own[0]} wants each tenant's own"
        yield Problem(f"{where}.stages", "model", TENANT, message, "remove one of the two")
    elif len(own) > 1:
        message = f'{len(own)} stages have model = "tenant" ({", ".join(own)}), and a tenant\'s line pins one model'
        further = "leave it on one, and pin the others by stage_models"
        yield Problem(f"{where}.stages", "model", TENANT, message, further)
    elif not shared and not own:
        yield Problem(f"{where}.stages", "model", None, "no stage has the tenant's model", fix)


def _stage(where: str, stage: Stage, tier: PipelineTier, rest: RestOfFile) -> Iterator[Problem]:
    if stage.mode == "MultiModel" and stage.model is not None:
        message = "a MultiModel stage loads what a call names, not one artefact"
        yield Problem(where, "model", stage.model, message, "remove it")
    serves_models = not images.is_ecr_uri(stage.image) and "SAGEMAKER_PROGRAM" not in stage.environment
    if serves_models and stage.mode == "SingleModel" and stage.model is None:
        message = f"{stage.image} serves a model, and the stage has none"
        yield Problem(where, "model", None, message, 'write model = "tenant", or the artefact')
    yield from check_one_of_several(where, stage, where.split(".")[1], tier, rest)


def _probe(where: str, tier: PipelineTier, rest: RestOfFile) -> Iterator[Problem]:
    """The first stage reads what is sent to the pipeline."""
    own, first = f"{where}.probe", tier.stages[0]
    if tier.probe is not None:
        for problem in check_probe(tier.probe):
            yield replace(problem, table=own)
        for problem in check_probe_against_image(tier.probe, first):
            yield replace(problem, table=own, message=_of_first(problem, first))
    elif rest.probe is not None:
        fix = f"write [{own}] with a request of the pipeline"
        for problem in check_probe_against_image(rest.probe, first):
            yield replace(problem, message=_of_first(problem, first), fix=fix)


def _of_first(problem: Problem, stage: Stage) -> str:
    return f"{problem.message}; the first stage {stage.name} gets the probe"


def _tenants(where: str, tier: PipelineTier) -> Iterator[Problem]:
    fixed = {stage.name for stage in tier.stages if stage.mode == "SingleModel" and stage.model != TENANT}
    if not tier.endpoint_per_tenant and not tier.tenants:
        message = "this tier has no tenants: it lists none, and a pipeline is never the default tier"
        fix = "list its tenants or remove the tier"
        yield Problem(where, "tenants", None, message, fix, severity="warning")
    for tenant, pinned in sorted(tier.tenants.items()):
        place = f"{where}.tenants.{tenant}"
        if not tier.endpoint_per_tenant:
            if pinned.model is not None or pinned.stage_models:
                message = "the tenants of a MultiModel stage share one endpoint, and the pointer names the version"
                yield Problem(f"{where}.tenants", tenant, None, message, f"write {tenant} = {{}}")
            continue
        if pinned.model is None:
            message = "is missing: each tenant has an endpoint with its own model"
            yield Problem(place, "model", None, message, f'write {tenant} = {{ model = "{tenant}/<version>.tar.gz" }}')
        for stage in sorted(pinned.stage_models.keys() - fixed):
            message = f"no stage of this name takes one; {', '.join(sorted(fixed)) or 'none'} may have one"
            yield Problem(f"{place}.stage_models", stage, None, message, "name one of these, or remove it")


def _mixed_images(where: str, tier: PipelineTier) -> Iterator[Problem]:
    if own := ", ".join(stage.name for stage in tier.pulled_by_policy):
        message = (
            f"own images ({own}) and AWS's in one pipeline: SageMaker pulls the own ones only if the policy "
            "of their ECR repository lets sagemaker.amazonaws.com"
        )
        fix = "docs/pipeline.md has the policy, and preflight checks it"
        yield Problem(f"{where}.stages", "image", None, message, fix, severity="note")

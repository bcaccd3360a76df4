"""The warm-up function: keeps the listed tenants' models loaded on their multi-model endpoint.

Three callers, told apart by the event:
- the schedule, or a person: {"tier": "tail"}, optionally with "tenants", a list, hottest first;
- EventBridge: an endpoint's state change to IN_SERVICE;
- CloudFormation: the warm gate, a custom resource between an endpoint and the deployment of its route; the one for
  tenants that move to a multi-model endpoint; the one that compares their old and new endpoint; the
  route guard, which puts the routes back when an update is taken back; and,
  of a large fleet, the custom resource that puts parts of the route document into the model bucket.
docs/warm-up.md says what each does and what the log lines and metrics mean.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tierfleet.runtime import clients, metrics, route_guard, route_parts
from tierfleet.runtime.appconfig import NoRoutesDeployedError, deployed_routes, newest_hosted_routes
from tierfleet.runtime.aws_errors import classify
from tierfleet.runtime.hosting import LONGEST_ANSWER_SECONDS
from tierfleet.runtime.names import ROUTES_PREFIX
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.route_parts import PartReader
from tierfleet.runtime.warm_up import comparison, custom_resource, gate, takeover
from tierfleet.runtime.warm_up.custom_resource import Answer
from tierfleet.runtime.warm_up.gate import Waiting
from tierfleet.runtime.warm_up.moved_tenants import moved_tenants
from tierfleet.runtime.warm_up.plan import plan_warm_up
from tierfleet.runtime.warm_up.predecessor import grow_like, predecessor
from tierfleet.runtime.warm_up.report import WarmUpReport
from tierfleet.runtime.warm_up.run import warm

if TYPE_CHECKING:
    from mypy_boto3_appconfig.client import AppConfigClient
    from mypy_boto3_appconfigdata.client import AppConfigDataClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker.client import SageMakerClient
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

LONGEST_RUN_SECONDS: Final = 780
# Enough to log, and to try the gate's answer as often as custom_resource.send does.
ANSWER_MARGIN_SECONDS: Final = 30
# A gate that has to wait longer than one run may take starts the next run of itself. The last run only warms, so that
# all of them end within the hour that CloudFormation gives a custom resource.
RUNS_OF_ONE_GATE: Final = 4
RUN_KEY: Final = "TierfleetRun"
_RUN_MINUTES: Final = 15
_TOO_LONG: Final = (
    "the stack would wait no longer than an hour: look at the endpoint's log group and at its deployment guardrail, "
    "whose waits must add up to less"
)
CONNECTIONS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each field is the environment variable TIERFLEET_<FIELD IN CAPITALS>."""

    fleet: str
    environment: str
    models_bucket: str
    routes_application_id: str
    routes_environment_id: str
    routes_profile_id: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """Raises ValueError that names every missing or empty variable."""
        names = {field: f"TIERFLEET_{field.upper()}" for field in cls.__dataclass_fields__}
        if missing := [name for name in names.values() if not variables.get(name)]:
            raise ValueError(f"missing or empty environment variables: {', '.join(missing)}")
        return cls(**{field: variables[name] for field, name in names.items()})


class Aws:
    """The function's AWS clients, each created on first use."""

    @cached_property
    def runtime(self) -> "SageMakerRuntimeClient":
        client = clients.cold_path_client(connections=CONNECTIONS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def comparing_runtime(self) -> "SageMakerRuntimeClient":
        client = clients.cold_path_client(connections=CONNECTIONS, read_timeout_seconds=LONGEST_ANSWER_SECONDS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def s3(self) -> "S3Client":
        client = clients.s3_client(connections=CONNECTIONS)
        clients.bound_in_time(client)
        return client

    @cached_property
    def appconfig(self) -> "AppConfigClient":
        return clients.appconfig_client()

    @cached_property
    def appconfigdata(self) -> "AppConfigDataClient":
        client = clients.appconfigdata_client()
        clients.bound_in_time(client)
        return client

    @cached_property
    def sagemaker(self) -> "SageMakerClient":
        return clients.sagemaker_client()

    @cached_property
    def cloudformation(self) -> Any:
        return clients.cloudformation_client()

    @cached_property
    def logs(self) -> Any:
        return clients.control_client("logs")

    @cached_property
    def lambda_(self) -> Any:
        return clients.control_client("lambda")


AWS = Aws()
_READ_PART: Final = PartReader(lambda: AWS.s3)


@cache
def settings() -> Settings:
    return Settings.read(os.environ)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What Lambda calls. Returns a JSON value: the report, {"skipped": why}, or the answer sent."""
    if event.get("ResourceType") == route_parts.RESOURCE_TYPE:
        return _answer_parts(event)
    if "RequestType" in event:
        if event.get("ResourceType") == route_guard.RESOURCE_TYPE:
            return _answer_route_guard(event)
        if event.get("ResourceType") == comparison.RESOURCE_TYPE:
            return _answer_comparison(event, context)
        return _answer_gate(event, context)
    if event.get("source") == "aws.sagemaker":
        return _on_endpoint_event(event, context)
    return _on_request(event, context)


def _on_request(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    tier, tenants = event.get("tier"), event.get("tenants")
    if not isinstance(tier, str):
        raise ValueError('the event has no "tier", is no endpoint event and no custom resource request')
    if tenants is not None and not (isinstance(tenants, list) and all(isinstance(t, str) for t in tenants)):
        raise ValueError(f'"tenants" is {tenants!r}, allowed: a list of tenant ids')
    with _failure_counted(tier):
        return _warm(_deployed_routes(), tier, context, tenants=tenants).to_json()


def _on_endpoint_event(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    name, status = event["detail"]["EndpointName"], event["detail"]["EndpointStatus"]
    if status != "IN_SERVICE":
        return _skip(f"endpoint {name} is {status}, not IN_SERVICE")
    with _failure_counted():
        try:
            routes = _deployed_routes()
        except NoRoutesDeployedError as error:
            return _skip(f"no routes are deployed yet, so the warm gate warms endpoint {name}: {error}")
    tier = routes.tier_at(name)
    if tier is None:
        return _skip(f"endpoint {name} is no tier's multi-model endpoint in the deployed routes")
    if tier not in routes.warm_ups:
        return _skip(f"tier {tier} of endpoint {name} has no warm_up")
    with _failure_counted(tier):
        return _warm(routes, tier, context).to_json()


def _answer_parts(request: Mapping[str, Any]) -> dict[str, Any]:
    """Puts the parts of the route document that is about to be deployed into the model bucket. None is ever deleted:
    a document of before may come back."""
    try:
        if request["RequestType"] == "Delete":
            answer = Answer(succeeded=True, reason="the parts stay: an older route document may come back")
        else:
            parts = request["ResourceProperties"]["Parts"]
            put = route_parts.copy_parts(AWS.s3, bucket=settings().models_bucket, parts=parts)
            answer = Answer(succeeded=True, reason=f"{put} of {len(parts)} parts of the routes are new")
    except Exception as error:
        answer = Answer(succeeded=False, reason=f"the routes are not in the bucket: {_sentence(error)}")
    _log("route parts answer", succeeded=answer.succeeded, reason=answer.reason)
    physical_resource_id = request.get("PhysicalResourceId") or f"{settings().models_bucket}/{ROUTES_PREFIX}"
    custom_resource.send(request, answer, physical_resource_id=physical_resource_id)
    return {"succeeded": answer.succeeded, "reason": answer.reason}


def _answer_gate(request: Mapping[str, Any], context: Any) -> dict[str, Any]:
    try:
        answer = _gate(request, context)
    except Exception as error:
        answer = Answer(succeeded=False, reason=_sentence(error))
    if isinstance(answer, Waiting):
        return {"waiting": answer.reason}
    endpoint_name = request.get("ResourceProperties", {}).get("EndpointName")
    physical_resource_id = endpoint_name or request["LogicalResourceId"]
    if request["RequestType"] == "Delete":
        physical_resource_id = request["PhysicalResourceId"]
    _log("warm gate answers", endpoint=endpoint_name, succeeded=answer.succeeded, reason=answer.reason)
    custom_resource.send(request, answer, physical_resource_id=physical_resource_id)
    return {"succeeded": answer.succeeded, "reason": answer.reason, "data": dict(answer.data)}


def _answer_route_guard(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = route_guard.answer(
            request,
            cloudformation=AWS.cloudformation,
            appconfig=AWS.appconfig,
            appconfigdata=AWS.appconfigdata,
            read_part=_READ_PART,
        )
    except Exception as error:
        answer = Answer(succeeded=False, reason=_sentence(error))
    _log("route guard answers", request=request["RequestType"], succeeded=answer.succeeded, reason=answer.reason)
    # One id for ever: another one would be a replacement, which CloudFormation takes back only in its clean-up.
    custom_resource.send(request, answer, physical_resource_id=request.get("PhysicalResourceId", "route-guard"))
    return {"succeeded": answer.succeeded, "reason": answer.reason}


def _answer_comparison(request: Mapping[str, Any], context: Any) -> dict[str, Any]:
    try:
        answer = _compare(request, context)
    except Exception as error:
        answer = Answer(succeeded=False, reason=_sentence(error))
    _log("comparison answers", request=request["RequestType"], succeeded=answer.succeeded, reason=answer.reason)
    physical_resource_id = request.get("PhysicalResourceId", request["LogicalResourceId"])
    custom_resource.send(request, answer, physical_resource_id=physical_resource_id)
    return {"succeeded": answer.succeeded, "reason": answer.reason}


def _compare(request: Mapping[str, Any], context: Any) -> Answer:
    """Ask the old and the new endpoint of each tenant that moves for the probe's score."""
    if request["RequestType"] == "Delete":
        return Answer(succeeded=True, reason="nothing to do on delete")
    if (answer := gate.answer_of_a_rollback(request, AWS.cloudformation)) is not None:
        return answer
    known = settings()
    hosted = _hosted_routes(known)
    try:
        moved = comparison.moves(_deployed_routes(), hosted)
    except NoRoutesDeployedError:
        return Answer(succeeded=True, reason="no routes are deployed yet: no tenant moves")
    outcomes = comparison.compare(
        moved,
        runtime=AWS.comparing_runtime,
        s3=AWS.s3,
        models_bucket=known.models_bucket,
        most_seconds=_seconds_left(context),
    )
    for outcome in outcomes:
        _log("tenant compared", tenant=outcome.tenant, outcome=outcome.word, reason=outcome.reason)
    return comparison.answer(outcomes)


def _gate(request: Mapping[str, Any], context: Any) -> Answer | Waiting:
    """The answer to CloudFormation; Waiting: the next run of this function gives it."""
    if request["RequestType"] == "Delete":
        return Answer(succeeded=True, reason="nothing to do on delete")
    if "RouteDocumentVersion" in request.get("ResourceProperties", {}):
        return _warm_moved_tenants(request, context)
    run = int(request.get(RUN_KEY, 1))
    if (result := _wait(request, context, run)) is not None:
        return result
    endpoint_name = request["ResourceProperties"]["EndpointName"]
    tier = request["ResourceProperties"].get("Tier")
    _keep_logs(endpoint_name, request["ResourceProperties"].get("LogRetentionDays"))
    if not tier:
        return Answer(succeeded=True, reason=f"endpoint {endpoint_name} runs the configuration asked for")
    old_endpoint = _predecessor(tier, endpoint_name)
    if old_endpoint and (instances := grow_like(old_endpoint, endpoint_name, sagemaker=AWS.sagemaker)):
        _log("new endpoint grows", endpoint=endpoint_name, instances=instances, like=old_endpoint)
        if (result := _wait(request, context, run)) is not None:
            return result
    if _seconds_left(context) < LONGEST_RUN_SECONDS and run < RUNS_OF_ONE_GATE:
        # The wait has used up what the last tenants of the list would need.
        return _start_next_run(request, context, run, Waiting(f"endpoint {endpoint_name} is in service, to be warmed"))
    known = settings()  # without them the gate fails; whatever else goes wrong leaves the endpoint cold
    try:
        with _failure_counted(tier):
            routes = _hosted_routes(known)
            if tier not in routes.warm_ups:
                return Answer(succeeded=True, reason=f"tier {tier} has no warm_up")
            report = _warm(routes, tier, context, endpoint_name=endpoint_name)
    except Exception as error:
        return Answer(succeeded=True, reason=f"endpoint {endpoint_name} stays cold: {_sentence(error)}")
    if old_endpoint and (why := _refusal(routes, tier, context, report, endpoint_name, old_endpoint)):
        return Answer(succeeded=False, reason=why)
    return _warmed(f"endpoint {endpoint_name} is warmed up", report.counts)


def _refusal(
    routes: RouteDocument, tier: str, context: Any, report: WarmUpReport, endpoint_name: str, old_endpoint: str
) -> str | None:
    """Why the new endpoint must not get the routes: no guardrail watches the flip to it."""

    def probe_old(tenants: Sequence[str]) -> WarmUpReport:
        plan = plan_warm_up(
            routes,
            tier,
            endpoint_name=old_endpoint,
            tenants=tenants,
            most_seconds=min(_seconds_left(context), takeover.COMPARISON_SECONDS),
        )
        old = warm(plan, runtime=AWS.runtime, s3=AWS.s3, models_bucket=settings().models_bucket)
        _log("compared with the old endpoint", tier=tier, endpoint=old_endpoint, **old.counts, tenants=list(tenants))
        return old

    return takeover.refusal(report, endpoint_name=endpoint_name, old_endpoint=old_endpoint, probe_old=probe_old)


def _wait(request: Mapping[str, Any], context: Any, run: int) -> Answer | Waiting | None:
    """None: the endpoint is in service with what was asked for. Waiting: the next run goes on."""
    result = gate.wait(
        request,
        cloudformation=AWS.cloudformation,
        sagemaker=AWS.sagemaker,
        most_seconds=_seconds_left(context),
    )
    if not isinstance(result, Waiting):
        return result
    if run >= RUNS_OF_ONE_GATE - 1:
        return Answer(succeeded=False, reason=f"{result.reason} after {run * _RUN_MINUTES} minutes; {_TOO_LONG}")
    return _start_next_run(request, context, run, result)


def _predecessor(tier: str, endpoint_name: str) -> str | None:
    """The endpoint that serves the tier so far, under another name; None if there is none or it is not known."""
    try:
        return predecessor(_deployed_routes(), tier, endpoint_name)
    except NoRoutesDeployedError:
        return None
    except Exception as error:
        _log("the deployed routes are not known", tier=tier, reason=_sentence(error))
        return None


def _warm_moved_tenants(request: Mapping[str, Any], context: Any) -> Answer:
    """Load what the next routes send to a multi-model endpoint. Models that stay cold do not fail the deployment."""
    if (answer := gate.answer_of_a_rollback(request, AWS.cloudformation)) is not None:
        return answer
    known = settings()
    try:
        with _failure_counted():
            hosted = _hosted_routes(known)
            try:
                moved = moved_tenants(_deployed_routes(), hosted)
            except NoRoutesDeployedError:
                return Answer(succeeded=True, reason="no routes are deployed yet, so no tenant has moved")
        counts: Counter[str] = Counter()
        for number, (tier, tenants) in enumerate(moved.items()):
            # Each tier has its share of the time that is left, however long those before it took.
            seconds = _seconds_left(context) / (len(moved) - number)
            with _failure_counted(tier):
                counts.update(_warm(hosted, tier, context, tenants=tenants, most_seconds=seconds).counts)
    except Exception as error:
        return Answer(succeeded=True, reason=f"tenants that move stay cold: {_sentence(error)}")
    if not moved:
        return Answer(succeeded=True, reason="no tenant moves to a multi-model endpoint")
    return _warmed(f"tenants that move to {', '.join(moved)}", counts)


def _warmed(what: str, counts: Mapping[str, int]) -> Answer:
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Answer(
        succeeded=True, reason=f"{what}: {shown}", data={name.capitalize(): count for name, count in counts.items()}
    )


def _keep_logs(endpoint_name: str, days: str | None) -> None:
    """Set how long the endpoint's logs are kept. Logs that are kept too long fail no deployment."""
    if days is None:
        return
    group = f"/aws/sagemaker/Endpoints/{endpoint_name}"
    try:
        try:
            AWS.logs.put_retention_policy(logGroupName=group, retentionInDays=int(days))
        except AWS.logs.exceptions.ResourceNotFoundException:
            # SageMaker makes the group with the first line that a container writes.
            AWS.logs.create_log_group(logGroupName=group)
            AWS.logs.put_retention_policy(logGroupName=group, retentionInDays=int(days))
    except (ClientError, BotoCoreError) as error:
        _log("the retention of the endpoint's logs is not set", group=group, reason=_sentence(error))


def _start_next_run(request: Mapping[str, Any], context: Any, run: int, waiting: Waiting) -> Waiting:
    payload = json.dumps({**request, RUN_KEY: run + 1}).encode()
    AWS.lambda_.invoke(FunctionName=context.invoked_function_arn, InvocationType="Event", Payload=payload)
    _log("warm gate goes on in its next run", reason=waiting.reason, run=run + 1)
    return waiting


def _hosted_routes(known: Settings) -> RouteDocument:
    return newest_hosted_routes(
        AWS.appconfig,
        application_id=known.routes_application_id,
        profile_id=known.routes_profile_id,
        read_part=_READ_PART,
    )


def _deployed_routes() -> RouteDocument:
    return deployed_routes(
        AWS.appconfigdata,
        application_id=settings().routes_application_id,
        environment_id=settings().routes_environment_id,
        profile_id=settings().routes_profile_id,
        read_part=_READ_PART,
    )


def _warm(
    routes: RouteDocument,
    tier: str,
    context: Any,
    *,
    endpoint_name: str | None = None,
    tenants: Sequence[str] | None = None,
    most_seconds: float = LONGEST_RUN_SECONDS,
) -> WarmUpReport:
    plan = plan_warm_up(
        routes,
        tier,
        endpoint_name=endpoint_name,
        tenants=tenants,
        most_seconds=min(_seconds_left(context), most_seconds, LONGEST_RUN_SECONDS),
    )
    # At once: it keeps the cache alarms silent while the run goes on.
    _emit({metrics.WARM_UP_STARTED: 1}, tier)
    report = warm(plan, runtime=AWS.runtime, s3=AWS.s3, models_bucket=settings().models_bucket)
    _log(
        "warm-up ended",
        tier=tier,
        endpoint=plan.endpoint_name,
        **report.counts,
        seconds=report.seconds,
        stopped=report.stopped,
    )
    for tenant, sentence in report.failed.items():
        _log("tenant not warmed", tier=tier, tenant=tenant, reason=sentence)
    for reason, tenants_concerned in (
        ("missing", report.missing),
        ("skipped", tuple(report.skipped)),
        ("left", report.left),
    ):
        if tenants_concerned:
            _log(f"tenants {reason}", tier=tier, tenants=tenants_concerned)
    _emit(
        {
            metrics.WARM_UP_WARMED: len(report.warmed),
            metrics.WARM_UP_FAILED: len(report.failed),
            metrics.WARM_UP_MISSING: len(report.missing),
            metrics.WARM_UP_SKIPPED: len(report.skipped),
            metrics.WARM_UP_LEFT: len(report.left),
            metrics.WARM_UP_SECONDS: report.seconds,
        },
        tier,
    )
    return report


@contextmanager
def _failure_counted(tier: str | None = None) -> Iterator[None]:
    """A run that could not start counts as one failure, so that the alarm on WarmUpFailed sees it."""
    try:
        yield
    except Exception as error:
        _log("warm-up failed", tier=tier, reason=_sentence(error))
        _emit({metrics.WARM_UP_FAILED: 1}, tier)
        raise


def _seconds_left(context: Any) -> float:
    """What this run may still take, less what the gate's answer may need."""
    left: float = context.get_remaining_time_in_millis() / 1000 - ANSWER_MARGIN_SECONDS
    return left


def _skip(reason: str) -> dict[str, Any]:
    _log("warm-up skipped", reason=reason)
    return {"skipped": reason}


def _sentence(error: Exception) -> str:
    return classify(error).sentence if isinstance(error, ClientError) else f"{type(error).__name__}: {error}"


def _log(message: str, **fields: Any) -> None:
    print(json.dumps({"message": message, **fields}))


def _emit(values: Mapping[str, float], tier: str | None) -> None:
    line = metrics.emf_line(values, fleet=settings().fleet, environment=settings().environment, tier=tier)
    print(line)

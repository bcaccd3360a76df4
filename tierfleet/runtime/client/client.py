"""FleetClient calls any tenant's model on the endpoint that serves it now."""

import math
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Never, Self, TypeVar

import boto3

from tierfleet.runtime import names
from tierfleet.runtime.aws_errors import Kind, classify
from tierfleet.runtime.client import forks
from tierfleet.runtime.client.call import Call, Services
from tierfleet.runtime.client.errors import (
    CallError,
    ReplyFormatError,
    RequestInvalidError,
    TenantBusyError,
    contributions_error,
    too_late_error,
    unexpected_error,
)
from tierfleet.runtime.client.metrics import Emit
from tierfleet.runtime.client.process_state import ClientOptions, ProcessState
from tierfleet.runtime.client.reply import CSV, JSON, Reply, csv_rows, parse_scores
from tierfleet.runtime.client.request_check import TENANT, check_request
from tierfleet.runtime.client.results import Progress, Results, check_submissions
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.client.submission import AsyncRequest, Submission, submit
from tierfleet.runtime.client.tenant_slots import Claim
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.contributions import CONTRIBS, Contributions, NoContributionsError, Scores
from tierfleet.runtime.credentials import session_after_fork
from tierfleet.runtime.hosting import REAL_TIME_ANSWER_SECONDS
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.single_flight import SingleFlight

# The dense server answers so for a model that it cannot explain. The stock image on a multi-model endpoint answers so
# for any unknown Accept, and also for an invalid row.
_NO_CONTRIBUTIONS: Final = frozenset({Kind.NOT_ACCEPTABLE, Kind.PAYLOAD_OR_MODEL})

Made = TypeVar("Made")


class FleetClient:
    """The models of one fleet in one environment.

    >>> fleet = FleetClient("fraud", "prod", region="eu-west-1")
    >>> fleet.predict("m37", [[0.3, 1.0, 12.5]])
    [50.8]
    >>> reply = fleet.invoke("m37", b"0.3,1.0,12.5", deadline_seconds=2)
    >>> reply.predictions, reply.tier, reply.model_version
    ([50.8], 'tail', 'v1')
    >>> fleet.close()

    Use one client per process, for all tenants and threads: it caches routes and pointers and pools connections.
    As a context manager it closes itself. In a forked child it makes its own connections and caches at the first call.

    account: the fleet's account. Only needed for routes of an older fleet that do not name the models bucket; without
    it the account of the credentials is used, with one call of STS if necessary.
    region: the fleet's region; by default the session's.
    settings: deadlines, cache times and limits; by default `ClientSettings()`.
    routes_file, routes: a route document on disk (read again every TTL) or in memory, instead of AppConfig.
    emit: a function that takes each metric line (docs/calling.md); by default standard output inside a Lambda function,
    else no metrics.
    session: a boto3 session; by default a new one.
    aws: boto3 clients instead of those made from the session. They must not retry, and cannot be used after a fork.

    Raises ValueError for an invalid fleet, environment or combination of arguments, and if no region is known. Calls
    raise CallError; docs/calling.md lists the errors, the retries and the IAM policy that a caller needs.
    """

    def __init__(
        self,
        fleet: str,
        environment: str,
        *,
        account: str | None = None,
        region: str | None = None,
        settings: ClientSettings | None = None,
        routes_file: str | Path | None = None,
        routes: RouteDocument | None = None,
        emit: Emit | None = None,
        session: boto3.Session | None = None,
        aws: CallingClients | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        for what, word in (("fleet", fleet), ("environment", environment)):
            if not TENANT.fullmatch(word):
                raise ValueError(f"{what} is {word!r}, allowed: {names.WORD_PATTERN}")
        if routes is not None and routes_file is not None:
            raise ValueError("both routes and routes_file are given; give one of them")
        self._session = session
        first_session = session or boto3.Session()
        if aws is None and region is None and first_session.region_name is None:
            raise ValueError("no region is known; give region or a session that has one, or set AWS_DEFAULT_REGION")
        self._options = ClientOptions(
            fleet=fleet,
            environment=environment,
            account=account,
            region=region,
            settings=settings or ClientSettings(),
            routes_file=routes_file,
            routes=routes,
            emit=emit,
            aws=aws,
            clock=clock,
            sleep=sleep,
            jitter=jitter,
        )
        self._renewals: SingleFlight[int, ProcessState] = SingleFlight("tierfleet-client")
        self._state: ProcessState | None = ProcessState(self._options, first_session)
        forks.forget_in_child(self)

    def invoke(
        self,
        tenant: str,
        body: bytes,
        *,
        container: str | None = None,
        content_type: str | None = None,
        accept: str = JSON,
        deadline_seconds: float | None = None,
    ) -> Reply:
        """Send one body to the tenant's current model and return its reply.

        >>> reply = fleet.invoke("m37", b"0.3,1.0,12.5", deadline_seconds=2)
        >>> reply.body, reply.content_type
        (b'{"predictions": [{"score": 50.8}]}', 'application/json')
        >>> reply.endpoint, reply.pointer.value, reply.attempts
        ('fraud--prod--tail--all--mme-m5-xlarge', 'cached', 1)

        body: at most 6 MB, the limit of InvokeEndpoint; 4 MB to a serverless endpoint.
        container: which container of a multi-container endpoint answers, by its hostname; such a call must name one.
        "primary" is the primary container there, and the only model of any other endpoint.
        content_type, accept: the format of the body, and of the reply. None: text/csv, or the container's.
        deadline_seconds: when the call ends, answered or not; by default that of the settings.

        Raises CallError (tierfleet.runtime.client.errors) for every failure.
        """
        started = self._options.clock()
        given = self._options.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        seconds = REAL_TIME_ANSWER_SECONDS if given is None else given
        check_request(tenant, body, content_type, accept, seconds, container)
        return self._measured(
            tenant,
            started,
            seconds,
            extends=given is None,
            make=lambda _state, call: call.run(body, content_type=content_type, accept=accept, container=container),
        )

    def submit(
        self,
        tenant: str,
        body: bytes | None = None,
        *,
        s3: str | None = None,
        content_type: str = CSV,
        accept: str = JSON,
        request_ttl_seconds: int | None = None,
        invocation_timeout_seconds: int | None = None,
        deadline_seconds: float | None = None,
    ) -> Submission:
        """Put a request into the queue of the tenant's asynchronous endpoint.

        >>> submission = fleet.submit("m08", b"0.3,1.0,12.5")
        >>> fleet.result(submission, timeout_seconds=60).predictions
        [21.8]

        body: up to 128,000 bytes go with the call; a larger one, up to 1 GB, is first written to the tier's bucket.
        s3: instead of a body, an object that is below the tenant's `input` prefix of that bucket already.
        request_ttl_seconds: how long it may wait in the queue, 60 to 21,600; by default 21,600 (6 h).
        invocation_timeout_seconds: how long it may run, 1 to 3,600; by default 900.
        deadline_seconds: when the attempt to submit it ends; by default that of the settings, or 70 s.

        Raises CallError for every failure to submit it. How the model fails, `result` says.
        """
        started = self._options.clock()
        given = self._options.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        seconds = REAL_TIME_ANSWER_SECONDS if given is None else given
        check_request(tenant, b"" if body is None else body, content_type, accept, seconds)
        request = AsyncRequest(
            tenant=tenant,
            body=body.encode() if isinstance(body, str) else body,
            s3=s3,
            content_type=content_type,
            accept=accept,
            request_ttl_seconds=request_ttl_seconds,
            invocation_timeout_seconds=invocation_timeout_seconds,
        )
        request.check()
        return self._measured(
            tenant, started, seconds, extends=False, make=lambda state, call: submit(call, state.aws, request)
        )

    def result(self, submission: Submission, timeout_seconds: float = 900.0) -> Reply:
        """Wait for the reply to a submitted request.

        >>> fleet.result(fleet.submit("m08", b"1,2,3")).body
        b'{"predictions": [{"score": 14.0}]}'

        timeout_seconds: how long to wait. It asks S3 at pauses that grow to 5 s. An endpoint that has scaled to zero
        needs minutes to wake up.

        Raises DeadlineExceededError if there is no result in time; the same submission may be waited for again, until
        no request of its age can have a result (RequestExpiredError).
        Raises PayloadRejectedError, ModelFailedError, RequestExpiredError or InferenceFailedError for a request that
        failed, AccessDeniedError if the caller may not read the bucket, and CallError otherwise.
        """
        [outcome] = self.wait_many([submission], timeout_seconds)
        if isinstance(outcome, CallError):
            raise outcome
        return outcome

    def wait_many(
        self,
        submissions: Sequence[Submission],
        timeout_seconds: float = 900.0,
        *,
        progress: Progress | None = None,
    ) -> list[Reply | CallError]:
        """Wait for many submitted requests; the outcomes are in the order of the submissions.

        >>> submissions = [fleet.submit("m08", row) for row in (b"1,2,3", b"4,5,6")]
        >>> outcomes = fleet.wait_many(submissions, progress=lambda done, total: print(done, "of", total))
        1 of 2
        2 of 2
        >>> [outcome.predictions for outcome in outcomes]
        [[14.0], [23.0]]

        timeout_seconds: for all of them together. progress: called after each finished one.

        A request that failed, or is not finished in time, has the CallError that `result` would raise as its outcome.
        """
        check_submissions(submissions, timeout_seconds)
        outcomes: list[Reply | CallError | None] = [None] * len(submissions)
        options = self._options
        results = Results(
            s3=self._state_here("-", timeout_seconds).aws.s3,
            timeout_seconds=timeout_seconds,
            clock=options.clock,
            sleep=options.sleep,
            jitter=options.jitter,
        )
        for done, (index, outcome) in enumerate(results.each(submissions), 1):
            outcomes[index] = outcome
            if progress is not None:
                progress(done, len(submissions))
        return [outcome for outcome in outcomes if outcome is not None]

    def _measured(
        self, tenant: str, started: float, seconds: float, *, extends: bool, make: Callable[[ProcessState, Call], Made]
    ) -> Made:
        """Make a call in one of the tenant's slots, and count it. Raises CallError."""
        clock = self._options.clock
        state: ProcessState | None = None
        claim = Claim(tenant)
        answered = False
        try:
            state = self._state_here(tenant, seconds)
            try:
                if not state.slots.take(claim, timeout_seconds=seconds - (clock() - started)):
                    raise TenantBusyError(
                        f"tenant {tenant}: its {state.slots.limit} calls were still running after {seconds:g} s; "
                        "send fewer at once, or raise calls_per_tenant",
                        tenant=tenant,
                    )
                call = Call(state.services, tenant, started=started, deadline=started + seconds, extends=extends)
                made = make(state, call)
            finally:
                try:
                    state.slots.give_back(claim)
                except BaseException:
                    # A signal handler raised inside it, or before it started.
                    state.slots.give_back(claim)
                    raise
            answered = True
            return made
        except (CallError, MemoryError):
            raise
        except Exception as error:
            raise unexpected_error(error, tenant=tenant) from error
        finally:
            if state is not None:
                state.metrics.call(tenant, clock() - started, answered=answered)

    def predict(
        self,
        tenant: str,
        rows: Iterable[Sequence[float | None]],
        *,
        container: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Scores:
        """Score rows of features.

        >>> fleet.predict("m37", [[0.3, 1.0, 12.5], [0.5, 0.0, 2.5]])
        [50.8, 40.0]

        rows: features in the model's order; None and NaN are missing values. They are sent as text/csv.
        container: as `invoke` takes it.

        Returns one float per row, in the order of the rows: the probability of binary:logistic, the value of a
        regression, the class of multi:softmax. For a model with several scores per row (multi:softprob, several targets
        or quantiles) it returns one list per row, with one float per class, target or quantile. This depends on the
        model only, not on the number of rows or the image.

        Raises ValueError if the rows are not a table of numbers, ReplyFormatError if the reply has no score for each
        row, and CallError as `invoke` does.
        """
        body = csv_rows(rows)
        reply = self.invoke(tenant, body, container=container, content_type=CSV, deadline_seconds=deadline_seconds)
        sent = body.count(b"\n") + 1
        try:
            scores = parse_scores(reply.body, rows=sent)
        except ValueError as error:
            raise self._format_error(reply, str(error)) from error
        if len(scores) != sent:
            raise self._format_error(reply, f"{sent} rows were sent and {len(scores)} scores came back")
        return scores

    def explain(
        self,
        tenant: str,
        rows: Iterable[Sequence[float | None]],
        *,
        container: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Contributions:
        """Score rows of features and say what each feature contributes to the score (SHAP values).

        >>> explained = fleet.explain("m37", [[0.3, 1.0, 12.5]])
        >>> explained.reasons(row=0)
        [('age', 12.5), ('country', 1.0), ('amount', 0.3)]
        >>> row = explained.rows[0]
        >>> row.score, row.bias, row.contributions
        (50.8, 37.0, (0.3, 1.0, 12.5))

        Bias and contributions of an output add up to its margin, the score before the objective's transform. An
        explanation takes the endpoint 10 to 500 times as long as a score, so request it only for rows whose reasons you
        need.

        Raises as `predict` does, and ContributionsUnavailableError if the image is not "tierfleet" or the model cannot
        be explained.
        """
        body = csv_rows(rows)
        reply, contributions = self.explain_body(tenant, body, container=container, deadline_seconds=deadline_seconds)
        sent = body.count(b"\n") + 1
        if len(contributions.rows) != sent:
            raise self._format_error(reply, f"{sent} rows were sent and {len(contributions.rows)} were explained")
        return contributions

    def explain_body(
        self,
        tenant: str,
        body: bytes,
        *,
        container: str | None = None,
        content_type: str = CSV,
        deadline_seconds: float | None = None,
    ) -> tuple[Reply, Contributions]:
        """Explain a body, such as JSON with category names, and return the reply too.

        >>> reply, explained = fleet.explain_body("m37", b"0.3,1.0,12.5")
        >>> explained.feature_names
        ('amount', 'country', 'age')
        """
        try:
            reply = self.invoke(
                tenant,
                body,
                container=container,
                content_type=content_type,
                accept=CONTRIBS,
                deadline_seconds=deadline_seconds,
            )
        except CallError as error:
            if error.kind not in _NO_CONTRIBUTIONS or not isinstance(error.__cause__, Exception):
                raise
            why = classify(error.__cause__).sentence
            raise contributions_error(why, tenant=tenant, endpoint=error.endpoint, kind=error.kind) from error
        try:
            return reply, reply.contributions
        except NoContributionsError as error:
            raise contributions_error(str(error), tenant=tenant, endpoint=reply.endpoint) from error
        except ValueError as error:
            raise self._format_error(reply, str(error)) from error

    def flush_metrics(self) -> None:
        """Write the collected metric lines now. Call it at the end of a Lambda handler, before the function freezes."""
        state = self._state
        if state is not None and state.process_id == os.getpid():
            state.metrics.flush()

    def close(self) -> None:
        """Write the last metric lines and close the connections. No call may be running.

        In a forked child it closes the child's connections only.
        """
        state = self._state
        if state is not None and state.process_id == os.getpid():
            state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Never:
        raise TypeError("a FleetClient cannot be sent to another process; make one there")

    def forget_in_child(self) -> None:
        """Drop the parent's state. Runs in a forked child, before any other thread starts."""
        if self._state is not None:
            self._state.free_locks()
        self._state = None
        self._renewals = SingleFlight("tierfleet-client")

    @property
    def _services(self) -> Services:
        """What the calls of this process share."""
        return self._state_here("-", math.inf).services

    def _state_here(self, tenant: str, seconds: float) -> ProcessState:
        """The state of this process, created at a forked child's first call. seconds: how long to wait for that."""
        state = self._state
        if state is not None and state.process_id == os.getpid():
            return state
        if self._options.aws is not None:
            raise RequestInvalidError(
                f"tenant {tenant}: this FleetClient was forked together with the clients in aws, whose connections "
                "belong to the parent; create it after the fork, or leave aws out",
                tenant=tenant,
            )
        try:
            state = self._renewals.run(os.getpid(), self._renewed, timeout_seconds=seconds)
        except TimeoutError as error:
            raise too_late_error(None, seconds=seconds, tenant=tenant, endpoint=None) from error
        self._state = state
        return state

    def _renewed(self) -> ProcessState:
        state = self._state
        if state is not None and state.process_id == os.getpid():
            # Another thread created it in the meantime.
            return state
        session = boto3.Session() if self._session is None else session_after_fork(self._session)
        self._state = ProcessState(self._options, session)
        return self._state

    def _format_error(self, reply: Reply, why: str) -> CallError:
        return ReplyFormatError(
            f"tenant {reply.tenant} on endpoint {reply.endpoint}: {why}; use invoke and read the body",
            tenant=reply.tenant,
            endpoint=reply.endpoint,
        )

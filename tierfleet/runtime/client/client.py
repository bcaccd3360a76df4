"""FleetClient: calls any tenant's model, wherever the fleet serves it now."""

import math
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Never, Self

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
from tierfleet.runtime.client.settings import ClientSettings
from tierfleet.runtime.client.tenant_slots import Claim
from tierfleet.runtime.clients import CallingClients
from tierfleet.runtime.contributions import CONTRIBS, Contributions, NoContributionsError, Scores
from tierfleet.runtime.credentials import session_after_fork
from tierfleet.runtime.hosting import REAL_TIME_ANSWER_SECONDS
from tierfleet.runtime.route_document import RouteDocument
from tierfleet.runtime.single_flight import SingleFlight

# What the dense server says of a model that it cannot explain, and the stock image on a shared endpoint of any Accept
# that it does not know; there it says the same of a bad row.
_NO_CONTRIBUTIONS: Final = frozenset({Kind.NOT_ACCEPTABLE, Kind.PAYLOAD_OR_MODEL})


class FleetClient:
    """The models of one fleet in one environment; thread-safe, made to live as long as the process.

        with FleetClient("fraud", "prod", region="eu-west-1") as fleet:
            scores = fleet.predict("m37", [[0.3, 1.0, 12.5]])
            reply = fleet.invoke("m37", b"0.3,1.0,12.5", deadline_seconds=2)

    account: of the fleet, whose models bucket is named after it. Without one the routes name the bucket; those of a
    fleet that was deployed before they did take the account of the credentials, by one call of STS if need be.
    region: of the fleet; without one it is the session's.
    routes_file, routes: a route document on disk (read again every TTL) or in hand, instead of AppConfig.
    emit: takes each metric line (docs/calling.md); by default standard output in a Lambda function, else none.
    aws: clients instead of those made from the session; they must not retry by themselves.
    After a fork it makes connections and caches of its own in the child at its first call there; with `aws` it
    refuses. docs/calling.md has the errors, the retries and the policy a caller needs.
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
            raise ValueError("routes and routes_file are both given, allowed: one of them")
        self._session = session
        first_session = session or boto3.Session()
        if aws is None and region is None and first_session.region_name is None:
            raise ValueError("there is no region; give region, a session that has one, or set AWS_DEFAULT_REGION")
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
        content_type: str = CSV,
        accept: str = JSON,
        deadline_seconds: float | None = None,
    ) -> Reply:
        """Send one body, at most 6 MB (4 MB to a serverless endpoint), to the tenant's current model.

        deadline_seconds: the call ends by then, answered or not; None: that of the settings.
        Raises CallError (tierfleet.runtime.client.errors), whatever went wrong.
        """
        clock = self._options.clock
        started = clock()
        given = self._options.settings.deadline_seconds if deadline_seconds is None else deadline_seconds
        seconds = REAL_TIME_ANSWER_SECONDS if given is None else given
        check_request(tenant, body, content_type, accept, seconds)
        state: ProcessState | None = None
        claim = Claim(tenant)
        answered = False
        try:
            state = self._state_here(tenant, seconds)
            try:
                if not state.slots.take(claim, timeout_seconds=seconds - (clock() - started)):
                    raise TenantBusyError(
                        f"tenant {tenant}: {state.slots.limit} calls of it were under way for {seconds:g} s; "
                        "send fewer at once, or raise calls_per_tenant",
                        tenant=tenant,
                    )
                deadline = started + seconds
                call = Call(state.services, tenant, started=started, deadline=deadline, extends=given is None)
                reply = call.run(body, content_type=content_type, accept=accept)
            finally:
                try:
                    state.slots.give_back(claim)
                except BaseException:
                    # A signal's handler raised in it, or before it began.
                    state.slots.give_back(claim)
                    raise
            answered = True
            return reply
        except (CallError, MemoryError):
            raise
        except Exception as error:
            raise unexpected_error(error, tenant=tenant) from error
        finally:
            if state is not None:
                state.metrics.call(tenant, clock() - started, answered=answered)

    def predict(
        self, tenant: str, rows: Iterable[Sequence[float | None]], *, deadline_seconds: float | None = None
    ) -> Scores:
        """The scores of rows of features, in their order; None and NaN are missing values.

        A list of one float per row: the probability of binary:logistic, the value of a regression, the class of
        multi:softmax. For a model with several scores per row (multi:softprob, several targets or quantiles) a list of
        lists, one per row, each with one float per class, target or quantile. The model decides, not the rows: it is
        the same for one row and for many, and on every image.

        Raises ValueError for rows that are no table, ReplyFormatError for a reply that is neither, and CallError as
        `invoke` does.
        """
        body = csv_rows(rows)
        reply = self.invoke(tenant, body, deadline_seconds=deadline_seconds)
        sent = body.count(b"\n") + 1
        try:
            scores = parse_scores(reply.body, rows=sent)
        except ValueError as error:
            raise self._format_error(reply, str(error)) from error
        if len(scores) != sent:
            raise self._format_error(reply, f"{sent} rows were sent and the scores of {len(scores)} came back")
        return scores

    def explain(
        self, tenant: str, rows: Iterable[Sequence[float | None]], *, deadline_seconds: float | None = None
    ) -> Contributions:
        """What each feature contributes to the scores of rows, in their order: SHAP values and the scores themselves.

        Contributions and bias of an output add up to its margin, the score before the objective's transform. It costs
        the endpoint 10 to 500 times what a score does: ask for the rows whose reasons somebody reads.
        Raises as `predict`, and ContributionsUnavailableError where the image is not "tierfleet" or the model cannot be
        explained.
        """
        body = csv_rows(rows)
        reply, found = self.explain_body(tenant, body, deadline_seconds=deadline_seconds)
        sent = body.count(b"\n") + 1
        if len(found.rows) != sent:
            raise self._format_error(reply, f"{sent} rows were sent and {len(found.rows)} were explained")
        return found

    def explain_body(
        self, tenant: str, body: bytes, *, content_type: str = CSV, deadline_seconds: float | None = None
    ) -> tuple[Reply, Contributions]:
        """The same for a body as `invoke` takes it, such as JSON with the texts of categories; and the reply itself."""
        try:
            reply = self.invoke(
                tenant, body, content_type=content_type, accept=CONTRIBS, deadline_seconds=deadline_seconds
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
        """Write the collected metric lines now: at the end of a Lambda handler, which may be frozen after it."""
        state = self._state
        if state is not None and state.process_id == os.getpid():
            state.metrics.flush()

    def close(self) -> None:
        """Write the last metric lines and close the connections; no call may be under way.

        In a forked child it closes what the child made, never the parent's.
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
        """After a fork, in the child, before any other thread: the parent's state is not the child's."""
        if self._state is not None:
            self._state.free_locks()
        self._state = None
        self._renewals = SingleFlight("tierfleet-client")

    @property
    def _services(self) -> Services:
        """What this process's calls share."""
        return self._state_here("-", math.inf).services

    def _state_here(self, tenant: str, seconds: float) -> ProcessState:
        """This process's state, made now if it is a forked child's first call; seconds: how long to wait for that."""
        state = self._state
        if state is not None and state.process_id == os.getpid():
            return state
        if self._options.aws is not None:
            raise RequestInvalidError(
                f"tenant {tenant}: this FleetClient came through a fork with the clients it was given, whose "
                "connections are the parent's; make it after the fork, or leave aws out",
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
            # Another thread's renewal ended between this one's look and its turn.
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

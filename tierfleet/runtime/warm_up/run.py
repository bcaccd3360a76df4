"""The warm-up: one valid probe per tenant, so that each model is loaded before its first real caller comes.

The hottest tenant is probed last, because a full cache evicts what was used longest ago. A repeat on a warm
endpoint is one quick call per tenant. Nothing lets a caller choose the instance: a probe warms one of them.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tierfleet.runtime.aws_errors import Kind, Verdict, classify
from tierfleet.runtime.catalog import CatalogError, NoSuchModelError, is_published, read_pointer
from tierfleet.runtime.clients import COLD_READ_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, LOOKUP_SECONDS
from tierfleet.runtime.time_limit import time_limit
from tierfleet.runtime.warm_up.plan import WarmUpPlan
from tierfleet.runtime.warm_up.report import WarmUpReport

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sagemaker_runtime.client import SageMakerRuntimeClient

PROBE_TAG: Final = "tierfleet-warm-up"
LONGEST_PROBE_SECONDS: Final = CONNECT_TIMEOUT_SECONDS + COLD_READ_TIMEOUT_SECONDS
# A load that outlives the 60-second answer goes on for at most this long.
LONGEST_LOAD_SECONDS: Final = 360
# A throttled or failed probe is repeated: the next scheduled run may be a day away.
MOST_ATTEMPTS: Final = 5
FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 10.0


def warm(
    plan: WarmUpPlan,
    *,
    runtime: "SageMakerRuntimeClient",
    s3: "S3Client",
    models_bucket: str,
    ended: Callable[[str], object] = lambda _tenant: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> WarmUpReport:
    """Run the plan and say what became of every tenant; raises nothing that one tenant's call raised.

    ended: called with each tenant that is warmed, failed or missing, from any thread; for a progress bar.

    It returns by the deadline: it starts no probe that might outlast it, and a call that hangs all the same
    is not waited for (its tenant counts as left). It stops early when no tenant could fare better: access
    denied, no such endpoint, no such bucket. runtime must not retry by itself (clients.cold_path_client).
    """
    run = _Run(plan, runtime, s3, models_bucket, ended, clock, sleep, jitter)
    workers = [
        threading.Thread(target=run.work, name=f"{PROBE_TAG}-{number}", daemon=True)
        for number in range(min(plan.concurrency, len(run.waiting)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, run.deadline - clock()))
    return run.report()


class _Run:
    """One run's shared state; the lock guards waiting, the outcomes and stopped."""

    def __init__(
        self,
        plan: WarmUpPlan,
        runtime: "SageMakerRuntimeClient",
        s3: "S3Client",
        models_bucket: str,
        ended: Callable[[str], object],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.runtime = runtime
        self.s3 = s3
        self.models_bucket = models_bucket
        self.ended = ended
        self.clock = clock
        self.sleep = sleep
        self.jitter = jitter
        self.started = clock()
        self.deadline = self.started + plan.deadline_seconds
        # A deadline shorter than two probes leaves half of itself, or no probe could start at all.
        self.last_start = self.deadline - min(LONGEST_PROBE_SECONDS, plan.deadline_seconds / 2)
        self.lock = threading.Lock()
        self.waiting = [tenant for tenant in plan.tenants if tenant not in plan.elsewhere]
        self.warmed: set[str] = set()
        self.missing: set[str] = set()
        self.failed: dict[str, str] = {}
        self.probe_errors: dict[str, str] = {}
        self.stopped: str | None = None

    def work(self) -> None:
        while (tenant := self._next_tenant()) is not None:
            self._warm(tenant)

    def report(self) -> WarmUpReport:
        with self.lock:
            ended = self.warmed | self.missing | set(self.failed) | set(self.plan.elsewhere)
            left = tuple(tenant for tenant in self.plan.tenants if tenant not in ended)
            stopped = self.stopped
            if left and stopped is None:
                stopped = f"the deadline of {self.plan.deadline_seconds:g} seconds was near"
            return WarmUpReport(
                warmed=tuple(tenant for tenant in self.plan.tenants if tenant in self.warmed),
                failed={tenant: self.failed[tenant] for tenant in self.plan.tenants if tenant in self.failed},
                missing=tuple(tenant for tenant in self.plan.tenants if tenant in self.missing),
                skipped=dict(self.plan.elsewhere),
                left=left,
                seconds=round(self.clock() - self.started, 3),
                stopped=stopped,
                probe_errors={t: self.probe_errors[t] for t in self.plan.tenants if t in self.probe_errors},
            )

    def _next_tenant(self) -> str | None:
        with self.lock:
            if not self.waiting or not self._may_start_at(self.clock()):
                return None
            # The list begins with the hottest tenant, who must be loaded last.
            return self.waiting.pop()

    def _may_start_at(self, moment: float) -> bool:
        return self.stopped is None and moment < self.last_start

    def _warm(self, tenant: str) -> None:
        try:
            with time_limit(LOOKUP_SECONDS):
                target_model = read_pointer(self.s3, bucket=self.models_bucket, tenant=tenant).target_model
        except NoSuchModelError:
            self._note_missing(tenant)
        except CatalogError as error:
            self._note_failed(tenant, str(error))
        except Exception as error:
            verdict = classify(error)
            # S3 answers 403 for a missing key as long as the role may not list that key.
            if verdict.kind is Kind.DENIED and self._is_missing(tenant):
                self._note_missing(tenant)
            else:
                self._note_verdict(tenant, verdict)
        else:
            self._probe_until_warm(tenant, target_model)

    def _is_missing(self, tenant: str) -> bool:
        try:
            with time_limit(LOOKUP_SECONDS):
                return not is_published(self.s3, bucket=self.models_bucket, tenant=tenant)
        except Exception:
            return False  # the first denial is reported then

    def _probe_until_warm(self, tenant: str, target_model: str) -> None:
        first_try = self.clock()
        for attempt in itertools.count(1):
            try:
                self._probe(target_model)
            except Exception as error:
                verdict = classify(error)
            else:
                with self.lock:
                    self.probe_errors.pop(tenant, None)
                    self.warmed.add(tenant)
                self.ended(tenant)
                return
            last = not verdict.retryable or self._tried_enough(verdict, attempt, first_try)
            with self.lock:
                # A model that is still loading says nothing against the endpoint.
                if last or verdict.kind is not Kind.MODEL_NOT_READY:
                    self.probe_errors[tenant] = verdict.sentence
                else:
                    self.probe_errors.pop(tenant, None)
            if last:
                self._note_verdict(tenant, verdict)
                return
            pause = self._backoff_seconds(attempt)
            if not self._may_start_at(self.clock() + pause):
                return  # neither warmed nor failed: it counts as left
            self.sleep(pause)

    def _probe(self, target_model: str) -> None:
        with time_limit(LONGEST_PROBE_SECONDS):
            reply = self.runtime.invoke_endpoint(
                EndpointName=self.plan.endpoint_name,
                TargetModel=target_model,
                ContentType=self.plan.probe.content_type,
                Body=self.plan.probe.body.encode(),
                # Both mark the probe in the container's log, and in SageMaker's data capture.
                CustomAttributes=PROBE_TAG,
                InferenceId=PROBE_TAG,
            )
            # The answer has ended only when its body is here.
            reply["Body"].read()

    def _tried_enough(self, verdict: Verdict, attempts: int, first_try: float) -> bool:
        if verdict.kind is Kind.MODEL_NOT_READY:
            return self.clock() - first_try >= LONGEST_LOAD_SECONDS
        return attempts >= MOST_ATTEMPTS

    def _backoff_seconds(self, attempt: int) -> float:
        ceiling = LONGEST_BACKOFF_SECONDS
        if attempt < MOST_ATTEMPTS:
            ceiling = min(ceiling, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
        # Drawn at random, so that probes that failed together are not repeated together.
        return ceiling * (1 + self.jitter()) / 2

    def _note_verdict(self, tenant: str, verdict: Verdict) -> None:
        if verdict.kind is Kind.MISSING_MODEL:
            self._note_missing(tenant)
            return
        self._note_failed(tenant, verdict.sentence)
        if verdict.same_for_every_tenant:
            with self.lock:
                self.stopped = self.stopped or verdict.sentence

    def _note_missing(self, tenant: str) -> None:
        with self.lock:
            self.missing.add(tenant)
        self.ended(tenant)

    def _note_failed(self, tenant: str, sentence: str) -> None:
        with self.lock:
            self.failed[tenant] = sentence
        self.ended(tenant)

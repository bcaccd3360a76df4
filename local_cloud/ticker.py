"""What happens without a request: schedules, changes of endpoints, metrics, alarms, scaling."""

import math
import threading
import time

from ministack import app
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch, scheduler

from local_cloud.core.clock import clock
from local_cloud.services.autoscaling import controller
from local_cloud.services.cloudwatch import alarm_evaluation, composite_alarms
from local_cloud.services.sagemaker import endpoint_states, metrics, serving

_TICK_SECONDS = 0.25
# How long the ticker waits between two evaluations of alarms and scaling, on our clock. AWS evaluates once a minute.
_EVALUATION_SECONDS = 5.0
# How long observations gather before they become datapoints, on the wall clock.
_GATHERING_SECONDS = 1.0

_evaluated_at = -math.inf
_published_at = -math.inf
# One at a time: two would fire one schedule twice, and date events before the other's step of the clock.
_ticking = threading.RLock()


def tick() -> None:
    """Bring everything up to now, in every account and region."""
    with _ticking:
        _tick(evaluate=True)


def advance(seconds: float) -> None:
    """Move the clock, and bring everything up to the new moment. What was observed so far is dated before it."""
    with _ticking:
        serving.server.collect()
        clock.advance(seconds)
        tick()


def _tick(*, evaluate: bool) -> None:
    global _evaluated_at, _published_at
    scheduler._tick_schedules()
    if evaluate:
        _evaluated_at = clock.now()
    serving.server.collect()
    if evaluate or time.monotonic() >= _published_at + _GATHERING_SECONDS:
        _published_at = time.monotonic()
        metrics.publish()
    failures = []
    for account, region in endpoint_states.scopes() | _alarm_scopes():
        set_request_account_id(account)
        set_request_region(region)
        try:
            endpoint_states.refresh_all()
            if evaluate:
                alarm_evaluation.evaluate_all()
            composite_alarms.deliver_all_due()
            if evaluate:
                controller.act()
        except Exception as error:  # an error in one account must not delay the others
            failures.append(error)
    if failures:
        raise failures[0]


def _alarm_scopes() -> set[tuple[str, str]]:
    return {(account, region) for account, region, _ in list(cloudwatch._alarms._data)}


def tick_forever() -> None:
    while True:
        time.sleep(_TICK_SECONDS)
        try:
            with _ticking:
                _tick(evaluate=not 0 <= clock.now() - _evaluated_at < _EVALUATION_SECONDS)
        except Exception:
            app.logger.exception("tick failed")

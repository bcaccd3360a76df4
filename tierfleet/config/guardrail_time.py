"""How long a rollback alarm takes to fire; alarm windows and guardrail bakes are derived from each other.

SageMaker looks at the alarms while a step bakes. A bake that is shorter than what the alarms need lets a version that
fails every call take all traffic.
"""

from typing import Final

# The rollback alarms look at minutes: this many of them must be bad.
ROLLBACK_PERIOD_SECONDS: Final = 60
ROLLBACK_DATAPOINTS: Final = (3, 5)
# SageMaker publishes by the minute; how late a minute's metrics arrive is not documented. Two minutes is what
# CloudWatch's users see at worst (docs/aws-assumptions.md).
METRIC_DELAY_SECONDS: Final = 120
# Traffic moves within a minute, and only a whole minute of it counts; then come the minutes that must be bad, the delay
# of their metrics, and CloudWatch's evaluation, once a minute.
BAKE_SECONDS: Final = (
    ROLLBACK_PERIOD_SECONDS
    + ROLLBACK_DATAPOINTS[0] * ROLLBACK_PERIOD_SECONDS
    + METRIC_DELAY_SECONDS
    + ROLLBACK_PERIOD_SECONDS
)

"""Lines in Embedded Metric Format that a function prints become metrics, as on AWS.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from typing import Any

from ministack.services import lambda_svc

from local_cloud.core.clock import clock
from local_cloud.services.cloudwatch import store


def emit_lambda_logs(function: dict[str, Any], request_id: str, log: str, *rest: Any, **options: Any) -> None:
    """Log as ministack does, then store the metrics. A line without metrics is only logged."""
    _ministack_emit_logs(function, request_id, log, *rest, **options)
    for line in (log or "").splitlines():
        if '"_aws"' in line:
            try:
                _store(json.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                lambda_svc.logger.warning("a line with _aws in it is not an embedded metric: %s", line[:500])


def _store(line: dict[str, Any]) -> None:
    # A function lives on the wall clock, its metrics on ours.
    moment = line["_aws"]["Timestamp"] / 1000 + clock.ahead_seconds
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(line[name]) for name in names}
            for metric in directive["Metrics"]:
                held = line[metric["Name"]]
                values = [float(value) for value in (held if isinstance(held, list) else [held])]
                store.store_datum(
                    directive["Namespace"],
                    metric["Name"],
                    dimensions,
                    moment,
                    metric.get("Unit", "None"),
                    None,
                    values,
                    None,
                    None,
                )


_ministack_emit_logs = lambda_svc._emit_lambda_logs

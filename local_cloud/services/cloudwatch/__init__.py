"""CloudWatch: metrics, metric math, alarms, and what logs make of metrics."""

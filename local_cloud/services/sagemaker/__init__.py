"""SageMaker: models, endpoint configs, endpoints, invocations and their metrics."""

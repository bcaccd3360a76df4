"""CDK constructs of a tiered SageMaker fleet, one concept a module."""

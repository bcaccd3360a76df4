"""tierfleet: hundreds to thousands of small per-tenant models on SageMaker, each at the tier that fits."""

__version__ = "0.1.0"

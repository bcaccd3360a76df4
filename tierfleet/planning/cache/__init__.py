"""The cache of a multi-model endpoint: exact LRU, miss-ratio curves, Che's approximation, bounds."""

from tierfleet.planning.cache.lru import CacheFleet, WarmUp, simulate
from tierfleet.planning.cache.prediction import predict

__all__ = ["CacheFleet", "WarmUp", "predict", "simulate"]

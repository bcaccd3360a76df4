"""Faults that tests inject into the calls of an endpoint."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SlowModelServer:
    """A fault: requests to the endpoint's instances of one configuration (None: of any) take longer."""

    endpoint: str
    config: str | None
    milliseconds: float


@dataclass(frozen=True)
class FailingModelServer:
    """A fault: an endpoint's instances answer requests with 500."""

    endpoint: str
    config: str | None
    """The endpoint configuration whose instances fail; None means all of them."""
    models: frozenset[str] | None
    """The TargetModel values that fail; None means every request."""

    def fails(self, endpoint: str, config: str, target_model: str | None) -> bool:
        return (
            self.endpoint == endpoint
            and self.config in (None, config)
            and (self.models is None or target_model in self.models)
        )


@dataclass
class Throttled:
    """A fault: of ten requests to the endpoint, so many are refused."""

    endpoint: str
    refused_of_ten: int
    requests: int = 0

    def refuses(self) -> bool:
        self.requests += 1
        return self.requests % 10 < self.refused_of_ten

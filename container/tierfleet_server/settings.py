"""The settings, read from the environment at start."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .payloads.accept import CONTENT_TYPES


class SettingsError(ValueError):
    """One or more environment variables are wrong; the message names all of them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings; docs/container.md lists every variable and default (a test compares)."""

    multi_model: bool = False
    host: str = "0.0.0.0"  # noqa: S104 - SageMaker connects from outside the container
    port: int = 8080
    model_directory: Path = Path("/opt/ml/model")
    max_request_bytes: int = 6 * 1024 * 1024
    default_accept: str = "text/csv"
    memory_budget_mib: int | None = None
    memory_reserve_mib: int | None = None
    predict_threads: int = os.cpu_count() or 1
    max_waiting_per_model: int = 256
    invocation_timeout_seconds: int = 58  # SageMaker gives up after 60
    request_timeout_seconds: int = 30
    drain_seconds: int = 20
    log_level: int = 20
    access_log: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read SAGEMAKER_* and TIERFLEET_* variables; raise SettingsError naming every wrong one."""
        values: dict[str, object] = {}
        problems = []
        for variable, (field, read) in VARIABLES.items():
            text = environment.get(variable)
            if text is None or text == "":
                continue
            try:
                values[field] = read(text)
            except ValueError as error:
                problems.append(f"{variable}={text!r}: {error}")
        for variable in sorted(environment):
            if variable.startswith("TIERFLEET_") and variable not in VARIABLES:
                known = ", ".join(name for name in VARIABLES if name.startswith("TIERFLEET_"))
                problems.append(f"{variable}: no such setting; known: {known}")
        if problems:
            raise SettingsError("; ".join(problems))
        return cls(**values)  # type: ignore[arg-type]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "1")


def _content_type(text: str) -> str:
    if text not in CONTENT_TYPES:
        raise ValueError(f"must be one of {', '.join(CONTENT_TYPES)}")
    return text


VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "SAGEMAKER_MULTI_MODEL": ("multi_model", _switch),
    "SAGEMAKER_BIND_TO_PORT": ("port", _whole(1, 65535)),
    # Both names are the stock image's, so that an environment means the same on both images. The second one wins.
    "SAGEMAKER_MAX_REQUEST_SIZE": ("max_request_bytes", _whole(1024, 25 * 1024 * 1024)),
    "MAX_CONTENT_LENGTH": ("max_request_bytes", _whole(1024, 25 * 1024 * 1024)),
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": ("default_accept", _content_type),
    "SAGEMAKER_CONTAINER_LOG_LEVEL": ("log_level", _whole(10, 50)),
    "TIERFLEET_BIND_HOST": ("host", str),
    "TIERFLEET_MODEL_DIRECTORY": ("model_directory", Path),
    "TIERFLEET_MEMORY_BUDGET_MIB": ("memory_budget_mib", _whole(1, 64 * 1024 * 1024)),
    "TIERFLEET_MEMORY_RESERVE_MIB": ("memory_reserve_mib", _whole(0, 64 * 1024 * 1024)),
    "TIERFLEET_PREDICT_THREADS": ("predict_threads", _whole(1, 256)),
    "TIERFLEET_MAX_WAITING_PER_MODEL": ("max_waiting_per_model", _whole(1, 100_000)),
    "TIERFLEET_INVOCATION_TIMEOUT_SECONDS": ("invocation_timeout_seconds", _whole(1, 3600)),
    "TIERFLEET_REQUEST_TIMEOUT_SECONDS": ("request_timeout_seconds", _whole(1, 3600)),
    "TIERFLEET_DRAIN_SECONDS": ("drain_seconds", _whole(1, 600)),
    "TIERFLEET_ACCESS_LOG": ("access_log", _switch),
}

"""What a model costs a container: resident memory, seconds to load and to extract, milliseconds to answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class PredictTime:
    """One row's time in the container, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One container's figures. Sizes are those of the model file in MB (10**6 bytes), memory is in MiB.

    resident, load: (model MB, MiB or seconds), by size; predict: (model MB, times), by size.
    prototype: nothing ships it. The other fields are explained in data/profiles.toml.
    """

    name: str
    title: str
    source: str
    measured_on: date
    prototype: bool
    parallel_loads: int | Literal["vcpus"]
    reserve_mib: float
    reserve_share: float
    fixed_mib: float
    artefact_mb_per_model_mb: float
    file_mb_per_model_mb: float
    extract_seconds_per_model_mb: float
    resident: Points
    load: Points
    predict: tuple[tuple[float, PredictTime], ...]

    def model_mb(self, artefact_mb: float) -> float:
        """The model file's size behind a packed artefact of `artefact_mb`."""
        return artefact_mb / self.artefact_mb_per_model_mb

    def artefact_mb(self, model_mb: float) -> float:
        """The packed size: what S3 holds and a cold call fetches."""
        return model_mb * self.artefact_mb_per_model_mb

    def resident_mib(self, model_mb: float) -> float:
        """Memory of one loaded model; more than 0."""
        return max(interpolate(self.resident, model_mb), min(mib for _, mib in self.resident) / 10)

    def load_seconds(self, model_mb: float) -> float:
        """Seconds from the LOAD request of an extracted model to its answer, on an idle server."""
        return max(interpolate(self.load, model_mb), 0.0)

    def extract_seconds(self, model_mb: float) -> float:
        """Seconds to unpack the artefact."""
        return self.extract_seconds_per_model_mb * model_mb

    def predict_ms(self, model_mb: float) -> PredictTime:
        """Times of one row; 0 or more."""
        times = {
            name: max(
                interpolate(tuple((mb, getattr(prediction, name)) for mb, prediction in self.predict), model_mb), 0.0
            )
            for name in ("p50", "p95", "p99")
        }
        return PredictTime(**times)

    def loads_at_once(self, vcpus: int) -> int:
        """Models an instance loads at the same time."""
        return vcpus if self.parallel_loads == "vcpus" else self.parallel_loads

    def model_memory_mib(self, memory_gib: float) -> float:
        """What an instance of `memory_gib` has left for models; 0 or more."""
        return max((memory_gib * 1024 - self.reserve_mib) * (1 - self.reserve_share) - self.fixed_mib, 0.0)

    def models_per_instance(self, memory_gib: float, model_mb: float) -> int:
        """Models of one size that fit one instance."""
        return int(self.model_memory_mib(memory_gib) / self.resident_mib(model_mb))


def interpolate(points: Sequence[tuple[float, float]], at: float) -> float:
    """The straight line between the two points around `at`; beyond the ends, the line of the last two goes on."""
    if len(points) == 1:
        return points[0][1]
    right = next((index for index, (x, _) in enumerate(points) if x >= at), len(points) - 1)
    (x0, y0), (x1, y1) = points[max(right - 1, 0)], points[max(right, 1)]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)

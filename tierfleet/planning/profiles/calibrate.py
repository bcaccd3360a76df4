"""Measures the tierfleet server on given artefacts, as `tierfleet plan calibrate` does: one profile comes out.

A server of its own, `python -m tierfleet_server` on loopback, loads copies of each artefact. Memory is PSS of its
whole process tree (Linux), its models; shared libraries are left out.
"""

import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tierfleet.errors import InputError
from tierfleet.planning.profiles.calibration_server import calibration_server, pss_mib
from tierfleet.planning.profiles.profile import PredictTime, Profile

# For memory that loading freed to go back to the system, which the server does in pauses.
SETTLE_SECONDS = 4.0
PREDICTIONS = 300
LEAST_MB, MOST_COPIES = 40.0, 300


@dataclass(frozen=True)
class Measured:
    """One artefact: sizes in MB, medians over its copies.

    model_mb: of the file that XGBoost reads, also where the artefact holds a flat forest of it. file_mb: unpacked.
    resident_mib: of one copy; predict: one row, in ms.
    """

    model_mb: float
    artefact_mb: float
    file_mb: float
    resident_mib: float
    load_seconds: float
    extract_seconds: float
    predict: PredictTime


def measure(artefacts: Sequence[Path], *, copies: int, settle_seconds: float | None = None) -> Iterator[Measured]:
    """Each tar.gz in turn, loaded in a server of its own: `copies` times, and more often if it is small, so that
    enough memory is used to be told from the server's own.

    Raises InputError for what is no artefact, or what the server refuses, with its sentence.
    """
    for artefact in artefacts:
        with tempfile.TemporaryDirectory(prefix="tierfleet-calibrate-") as scratch:
            directories, seconds = _extract(artefact, Path(scratch), copies)
            file_mb = sum(file.stat().st_size for file in directories[0].iterdir() if file.is_file()) / 1e6
            with calibration_server(Path(scratch)) as server:
                before = pss_mib(server.pid)
                loads = []
                for number, directory in enumerate(directories):
                    loads.append(server.load(f"copy-{number}", directory))
                    server.answer_row(f"copy-{number}")
                time.sleep(SETTLE_SECONDS if settle_seconds is None else settle_seconds)
                resident = (pss_mib(server.pid) - before) / len(directories)
                times = sorted(server.answer_row("copy-0") * 1000 for _ in range(PREDICTIONS))
            yield Measured(
                model_mb=_source_mb(directories[0]) or file_mb,
                file_mb=file_mb,
                artefact_mb=artefact.stat().st_size / 1e6,
                resident_mib=resident,
                load_seconds=statistics.median(loads),
                extract_seconds=statistics.median(seconds),
                predict=PredictTime(p50=_at(times, 0.5), p95=_at(times, 0.95), p99=_at(times, 0.99)),
            )


def calibrated(
    measured: Sequence[Measured], *, name: str, copies: int, reserve_mib: float, reserve_share: float, on: date
) -> Profile:
    """The profile of the measured artefacts. reserve_mib and reserve_share are not measured: see data/profiles.toml."""
    if not measured:
        raise InputError("nothing was measured; give at least one artefact")
    by_size = sorted(measured, key=lambda model: model.model_mb)
    sizes = [model.model_mb for model in by_size]
    if len(set(sizes)) < len(sizes):
        raise InputError("two artefacts have models of the same size; give one of each size")
    total_mb = sum(sizes)
    return Profile(
        name=name,
        title="the tierfleet server: one process holds every model",
        source=(
            f"tierfleet plan calibrate, {copies} copies or more of each artefact, PSS of the process tree, extraction "
            f"by Python's tarfile, one row with 1 connection; {platform.machine()}, {os.cpu_count()} processors, "
            f"load average {os.getloadavg()[0]:.1f}"
        ),
        measured_on=on,
        prototype=False,
        # Loads of different models take turns.
        parallel_loads=1,
        reserve_mib=reserve_mib,
        reserve_share=reserve_share,
        # The process itself lives in the share that it keeps free.
        fixed_mib=0.0,
        artefact_mb_per_model_mb=sum(model.artefact_mb for model in by_size) / total_mb,
        file_mb_per_model_mb=sum(model.file_mb for model in by_size) / total_mb,
        extract_seconds_per_model_mb=sum(model.extract_seconds for model in by_size) / total_mb,
        resident=tuple((model.model_mb, max(model.resident_mib, 0.0)) for model in by_size),
        load=tuple((model.model_mb, model.load_seconds) for model in by_size),
        predict=tuple((model.model_mb, model.predict) for model in by_size),
    )


def _source_mb(directory: Path) -> float:
    """The size of the file that an artefact's flat forest was made from; 0 where it holds none, or does not say."""
    from tierfleet_forest.layout import metadata_of

    try:
        source = json.loads(metadata_of((directory / "model.forest").read_bytes()))["source"]
        return float(source["size_bytes"]) / 1e6
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0


def _at(times: Sequence[float], share: float) -> float:
    return times[min(int(share * len(times)), len(times) - 1)]


def _extract(artefact: Path, scratch: Path, copies: int) -> tuple[list[Path], list[float]]:
    """The artefact unpacked `copies` times or until LEAST_MB are there, and the seconds of each."""
    directories: list[Path] = []
    seconds: list[float] = []
    unpacked_mb = 0.0
    while len(directories) < copies or (unpacked_mb < LEAST_MB and len(directories) < MOST_COPIES):
        directory = scratch / f"copy-{len(directories)}"
        started = time.perf_counter()
        try:
            with tarfile.open(artefact, "r:gz") as archive:
                archive.extractall(directory, filter="data")
        except (OSError, tarfile.TarError, EOFError) as error:
            raise InputError(
                f"{artefact} is not a tar.gz that can be read: {error}; tierfleet models package makes one"
            ) from error
        seconds.append(time.perf_counter() - started)
        directories.append(directory)
        unpacked_mb += sum(file.stat().st_size for file in directory.iterdir() if file.is_file()) / 1e6
    return directories, seconds

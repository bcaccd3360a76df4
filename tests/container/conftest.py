"""Real XGBoost models, trained once, and real server processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"

from running_server import RunningServer
from trained_models import Trained, train_every_kind


@pytest.fixture(scope="session")
def trained() -> dict[str, Trained]:
    """One small model of every kind that is served, by kind."""
    return train_every_kind()


@pytest.fixture(scope="session")
def artefacts(trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each model as an extracted bare artefact: a directory with one file."""
    root = tmp_path_factory.mktemp("artefacts")
    directories = {}
    for kind, model in trained.items():
        directories[kind] = root / kind
        directories[kind].mkdir()
        (directories[kind] / "xgboost-model").write_bytes(model.saved)
    return directories


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers with the given environment; they are stopped at the end of the test."""
    running: list[RunningServer] = []

    def start_server(**environment: str) -> RunningServer:
        running.append(RunningServer(environment, tmp_path / f"server-{len(running)}.log"))
        return running[-1]

    yield start_server
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One multi-model server for a whole module of tests."""
    running = RunningServer({"SAGEMAKER_MULTI_MODEL": "true"}, tmp_path_factory.mktemp("server") / "log")
    yield running
    running.close()

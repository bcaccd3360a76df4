"""The process that checks model files: it is the server's only way to a model, and it may end at any time."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_server import RunningServer
from tierfleet_server import native
from tierfleet_server.checker import Checker
from tierfleet_server.loading import load_model
from tierfleet_server.prepared import Prepared, prepare
from tierfleet_server.refusal import BadModel, Refusal

Start = Callable[..., RunningServer]


@pytest.fixture
def checker() -> Iterator[Checker]:
    checker = Checker(native.version())
    yield checker
    checker.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def content(found: Prepared) -> bytes:
    with os.fdopen(found.file, "rb") as file:
        file.seek(0)
        return file.read()


def test_it_finds_what_a_check_in_this_process_finds(checker: Checker, artefacts: dict[str, Path]) -> None:
    for directory in artefacts.values():
        theirs, ours = checker.prepare(str(directory)), prepare(str(directory), native.version())
        assert (theirs.facts, theirs.steps, theirs.names, theirs.size) == (
            ours.facts,
            ours.steps,
            ours.names,
            ours.size,
        )
        assert content(theirs) == content(ours)


def test_what_was_checked_is_what_is_loaded(checker: Checker, artefacts: dict[str, Path], tmp_path: Path) -> None:
    """A file that is overwritten or cut short after its check changes nothing and ends nothing."""
    saved = (artefacts["binary"] / "xgboost-model").read_bytes()
    file = tmp_path / "model.ubj"

    def prepare_then_damage(url: str) -> Prepared:
        found = checker.prepare(url)
        file.write_bytes(b"{")
        return found

    file.write_bytes(saved)
    assert load_model(str(file), prepare_then_damage).features == 8


@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("a\udcff", 404), ("pickle", 400)])
def test_a_refusal_comes_back_as_it_is(name: str, status: int, checker: Checker, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(b"\x80\x04.")
    with pytest.raises(Refusal) as caught:
        checker.prepare(str(tmp_path / name))
    with pytest.raises(Refusal) as here:
        prepare(str(tmp_path / name), native.version())
    assert (caught.value.status, caught.value.message) == (status, here.value.message)
    assert isinstance(caught.value, BadModel) == (status == 400)


def test_no_open_file_stays_behind(checker: Checker, artefacts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"{")
    load_model(str(artefacts["binary"]), checker.prepare)
    gc.collect()  # what earlier tests left open closes now, not in between
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        load_model(str(artefacts["binary"]), checker.prepare)
        with pytest.raises(BadModel):
            load_model(str(tmp_path / "bad"), checker.prepare)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_if_it_ends_the_next_load_starts_another(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.load("first", artefacts["binary"]).status == 200
    [checker] = children(server.process.pid)
    os.kill(checker, signal.SIGTERM)  # for the server, which drains first
    assert server.load("second", artefacts["binary"]).status == 200
    os.kill(checker, signal.SIGKILL)
    assert server.load("third", artefacts["binary"]).status == 507, "the kernel ends what has no memory so"
    assert server.load("third", artefacts["binary"]).status == 200
    assert server.invoke("first", b"1,2,3,4,5,6,7,8").status == 200
    assert children(server.process.pid) != [checker]


def test_it_ends_with_the_server(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.load("m", artefacts["binary"]).status == 200
    [checker] = children(server.process.pid)
    server.process.kill()
    server.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = Path(f"/proc/{checker}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("the checker outlives the server")

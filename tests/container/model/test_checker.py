"""The process that checks model files: it is the server's only way to a model, and it may end at any time."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_state import children, exists
from running_server import RunningServer
from tierfleet_server.checker import Checker
from tierfleet_server.model import artefact, native
from tierfleet_server.model.load_limits import Admitted
from tierfleet_server.model.loading import load_model, size_on_disk
from tierfleet_server.model.prepared import SMALL_BYTES, Prepared, prepare, take
from tierfleet_server.model.refusal import BadModel, Refusal
from trained_models import Trained

Start = Callable[..., RunningServer]


@pytest.fixture
def checker() -> Iterator[Checker]:
    checker = Checker(native.version())
    yield checker
    checker.close()


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def path_of(path: Path) -> Path:
    return artefact.model_path(path)


def admitted(path: Path) -> Admitted:
    return size_on_disk(str(path))


def padded(model: Trained, form: str) -> bytes:
    """A model whose file is too big to be sent as bytes."""
    booster = model.booster.copy()
    booster.set_attr(padding="x" * SMALL_BYTES)
    return bytes(booster.save_raw(form))


def test_it_finds_what_a_check_in_this_process_finds(
    checker: Checker, artefacts: dict[str, Path], trained: dict[str, Trained], tmp_path: Path
) -> None:
    files = list(artefacts.values())
    for form in ("ubj", "json"):
        files.append(tmp_path / form)
        files[-1].write_bytes(padded(trained["binary"], form))
    in_a_file = 0
    for path in files:
        theirs, ours = checker.prepare(str(path), admitted(path)), prepare(str(path), native.version())
        assert theirs[1:3] == ours[1:3]
        assert 0 < theirs.heap_bytes < 4 * path_of(path).stat().st_size + 100_000
        assert isinstance(theirs.held, int) == isinstance(ours.held, int)
        in_a_file += isinstance(ours.held, int)
        assert take(theirs.held)[:] == take(ours.held)[:]
    assert in_a_file == 2


@pytest.mark.parametrize("big", [False, True])
def test_what_was_checked_is_what_is_loaded(
    big: bool, checker: Checker, trained: dict[str, Trained], tmp_path: Path
) -> None:
    """A file that is overwritten or cut short after its check changes nothing and ends nothing."""
    saved = padded(trained["binary"], "ubj") if big else trained["binary"].saved
    file = tmp_path / "model.ubj"

    def prepare_then_damage(url: str, admitted: Admitted) -> Prepared:
        prepared = checker.prepare(url, admitted)
        file.write_bytes(b"{")
        return prepared

    file.write_bytes(saved)
    assert load_model(str(file), prepare=prepare_then_damage).features == 8


@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("a\udcff", 404), ("pickle", 400)])
def test_a_refusal_comes_back_as_it_is(name: str, status: int, checker: Checker, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(b"\x80\x04.")
    with pytest.raises(Refusal) as caught:
        checker.prepare(str(tmp_path / name), Admitted(4, "ubj"))
    with pytest.raises(Refusal) as here:
        prepare(str(tmp_path / name), native.version())
    assert (caught.value.status, caught.value.message) == (status, here.value.message)
    assert isinstance(caught.value, BadModel) == (status == 400)


def test_no_open_file_stays_behind(checker: Checker, trained: dict[str, Trained], tmp_path: Path) -> None:
    """Neither in this process nor in the checker."""
    whole = padded(trained["binary"], "ubj")
    for name, content in {"good": whole, "small": trained["binary"].saved, "bad": whole[:-1]}.items():
        (tmp_path / name).write_bytes(content)
    load_model(str(tmp_path / "good"), prepare=checker.prepare)
    load_model(str(tmp_path / "small"), prepare=checker.prepare)  # by now it has closed the file of the one before
    gc.collect()  # what earlier tests left open closes now, not in between
    [process] = [child for child in children(os.getpid()) if "tierfleet_server.check_process" in command_of(child)]
    files = [Path("/proc/self/fd"), Path(f"/proc/{process}/fd")]
    before = [len(list(path.iterdir())) for path in files]
    for _ in range(10):
        load_model(str(tmp_path / "good"), prepare=checker.prepare)
        load_model(str(tmp_path / "small"), prepare=checker.prepare)
        with pytest.raises(BadModel):
            load_model(str(tmp_path / "bad"), prepare=checker.prepare)
    deadline = time.monotonic() + 30
    while [len(list(path.iterdir())) for path in files] != before:
        assert time.monotonic() < deadline, "a file stays open"
        time.sleep(0.02)  # the last load's process is still being waited for


def test_if_it_ends_the_next_load_starts_another(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.load("first", artefacts["binary"]).status == 200
    [checker] = children(server.process.pid)
    os.kill(checker, signal.SIGTERM)  # for the server, which drains first
    assert server.load("second", artefacts["regression"]).status == 200
    os.kill(checker, signal.SIGKILL)
    assert server.load("third", artefacts["poisson"]).status == 200
    assert server.invoke("first", b"1,2,3,4,5,6,7,8").status == 200
    assert children(server.process.pid) != [checker]


def test_it_ends_with_the_server(start: Start, artefacts: dict[str, Path]) -> None:
    server = start(SAGEMAKER_MULTI_MODEL="true")
    assert server.load("m", artefacts["binary"]).status == 200
    [checker] = children(server.process.pid)
    server.process.kill()
    server.wait()
    deadline = time.monotonic() + 30
    while exists(checker):
        assert time.monotonic() < deadline, "the checker outlives the server"
        time.sleep(0.02)

"""A file is replaced whole or left alone, and a place that cannot be written is refused before the work."""

import os
from pathlib import Path

import pytest

from tierfleet.errors import InputError
from tierfleet.files import check_writable, replacing, write_whole


def test_a_file_takes_the_new_text_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    write_whole(file, "one\r\n")
    file.chmod(0o640)
    write_whole(file, "two\n")
    assert file.read_bytes() == b"two\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def _stopped_half_way(file: Path) -> None:
    with replacing(file) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt


def test_what_stops_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _stopped_half_way(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_no_plain_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with replacing(pipe) as beside:
        assert beside == pipe.resolve()
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a directory; give a file"), ("no/where.html", "there is no directory .*/no; make it first")],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_writable(tmp_path / name, "--html")
    check_writable(tmp_path / "new.html", "--html")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_of_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="permission denied"):
        check_writable(tmp_path / "new.html", "--html")

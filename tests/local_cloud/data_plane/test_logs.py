"""What a container prints, line by line, from a file that does not grow without bound."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.data_plane.instances import log_tail
from local_cloud.data_plane.instances.log_tail import LogTail


def printed(tail: LogTail) -> list[str]:
    return [line for _, line in tail.take()]


def test_whole_lines_come_once_and_a_part_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "container.log"
    tail = LogTail(file)
    assert printed(tail) == []
    with file.open("ab", buffering=0) as container:
        container.write(b"one\ntw")
        assert printed(tail) == ["one"]
        container.write(b"o\r\n\n \nthree \xff\n")
        assert printed(tail) == ["two", "three \ufffd"]
    assert printed(tail) == []


def test_a_large_file_is_emptied_once_it_is_read_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tail, "_LARGEST_FILE_BYTES", 100)
    file = tmp_path / "container.log"
    tail = LogTail(file)
    with file.open("ab", buffering=0) as container:
        for number in range(50):
            container.write(b"%048d\n" % number)
            assert printed(tail) == [f"{number:048d}"]
            assert file.stat().st_size <= 150


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_however_it_is_written_the_same_lines_come(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("log") / "container.log"
    tail, lines = LogTail(file), []
    with file.open("ab", buffering=0) as container:
        for part in [*parts, b"\n"]:
            container.write(part)
            lines += printed(tail)
    whole = b"".join(parts).split(b"\n")
    expected = [line.decode(errors="replace").rstrip("\r") for line in whole]
    assert lines == [line for line in expected if line.strip()]


def test_a_line_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "_LONGEST_LINE_BYTES", 10)
    file = tmp_path / "container.log"
    file.write_bytes(b"x" * 100)
    assert printed(LogTail(file)) == ["x" * 10]

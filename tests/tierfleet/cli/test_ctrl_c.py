"""Ctrl-C in a plan command: exit code 130 and no traceback, in every phase."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from tierfleet.cli import app, startup
from tierfleet.planning.cache import curve_table
from tierfleet.planning.traffic import synthesize


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def query_interrupted(*_: object, **__: object) -> None:
    raise RuntimeError("Query interrupted")


def turned_into_bad_input(*_: object, **__: object) -> None:
    """As a reader does that takes every error of DuckDB for a file that cannot be read."""
    try:
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
    except duckdb.Error as error:
        raise ValueError("trace.csv cannot be read") from error


def while_a_class_is_made(*_: object, **__: object) -> None:
    raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()


@pytest.mark.parametrize("how", [interrupted, query_interrupted, turned_into_bad_input, while_a_class_is_made])
def test_it_is_130_however_it_arrives(how: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(curve_table, "tabulate", how)
    monkeypatch.setattr(synthesize, "write_trace", how)
    for arguments in (["curve", "trace.csv"], ["synthesize", "fraud", "--out", str(tmp_path / "trace.csv")]):
        answer = CliRunner().invoke(app, ["plan", *arguments])
        assert answer.exit_code == 130, answer.output
        assert "error" not in answer.output
        assert "Traceback" not in answer.output


def test_another_runtime_error_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(curve_table, "tabulate", broken)
    assert isinstance(CliRunner().invoke(app, ["plan", "curve", "trace.csv"]).exception, RuntimeError)


@pytest.mark.parametrize(("name", "code"), [("/usr/bin/tierfleet", 130), ("/usr/bin/other", -2)])
def test_it_is_130_while_the_commands_are_imported_and_only_for_the_command(name: str, code: int) -> None:
    source = (
        "import importlib.util as u, os, signal, sys; sys.argv = [{!r}]; spec = u.spec_from_file_location('s', {!r}); "
    )
    source += "module = u.module_from_spec(spec); spec.loader.exec_module(module); os.kill(os.getpid(), signal.SIGINT)"
    command = [sys.executable, "-c", source.format(name, startup.__file__)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert (ended.stderr == "") == (code == 130)

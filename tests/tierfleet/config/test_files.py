"""No file ends in a traceback or in waiting, and one file's fault never hides another's."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit
from app_run import run_app
from typer.testing import CliRunner, Result

from local_cloud.testing.fleets import DELETE, checked, document
from tests.fuzz.fleet_files import fuzz, synthesise_and_check
from tierfleet.cli import app
from tierfleet.config import ConfigError, check_file, check_files, load_all
from tierfleet.config.problems import errors_of

SOUND = tomlkit.dumps(document()).encode()


def tierfleet(*arguments: object) -> Result:
    """The command as a user's shell sees it: an exception would be the result's."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


def with_value(key: str, value: str) -> Callable[[Path], object]:
    """The sound file with one more top-level key, before its tables."""
    return written(f"{key} = {value}\n".encode() + SOUND)


def unreadable(file: Path) -> None:
    file.write_bytes(SOUND)
    file.chmod(0)


def deep_table(file: Path) -> None:
    file.write_bytes(f"[{'.'.join('a' * 3000)}]\nb = 1\n".encode() + SOUND)


# name: (how the file is made, words of the refusal)
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (written(b""), "is missing"),
    "a directory": (lambda file: file.mkdir(), "it is a directory"),
    "a pipe": (os.mkfifo, "no regular file"),
    "a device": (lambda file: file.symlink_to("/dev/zero"), "no regular file"),
    "a link to nothing": (lambda file: file.symlink_to("absent"), "No such file"),
    "a link to itself": (lambda file: file.symlink_to(file.name), "symbolic links"),
    "a byte-order mark": (written(b"\xef\xbb\xbf" + SOUND), "byte-order mark"),
    "UTF-16": (written(SOUND.decode().encode("utf-16")), "it is UTF-16"),
    "UTF-32": (written(SOUND.decode().encode("utf-32")), "it is UTF-32"),
    "Latin-1": (written("# für\n".encode("latin-1") + SOUND), "line 1 is not UTF-8 (byte 0xfc)"),
    "zeros": (written(b"\0" * 100), "is not valid TOML"),
    "3,000 brackets": (with_value("tiers2", "[" * 3000), "is not valid TOML"),
    "3,000 closed brackets": (with_value("x", "[" * 3000 + "]" * 3000), "is not valid TOML"),
    "3,000 tables": (deep_table, "nest deeper"),
    "3,000 dotted keys": (with_value(".".join("a" * 3000), "1"), "nest deeper"),
    "5,000 digits": (with_value("x", "9" * 5000), "is not valid TOML"),
    "5,000 hexadecimal digits": (with_value("account2", "0x" + "f" * 5000), "unknown key"),
    "a date": (with_value("x", "2027-01-01"), "unknown key"),
    "inf as a name": (written(SOUND.replace(b'fleet = "shop"', b"fleet = inf")), "should be text"),
    "a date as a name": (written(SOUND.replace(b'fleet = "shop"', b"fleet = 2027-01-01")), 'quote it: fleet = "2027-'),
    "a time as an account": (written(SOUND.replace(b'"123456789012"', b"07:45:00")), "quote it"),
    "a key twice": (with_value("fleet", '"x"'), "is not valid TOML"),
    "nine megabytes": (written(b"# " + b"x" * 9_000_000), "has more than"),
    "half a file": (written(SOUND[: len(SOUND) // 2]), "is"),
}


@pytest.mark.parametrize("name", FILES)
def test_any_file_is_refused_in_words(name: str, tmp_path: Path) -> None:
    make, words = FILES[name]
    file = tmp_path / "shop-test.toml"
    make(file)
    result = check_file(file)
    assert result.config is None
    assert any(words in str(problem) for problem in result.problems), "\n".join(map(str, result.problems))
    json.dumps([vars(problem) for problem in result.problems], allow_nan=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    unreadable(tmp_path / "shop-test.toml")
    assert "Permission denied" in str(check_file(tmp_path / "shop-test.toml").problems[0])


@pytest.mark.parametrize("name", ["x" * 300 + ".toml", "a\0b.toml", "absent/shop-test.toml"])
def test_any_path_is_refused_in_words(name: str, tmp_path: Path) -> None:
    [problem] = check_file(tmp_path / name).problems
    assert "cannot be read" in problem.message


def test_a_name_that_is_no_text_is_shown_with_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff-test.toml")
    file.write_bytes(SOUND)
    result = tierfleet("config", "check", file, "--json")
    assert result.exit_code == 2, result.output
    assert "\\xff-test.toml" in json.loads(result.stdout)["problems"][0]["file"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xe9t\xe9\n", "line 1 is not UTF-8 (byte 0xe9)"),
        (b"\xef\xbb\xbft1\n", "byte-order mark"),
        ("t1\n".encode("utf-16"), "UTF-16"),
        (b"x" * 9_000_000, "has more than"),
    ],
)
def test_a_list_next_to_the_file_is_read_as_carefully(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_bytes(content)
    result = checked(tmp_path, document(tiers={"tail": {"warm_up": {"tenants_file": "hot.txt", "tenants": DELETE}}}))
    [error] = errors_of(result.problems)
    assert error.key == "tenants_file"
    assert words in error.message


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 300, "a\0b", "sub/hot.txt"])
def test_a_list_of_any_name_is_refused_in_words(name: str, tmp_path: Path) -> None:
    result = checked(tmp_path, document(tiers={"tail": {"warm_up": {"tenants_file": name, "tenants": DELETE}}}))
    assert [error.key for error in errors_of(result.problems)] == ["tenants_file"]


def test_a_pipe_as_a_list_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hot.txt")
    result = checked(tmp_path, document(tiers={"tail": {"warm_up": {"tenants_file": "hot.txt", "tenants": DELETE}}}))
    assert "no regular file" in str(errors_of(result.problems)[0])


def test_a_control_character_in_any_text_is_refused_where_it_is(tmp_path: Path) -> None:
    result = checked(tmp_path, document(container={"environment": {"A": "x\x00y"}}, tags={"a\ufeff": "b"}))
    places = {(error.table, error.key): error.message for error in errors_of(result.problems)}
    assert "control character (U+0000)" in places["container.environment", "A"]
    assert set(places) == {("container.environment", "A"), ("tags", "a\ufeff")}


@pytest.mark.parametrize("reference", ["${Token[TOKEN.9]}", "x{{resolve:ssm:/fleet/key}}"])
def test_a_reference_of_the_cdk_or_cloudformation_in_a_text_is_refused(tmp_path: Path, reference: str) -> None:
    """Synthesis would end in a traceback, no such token, or the container would get another text."""
    result = checked(tmp_path, document(container={"environment": {"A": reference}}))
    [error] = errors_of(result.problems)
    assert (error.table, error.key) == ("container.environment", "A")


def folder_of(tmp_path: Path) -> Path:
    """Four fleet files, each with a fault of its own, and a sound one."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "a-test.toml").write_bytes(b"[" * 3000)
    (folder / "b-test.toml").mkdir()
    (folder / "shop-dev.toml").write_text(tomlkit.dumps(document(environment="dev", account="12", region="x")))
    (folder / "shop-test.toml").write_bytes(SOUND)
    (folder / "z-test.toml").write_bytes(b"\xef\xbb\xbf")
    return folder


FAULTY = {"a-test.toml": 1, "b-test.toml": 1, "shop-dev.toml": 2, "z-test.toml": 1}


def test_one_fault_never_hides_another_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load_all(folder)
    files = [Path(problem.file).name for problem in raised.value.problems]
    assert {name: files.count(name) for name in files} == FAULTY
    assert [file.config is not None for file in check_files([folder])] == [False, False, False, True, False]


def test_config_check_shows_all_problems_of_a_directory(tmp_path: Path) -> None:
    result = tierfleet("config", "check", folder_of(tmp_path))
    assert result.exit_code == 2
    assert result.stdout.count("error: ") == sum(FAULTY.values())
    assert "ok: " in result.stdout


def test_the_app_shows_all_problems_of_a_directory(tmp_path: Path) -> None:
    result = run_app(tmp_path / "out", folder_of(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("error: ") == sum(FAULTY.values())
    assert "Traceback" not in result.stderr


def test_an_empty_directory_is_an_error_and_not_an_empty_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    with pytest.raises(ConfigError, match="holds no fleet files"):
        load_all(tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    result = tierfleet("config", "check")
    assert result.exit_code == 2
    assert "holds no fleet files" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "show", "FILE"),
        ("cost", "FILE"),
        ("plan", "fleet", "trace.parquet", "--config", "FILE"),
        ("local", "deploy", "FILE"),
        ("models", "publish", "x.tar.gz", "--config", "FILE"),
        ("models", "gc", "FILE", "SECOND"),
        ("cost", "--diff", "FILE", "SECOND"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_a_broken_file_with_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path)
    files = {"FILE": folder / "shop-dev.toml", "SECOND": folder / "a-test.toml"}
    result = tierfleet(*(files.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    if "FILE" in arguments and arguments[:2] not in {("plan", "fleet"), ("models", "publish"), ("local", "deploy")}:
        assert result.stderr.count("error: ") == (3 if "SECOND" in arguments else 2), result.stderr


@pytest.mark.parametrize(
    "content", ['{"Resources": {"A": {"Ty', "", "[]", '{"Resources": []}', '{"Resources": {"A": {}}}', "[" * 100_000]
)
def test_a_broken_template_is_one_error_of_diff(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "a.template.json").write_text(content)
    result = tierfleet("diff", tmp_path, tmp_path)
    assert result.exit_code == 2
    assert "is not a template" in result.stderr


def test_mutated_fleet_files_give_templates_within_the_limits_or_words() -> None:
    """A few seconds of tests/fuzz/fleet_files.py."""
    summary = fuzz(600, 11, synthesise_and_check, 2)
    assert summary.faults == []
    assert summary.accepted > 30
    assert summary.refused > 300
    assert summary.synthesised == 2


def test_a_path_that_no_file_system_takes_is_one_error_and_hides_no_other(tmp_path: Path) -> None:
    sound = tmp_path / "shop-test.toml"
    sound.write_text(tomlkit.dumps(document()))
    long, other = check_files([tmp_path / f"{'a' * 300}.toml", sound])
    assert ("File name too long" in str(long.problems[0]), other.config is not None) == (True, True)

"""Profiles: what ships, how they interpolate, and calibration of a real server."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tierfleet.cli.plan.calibrate_command import calibrate
from tierfleet.errors import InputError
from tierfleet.planning.profiles.calibrate import Measured, calibrated, measure
from tierfleet.planning.profiles.profile import PredictTime, interpolate
from tierfleet.planning.profiles.profile_files import load_profiles, profile_toml, shipped_profiles_file

PROFILES = load_profiles()


def test_three_profiles_ship_with_their_provenance() -> None:
    assert PROFILES.keys() == {"stock", "tierfleet", "booster"}
    assert not any(profile.prototype for profile in PROFILES.values())
    for profile in PROFILES.values():
        assert len(profile.source) > 60
        assert profile.measured_on >= date(2026, 11, 22)


def test_figures_at_the_measured_sizes() -> None:
    stock, ours = PROFILES["stock"], PROFILES["tierfleet"]
    assert stock.resident_mib(44.2) == 247
    assert stock.load_seconds(44.2) == 2.914
    assert stock.predict_ms(44.2) == PredictTime(p50=8.9, p95=31, p99=43)
    assert ours.resident_mib(44.5) == pytest.approx(4.97, abs=0.01)
    assert ours.load_seconds(44.5) < 0.1
    # (64 - 3) GiB / 247 MiB: the 250 models of an ml.r5.2xlarge.
    assert stock.models_per_instance(64, 44.2) == 252
    assert stock.loads_at_once(8) == 8
    assert ours.loads_at_once(8) == 1


def test_our_server_is_denser_than_the_stock_container_and_forests_are_denser_still() -> None:
    for model_mb in (0.1, 5.7, 44.2, 90.0):
        stock, booster, forest = (PROFILES[name].resident_mib(model_mb) for name in ("stock", "booster", "tierfleet"))
        assert stock > 2 * booster > 8 * forest


@given(st.sampled_from(sorted(PROFILES)), st.floats(0.001, 500), st.floats(0.001, 500))
def test_a_bigger_model_takes_no_less(name: str, one: float, other: float) -> None:
    profile, small, big = PROFILES[name], min(one, other), max(one, other)
    assert 0 < profile.resident_mib(small) <= profile.resident_mib(big)
    assert 0 <= profile.load_seconds(small) <= profile.load_seconds(big)
    assert profile.models_per_instance(16, small) >= profile.models_per_instance(16, big)
    assert profile.model_mb(profile.artefact_mb(big)) == pytest.approx(big)


def test_lines_go_through_the_points_and_on_beyond_them() -> None:
    points = ((1.0, 10.0), (3.0, 20.0), (4.0, 40.0))
    assert [interpolate(points, at) for at in (0, 1, 2, 3, 3.5, 4, 5)] == [5, 10, 15, 20, 30, 40, 60]
    assert interpolate(((2.0, 7.0),), 100) == 7


def test_a_written_profile_reads_back_the_same(tmp_path: Path) -> None:
    for profile in PROFILES.values():
        file = tmp_path / "one.toml"
        file.write_text(profile_toml(profile))
        assert load_profiles(file) == {profile.name: profile}


def test_every_mistake_of_a_profile_is_named(tmp_path: Path) -> None:
    text = shipped_profiles_file().read_text()
    broken = (
        text.replace("reserve_mib = 3072", "reserve_mib = -1", 1)
        .replace('parallel_loads = "vcpus"', "parallel_loads = 0", 1)
        .replace("prototype = false", 'prototype = "no"', 1)
        .replace("p50 = 2.4, p95 = 8.8", "p50 = 2.4, p95 = 0.8", 1)
        .replace("model_mb = 5.7", "model_mb = 0.05", 1)
    )
    file = tmp_path / "profiles.toml"
    file.write_text(broken)
    with pytest.raises(InputError) as error:
        load_profiles(file)
    message = str(error.value)
    for part in (
        "reserve_mib = -1",
        "parallel_loads = 0",
        "prototype: write",
        "order them by model_mb",
        "rising order",
    ):
        assert part in message
    assert len(message.splitlines()) == 5
    assert "[profiles.stock]" in message


@pytest.mark.parametrize("text", ["", "[profiles", "profiles = 1", "[profiles.x]\n"])
def test_what_is_no_profile_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(file))):
        load_profiles(file)


def found(model_mb: float, resident_mib: float) -> Measured:
    times = PredictTime(p50=1, p95=2, p99=3)
    return Measured(model_mb, model_mb / 2, model_mb, resident_mib, 0.1 * model_mb, 0.01 * model_mb, times)


def test_a_profile_comes_of_measurements_in_any_order() -> None:
    arguments = {"name": "mine", "copies": 3, "reserve_mib": 100.0, "reserve_share": 0.2, "on": date(2027, 1, 2)}
    profile = calibrated([found(10, 15), found(1, 2)], **arguments)  # type: ignore[arg-type]
    assert profile.resident == ((1, 2), (10, 15))
    assert profile.artefact_mb_per_model_mb == 0.5
    assert profile.extract_seconds(10) == pytest.approx(0.1)
    assert "3 copies or more" in profile.source
    with pytest.raises(InputError, match="same size"):
        calibrated([found(1, 2), found(1, 3)], **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one artefact"):
        calibrated([], **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model of some 3 MB, packed."""
    import numpy as np
    import xgboost
    from tierfleet_server.model.archive import pack

    random = np.random.default_rng(3)
    rows = random.standard_normal((3000, 6)).astype(np.float32)
    labels = random.integers(0, 2, 3000).astype(np.float32)
    parameters = {"objective": "binary:logistic", "max_depth": 9, "nthread": 1, "min_child_weight": 0, "lambda": 0.0}
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, labels), 100)
    file = tmp_path_factory.mktemp("artefact") / "model.tar.gz"
    file.write_bytes(pack({"xgboost-model": bytes(booster.save_raw("ubj"))}))
    return file


def test_calibration_measures_a_real_server(artefact: Path) -> None:
    [one] = measure([artefact], copies=6, settle_seconds=0.2)
    assert one.model_mb > one.artefact_mb > 0.1
    # A loaded model takes some 1.4 to 1.7 times its file; what loads leave behind meanwhile counts too.
    assert one.model_mb < one.resident_mib < 6 * one.model_mb
    assert 0 < one.load_seconds < 20
    assert 0 < one.predict.p50 <= one.predict.p95 <= one.predict.p99


def test_the_command_writes_a_profile_that_can_be_used(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tierfleet.planning.profiles.calibrate.SETTLE_SECONDS", 0.1)
    app = typer.Typer()
    app.command()(calibrate)
    file = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, [str(artefact), "--out", str(file), "--name", "mine", "--copies", "2", "--json"])
    assert result.exit_code == 0, result.output
    profile = load_profiles(file)["mine"]
    assert json.loads(result.stdout)["name"] == "mine"
    assert profile.models_per_instance(16, 3.0) > 100
    assert profile.measured_on >= date(2026, 11, 22)


def test_what_is_no_artefact_ends_with_one_sentence(tmp_path: Path) -> None:
    from tierfleet_server.model.archive import pack

    (tmp_path / "text.tar.gz").write_text("no archive")
    (tmp_path / "pickle.tar.gz").write_bytes(pack({"model.pkl": b"\x80\x04junk"}))
    app = typer.Typer()
    app.command()(calibrate)
    for name, message in (("absent", "is not a tar.gz"), ("text", "is not a tar.gz"), ("pickle", "does not load")):
        result = CliRunner().invoke(app, [str(tmp_path / f"{name}.tar.gz"), "--copies", "1"])
        assert result.exit_code == 2
        assert message in result.output
        assert "Traceback" not in result.output

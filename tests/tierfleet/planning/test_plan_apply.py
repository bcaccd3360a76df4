"""--apply: what it writes, what it leaves alone, and when it writes nothing."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.testing.fleets import CONFIG
from tierfleet.config import ConfigError, load
from tierfleet.errors import InputError
from tierfleet.instance_types import describe
from tierfleet.planning.apply import file_edits, write
from tierfleet.planning.change import FleetChange, edits, warm_up_list
from tierfleet.planning.search.proposed import dedicated_tenants

WHALES = frozenset(dedicated_tenants(load(CONFIG / "fraud-prod.toml")))


@pytest.fixture
def fraud(tmp_path: Path) -> Path:
    return Path(shutil.copy(CONFIG / "fraud-prod.toml", tmp_path))


def change(**changes: object) -> FleetChange:
    as_it_is = {
        "instance_type": describe("ml.m5.xlarge"),
        "instances": 2,
        "models_per_instance": None,
        "dedicated": WHALES,
        "warm_up": None,
        "pins": {},
    }
    return FleetChange(**(as_it_is | changes))  # type: ignore[arg-type]


def applied(file: Path, wanted: FleetChange) -> str:
    edits = file_edits(file, load(file), wanted)
    write(edits)
    return "".join(edit.diff for edit in edits)


def changed(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def test_a_promotion_is_one_line_and_a_demotion_is_one_line(fraud: Path) -> None:
    wanted = change(dedicated=WHALES - {"m29"} | {"m07"}, pins={"m07": "m07/2026-11-20.tar.gz"})
    assert changed(applied(fraud, wanted)) == [
        '-m29 = { model = "m29/2026-11-14.tar.gz" }',
        '+m07 = { model = "m07/2026-11-20.tar.gz" }',
    ]
    assert set(dedicated_tenants(load(fraud))) == WHALES - {"m29"} | {"m07"}


def test_a_promoted_tenant_is_above_the_next_table_s_comment(fraud: Path) -> None:
    fraud.write_text(fraud.read_text() + "\n# --- about tags ---\n[tags]\nteam = 'risk'\n")
    applied(fraud, change(dedicated=WHALES | {"m07"}, pins={"m07": "m07/1.tar.gz"}))
    text = fraud.read_text()
    assert text.index("m07 = {") < text.index("# --- about tags ---")


def test_windows_line_ends_stay(fraud: Path) -> None:
    fraud.write_bytes(fraud.read_bytes().replace(b"\n", b"\r\n"))
    before = fraud.read_bytes()
    wanted = change(dedicated=WHALES | {"m07"}, pins={"m07": "m07/1.tar.gz"}, warm_up=("m02", "m03"))
    diff = applied(fraud, wanted)
    after = fraud.read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n")
    assert b'\r\nm07 = { model = "m07/1.tar.gz" }\r\n' in after
    kept = [line for line in before.splitlines() if line not in after.splitlines()]
    assert all(line.lstrip().startswith(b'"m') for line in kept)
    assert "\r" not in diff


def test_a_link_to_a_fleet_file_stays_a_link(fraud: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / fraud.name
    link.symlink_to(fraud)
    applied(link, change(instances=3))
    assert link.is_symlink()
    assert load(fraud).multi_model_tiers["tail"].instances.min == 3


def test_another_size_changes_its_keys_and_nothing_else(fraud: Path) -> None:
    before = fraud.read_text()
    diff = applied(fraud, change(instance_type=describe("ml.m5.2xlarge"), instances=3, models_per_instance=124))
    assert [line.split(" = ")[0][1:] for line in changed(diff) if line[0] == "+"] == [
        "instance_type",
        "instances",
        "models_per_instance",
        "scaling",
    ]
    tail = load(fraud).multi_model_tiers["tail"]
    assert (tail.instances.min, tail.instances.max, tail.instances.initial) == (3, 7, 3)
    # Twice the vCPUs, twice the calls, until somebody measures it.
    assert tail.scaling.max_requests_per_second == 100
    comments = [line.partition("#")[2] for line in before.splitlines() if "#" in line]
    assert comments == [line.partition("#")[2] for line in fraud.read_text().splitlines() if "#" in line]


def test_more_instances_of_one_type_leave_the_rest_of_the_line_alone(fraud: Path) -> None:
    assert changed(applied(fraud, change(instances=3))) == [
        "-instances = { min = 2, max = 6, initial = 2 }",
        "+instances = { min = 3, max = 7, initial = 3 }",
    ]


def test_a_warm_up_list_keeps_its_form(fraud: Path) -> None:
    wanted = tuple(f"m{n:02}" for n in range(30, 56))
    applied(fraud, change(warm_up=wanted))
    assert load(fraud).multi_model_tiers["tail"].warm_up.tenants == wanted
    assert '    "m30", "m31", "m32", "m33", "m34", "m35", "m36", "m37", "m38", "m39",\n' in fraud.read_text()


def test_a_list_in_its_own_file_is_written_there_under_its_head(tmp_path: Path) -> None:
    for name in ("churn-prod.toml", "churn-prod.warm-up.txt"):
        shutil.copy(CONFIG / name, tmp_path)
    file = tmp_path / "churn-prod.toml"
    before = file.read_text()
    wanted = change(
        instance_type=describe("ml.r5.large"),
        instances=2,
        dedicated=frozenset(),
        warm_up=tuple(f"c{n:04}" for n in range(9, 19)),
    )
    applied(file, wanted)
    assert file.read_text() == before
    lines = (tmp_path / "churn-prod.warm-up.txt").read_text().splitlines()
    assert lines[0].startswith("# The 2,000 tenants")
    assert lines[1:] == list(wanted.warm_up)


def test_a_plan_that_the_file_s_own_rules_refuse_writes_nothing(fraud: Path) -> None:
    before = fraud.read_text()
    with pytest.raises(ConfigError, match=r"later loads would evict"):
        applied(fraud, change(models_per_instance=20))
    assert fraud.read_text() == before
    assert list(fraud.parent.iterdir()) == [fraud]


def test_a_file_that_changed_meanwhile_is_left_alone(fraud: Path) -> None:
    edits = file_edits(fraud, load(fraud), change(instances=3))
    fraud.write_text(fraud.read_text() + "# somebody was here\n")
    with pytest.raises(InputError, match="was changed meanwhile"):
        write(edits)
    assert "somebody was here" in fraud.read_text()


def test_a_promotion_without_a_pin_says_what_to_give(fraud: Path) -> None:
    with pytest.raises(InputError, match="--pin m07=VERSION --pin m08=VERSION"):
        file_edits(fraud, load(fraud), change(dedicated=WHALES | {"m07", "m08"}))


def test_a_name_that_a_fleet_file_cannot_hold_is_refused_by_name(fraud: Path) -> None:
    with pytest.raises(InputError, match="Tenant_7 would be dedicated, and a fleet file holds no such name"):
        file_edits(fraud, load(fraud), change(dedicated=WHALES | {"Tenant_7"}, pins={"Tenant_7": "Tenant_7/1.tar.gz"}))


def test_a_promotion_in_a_fleet_without_a_dedicated_tier_shows_the_table_to_add() -> None:
    file = CONFIG / "churn-prod.toml"
    wanted = change(instance_type=describe("ml.r5.large"), instances=2, dedicated=frozenset({"c0001"}))
    with pytest.raises(InputError, match=r"\[tiers.whale\]\nhosting = \"dedicated\""):
        file_edits(file, load(file), wanted)


MODELS = {name: f'{{ model = "{name}/2026-11-14.tar.gz" }}' for name in sorted(WHALES)}
LINES = "[tiers.whale.tenants]\n" + "".join(f"{name} = {model}\n" for name, model in MODELS.items())
TABLES = "\n".join(f'[tiers.whale.tenants.{name}]\nmodel = "{name}/2026-11-14.tar.gz"\n' for name in MODELS)
ALARMS = "alarms = { max_model_latency_p99_milliseconds = 50 }\n"
INSTANCES = "instances = { min = 2, max = 6, initial = 2 }"
SCALING = "scaling = { max_requests_per_second = 50, safety_factor = 0.5 }\n"
# Text of the fraud fleet and what it is replaced by.
LAYOUTS = {
    "as shipped": (),
    "a key is missing": (("models_per_instance = 60 ", "# models_per_instance = 60 "),),
    "dotted keys": ((INSTANCES, "instances.min = 2  # low\ninstances.max = 6\ninstances.initial = 2"),),
    "tables of values": (
        (SCALING, ""),
        ("# The 50 merchants", "[tiers.tail.scaling]\nmax_requests_per_second = 50  # measured\n\n# The 50 merchants"),
    ),
    "tenants in tables": ((LINES, f"{TABLES}\n# about tags\n[tags]\nteam = 'risk'\n"),),
    "tenants in one line": (
        (
            ALARMS,
            f"{ALARMS}tenants = {{ {', '.join(f'{name} = {model}' for name, model in MODELS.items())} }}  # all\n",
        ),
        (LINES, ""),
    ),
}


def laid_out(layout: str, folder: Path) -> Path:
    """The fraud fleet in another form. Without models_per_instance it has no warm-up, which would need it."""
    text = (CONFIG / "fraud-prod.toml").read_text()
    if layout == "a key is missing":
        text = text[: text.index("# The 50 merchants")] + text[text.index("# A second multi-model") :]
    for old, new in LAYOUTS[layout]:
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "fraud-prod.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_key_is_written_where_it_belongs_whatever_the_layout(layout: str, tmp_path: Path) -> None:
    file = laid_out(layout, tmp_path)
    before = file.read_text()
    wanted = change(
        instance_type=describe("ml.m5.2xlarge"),
        instances=3,
        models_per_instance=124,
        dedicated=WHALES - {"m29"} | {"m07", "m08"},
        pins={"m07": "m07/1.tar.gz", "m08": "m08/2.tar.gz"},
    )
    applied(file, wanted)
    after = file.read_text()
    written = load(file)
    assert set(dedicated_tenants(written)) == wanted.dedicated
    tail = written.multi_model_tiers["tail"]
    assert (tail.instance_type, tail.instances.min, tail.models_per_instance) == ("ml.m5.2xlarge", 3, 124)
    assert file_edits(file, written, wanted) == []
    comments = [line[line.index("#") :] for line in before.splitlines() if "#" in line]
    assert [line[line.index("#") :] for line in after.splitlines() if "#" in line] == comments
    assert after.index("models_per_instance = 124") < after.index("# A second multi-model")


@settings(max_examples=25)
@given(
    dedicated=st.sets(st.sampled_from([f"m{n:02}" for n in range(1, 40)])),
    instances=st.integers(2, 12),
    instance_type=st.sampled_from(["ml.m5.xlarge", "ml.r5.2xlarge", "ml.m5d.4xlarge"]),
)
def test_what_is_written_is_what_was_wanted_and_a_second_time_nothing(
    tmp_path_factory: pytest.TempPathFactory, dedicated: set[str], instances: int, instance_type: str
) -> None:
    file = Path(shutil.copy(CONFIG / "fraud-prod.toml", tmp_path_factory.mktemp("apply")))
    wanted = change(
        dedicated=frozenset(dedicated),
        instances=instances,
        instance_type=describe(instance_type),
        models_per_instance=200,
        pins={name: f"{name}/1.tar.gz" for name in dedicated - WHALES},
    )
    said = edits(load(file), wanted)
    diff = applied(file, wanted)
    assert bool(said) == bool(diff)
    written = load(file)
    assert set(dedicated_tenants(written)) == dedicated
    tail = written.multi_model_tiers["tail"]
    assert (tail.instance_type, tail.instances.min) == (instance_type, instances)
    assert file_edits(file, written, wanted) == []
    assert edits(written, wanted) == ()


def test_a_warm_up_list_stays_while_it_covers_nearly_as_many_calls() -> None:
    tail = load(CONFIG / "fraud-prod.toml").multi_model_tiers["tail"]
    calls = {f"m{n:02}": 1000.0 - n for n in range(1, 71) if f"m{n:02}" not in WHALES}
    sizes = {
        "instance_type": describe("ml.m5.xlarge"),
        "instances": 2,
        "models_per_instance": 60,
        "seconds_per_load": 4.0,
    }
    assert warm_up_list(tail, calls_per_day=calls, **sizes) is None
    # The listed tenants stop calling.
    names = warm_up_list(tail, calls_per_day=calls | {f"m{n:02}": 1.0 for n in range(2, 12)}, **sizes)
    assert len(names) == 50
    assert "m60" in names
    assert "m02" not in names
    # No more than 70 % of what fits is warmed.
    assert len(warm_up_list(tail, calls_per_day=calls, **(sizes | {"models_per_instance": 20}))) == 28

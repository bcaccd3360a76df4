"""Files that would hurt the others: whatever they are, the server answers, keeps its memory, and loads other models."""

import errno
import io
import itertools
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xgboost
from process_state import Memory
from running_server import ROOT, Client, RunningServer
from tierfleet_server.checker import Checker
from tierfleet_server.model import native
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.booster import open_model
from tierfleet_server.model.load_limits import LOAD_FACTOR, Admitted
from tierfleet_server.model.loading import load_model, size_on_disk
from tierfleet_server.model.model_file import MAX_DEPTH, MAX_PATH_LENGTH, check_ubj
from tierfleet_server.model.parameters import MAX_FEATURES
from tierfleet_server.model.refusal import BadModel
from tierfleet_server.publishing.packaging import package_model

from tests.fuzz import archives, models

MIB = 1 << 20
ROW = b"1,2,3"
LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30)); "
    "os.execv(sys.executable, [sys.executable, '-m', 'tierfleet_server'])"
)


@pytest.fixture(scope="module")
def seeds() -> dict[str, bytes]:
    return models.seeds()


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that may have 3 GiB, so that one that allocates without end dies and not the machine."""
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_CONTAINER_LOG_LEVEL": "40"}
    log = tmp_path_factory.mktemp("limited") / "log"
    server = RunningServer(environment, log, command=[sys.executable, "-c", LIMITED])
    yield server
    server.close()


def _loads_and_predicts(server: Client, name: str, file: Path, features: int = 3) -> int:
    answer = server.load(name, file)
    if answer.status == 200:
        row = b",".join([b"1"] * features)
        assert server.invoke(name, row).status in (200, 400)
        assert server.unload(name).status == 200
    else:
        assert answer.status in (400, 507), answer
        assert len(answer.json["message"]) < 800, answer
    return answer.status


def test_changed_models_cost_the_server_nothing(
    limited: RunningServer, seeds: dict[str, bytes], tmp_path: Path
) -> None:
    """Values of every kind of model swept, from a seed; `make fuzz` goes on for minutes."""
    (tmp_path / "good").write_bytes(seeds["binary"])
    assert limited.load("good", tmp_path / "good").status == 200
    expected = limited.invoke("good", ROW).body
    file = tmp_path / "m"
    served = 0
    with Memory(limited.process.pid) as memory:
        for label, data in itertools.islice(models.mutations(seeds, 11), 120):
            file.write_bytes(data)
            try:
                served += _loads_and_predicts(limited, "m", file) == 200
            except OSError as error:
                pytest.fail(f"{label}: {error!r}")
            assert limited.process.poll() is None, label
    assert limited.invoke("good", ROW).body == expected
    assert limited.unload("good").status == 200
    assert 0 < served < 100
    assert memory.greatest - memory.at_first < max(map(len, seeds.values())) * LOAD_FACTOR["json"] + 64 * MIB


def test_every_parameter_swept_is_refused_or_served(seeds: dict[str, bytes]) -> None:
    """The check itself, on more cases than a server could load in a test: a refusal, and never another error."""
    cases, messages = 0, []
    for kind in sorted(seeds):
        if seeds[kind][1:2] != b"L":
            continue
        for label, data in itertools.islice(models.sweep(seeds[kind]), None, None, 31):
            cases += 1
            try:
                check_ubj(data)
            except BadModel as refusal:
                messages.append((len(refusal.message), label))
    assert cases > 800
    assert cases * 0.7 < len(messages) < cases
    assert max(messages)[0] < 800


def test_numbers_that_xgboost_reads_again(limited: RunningServer, seeds: dict[str, bytes], tmp_path: Path) -> None:
    """The recipe of case 30 and its like: a number that XGBoost would allocate or index by."""
    changes = [
        (
            b"size_leaf_vectorSL\0\0\0\0\0\0\0\x011",
            b"size_leaf_vectorSL\0\0\0\0\0\0\0\x02-1",
            "size_leaf_vector is '-1'",
        ),
        (b"num_classSL\0\0\0\0\0\0\0\x010", b"num_classSL\0\0\0\0\0\0\0\x02-1", "num_class is '-1'"),
        (b"num_targetSL\0\0\0\0\0\0\0\x011", b"num_targetSL\0\0\0\0\0\0\0\x02-1", "num_target is '-1'"),
        (b"num_featureSL\0\0\0\0\0\0\0\x013", b"num_featureSL\0\0\0\0\0\0\0\x02-3", "num_feature is '-3'"),
        (b"num_deletedSL\0\0\0\0\0\0\0\x010", b"num_deletedSL\0\0\0\0\0\0\0\x02-1", "num_deleted is '-1'"),
        (b"num_parallel_treeSL\0\0\0\0\0\0\0\x011", b"num_parallel_treeSL\0\0\0\0\0\0\0\x03nan", "is 'nan'"),
        (b"scale_pos_weightSL\0\0\0\0\0\0\0\x011", b"scale_pos_weightSL\0\0\0\0\0\0\0\x03inf", "is 'inf'"),
        (b"scale_pos_weight", b"scale_neg_weight", "'scale_neg_weight', which XGBoost 1.6 to 3.4 do not write"),
    ]
    for old, new, sentence in changes:
        assert old in seeds["binary"]
        (tmp_path / "m").write_bytes(seeds["binary"].replace(old, new))
        answer = limited.load("m", tmp_path / "m")
        assert (answer.status, sentence in answer.json["message"]) == (400, True), answer
    assert limited.process.poll() is None


def test_limits_of_what_one_row_costs(tmp_path: Path) -> None:
    assert check_ubj(models.chain(5_000, 40)).path_length == 200_000
    for hostile, sentence in [
        (models.chain(MAX_DEPTH + 1), f"at most {MAX_PATH_LENGTH} nodes and {MAX_DEPTH} levels"),
        (models.chain(200_000), "200000 levels"),
        (models.chain(MAX_DEPTH, MAX_PATH_LENGTH // MAX_DEPTH + 1), f"would visit {MAX_PATH_LENGTH + MAX_DEPTH} nodes"),
    ]:
        with pytest.raises(BadModel) as caught:
            check_ubj(hostile)
        assert sentence in caught.value.message
    wide = models.smallest().replace(
        b"num_featureSL\0\0\0\0\0\0\0\x011", b"num_featureSL\0\0\0\0\0\0\0\x07%d" % (MAX_FEATURES + 1)
    )
    with pytest.raises(BadModel, match=f"a whole number from 0 to {MAX_FEATURES}"):
        check_ubj(wide)


def test_honest_models_of_no_rounds_and_vector_leaves_are_not_called_damaged(seeds: dict[str, bytes]) -> None:
    with pytest.raises(BadModel, match="a vector in each leaf"):
        check_ubj(seeds["vector-leaf"])
    data = xgboost.DMatrix(np.zeros((3, 1), np.float32), [0, 1, 2])
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, data, 0)
    with pytest.raises(BadModel, match="trained for no rounds"):
        check_ubj(bytes(booster.save_raw("ubj")))


def test_a_gamma_model_of_old_is_named_as_such() -> None:
    """XGBoost before 2.1 wrote no parameters of this objective; XGBoost 3 says "Invalid cast, from Null to Object"."""
    data = xgboost.DMatrix(np.zeros((3, 1), np.float32), [1, 2, 3])
    booster = xgboost.train({"objective": "reg:gamma", "nthread": 1}, data, 1)
    root = models.parse(bytes(booster.save_raw("ubj")))
    objective = dict(dict(root.items)[b"learner"].items)[b"objective"]
    objective.items = [(name, value) for name, value in objective.items if name == b"name"]
    version = models.Node("[", items=[models.Node("i", bytes([part])) for part in (1, 7, 6)])
    root.items = [(name, version if name == b"version" else value) for name, value in root.items]
    with pytest.raises(BadModel, match=r"XGBoost 1\.7\.6 saved this reg:gamma model without the parameters"):
        open_model(models.unparse(root))


def test_a_hostile_load_is_refused_within_its_memory_and_holds_up_no_other(
    limited: RunningServer, seeds: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "good").write_bytes(seeds["binary"])
    files = {}
    for label, data in models.recipes(4).items():
        files[label] = tmp_path / label.replace(" ", "-")
        files[label].write_bytes(data)
    answered: dict[str, int] = {}

    def load(label: str) -> None:
        client = Client(limited.port)
        answered[label] = _loads_and_predicts(client, label, files[label])
        client.close()

    largest = max(len(path.read_bytes()) for path in files.values())
    threads = [threading.Thread(target=load, args=(label,)) for label in files]
    with Memory(limited.process.pid) as memory:
        for thread in threads:
            thread.start()
        others = 0
        while any(thread.is_alive() for thread in threads) or not others:
            assert _loads_and_predicts(limited, f"good-{others}", tmp_path / "good") == 200
            others += 1
        for thread in threads:
            thread.join()
    assert answered == dict.fromkeys(files, 400)
    # Admission counts each of them; four big ones are checked at once.
    assert memory.greatest - memory.at_first < 4 * largest * LOAD_FACTOR["json"] + 64 * MIB


MISBEHAVIOUR = """
import os, signal, time
from tierfleet_server.model import booster, load_limits
load_limits._CLOCK_FIXED_SECONDS, load_limits._CLOCK_FACTOR = 6, 0
sound = booster.open_checked
def open_checked(ubj, facts):
    if facts.features == 12:
        waste = []
        while True:
            waste.append(bytes(1 << 20))
    if facts.features == 13:
        while True:
            pass
    if facts.features == 14:
        os.kill(os.getpid(), signal.SIGSEGV)
    if facts.features == 15:
        time.sleep(600)
    if facts.features == 16:
        os.kill(os.getpid(), signal.SIGKILL)
    return sound(ubj, facts)
booster.open_checked = open_checked
"""


def test_what_xgboost_does_with_a_file_that_passes_every_check_ends_only_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XGBoost is made to allocate, spin, crash, hang and be killed, in the process where it reads a model first."""
    (tmp_path / "sitecustomize.py").write_text(MISBEHAVIOUR)
    monkeypatch.syspath_prepend(tmp_path)
    checker = Checker(native.version())
    files = {}
    for features in (11, 12, 13, 14, 15, 16):
        data = xgboost.DMatrix(np.zeros((2, features), np.float32), [0, 1])
        xgboost.train({"nthread": 1}, data, 1).save_model(tmp_path / f"{features}.ubj")
        files[features] = tmp_path / f"{features}.ubj"
    outcomes: dict[int, str] = {}

    def prepare(features: int) -> None:
        try:
            checker.prepare(str(files[features]), size_on_disk(str(files[features])))
        except (BadModel, MemoryError) as error:
            outcomes[features] = f"{type(error).__name__}: {error}"

    try:
        threads = [threading.Thread(target=prepare, args=(features,)) for features in files if features != 11]
        for thread in threads:
            thread.start()
        for _ in range(3):
            assert load_model(str(files[11]), prepare=checker.prepare).features == 11
        for thread in threads:
            thread.join()
        assert load_model(str(files[11]), prepare=checker.prepare).features == 11
    finally:
        checker.close()
    size = files[13].stat().st_size
    assert outcomes[12].startswith(f"BadModel: reading the model of {files[12].stat().st_size} bytes takes more than")
    # Of processor time, or by the clock where it gets no processor.
    assert outcomes[13].startswith("BadModel: reading the model takes more than")
    assert f"far more than one of {size} bytes needs" in outcomes[13]
    assert outcomes[14].startswith("BadModel: XGBoost ended with signal 11")
    assert outcomes[15].startswith("BadModel: reading the model takes more than")
    assert outcomes[16] == "MemoryError: the check of the model was ended by the system"


def test_bytes_that_survived_once_are_not_tried_again_and_others_are(
    seeds: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = Checker(native.version())
    asked: list[str] = []
    ask = checker._prepare

    def counted(url: str, admitted: Admitted) -> object:
        asked.append(url)
        return ask(url, admitted)

    monkeypatch.setattr(checker, "_prepare", counted)
    (tmp_path / "a").write_bytes(seeds["binary"])
    (tmp_path / "b").write_bytes(seeds["binary"])
    (tmp_path / "c").write_bytes(seeds["binary"].replace(b"size_leaf_vectorSL\0\0\0\0\0\0\0\x011", b"?" * 26))
    try:
        first = load_model(str(tmp_path / "a"), prepare=checker.prepare)
        again = load_model(str(tmp_path / "b"), prepare=checker.prepare)
        for _ in range(2):
            with pytest.raises(BadModel):
                load_model(str(tmp_path / "c"), prepare=checker.prepare)
    finally:
        checker.close()
    assert (first.facts, first.heap_bytes) == (again.facts, again.heap_bytes)
    assert [Path(url).name for url in asked] == ["a", "c", "c"]


UNPACK = """
import json, resource, sys
from pathlib import Path
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.booster import open_model
from tierfleet_server.model.refusal import BadModel
answers = {}
Path("warm.tar.gz").write_bytes(b"")
for path in [Path("warm.tar.gz"), *sorted(Path().glob("*.gz"))]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        unpack(path, Path("out") / path.stem, max_bytes=1 << 20)
        answer = "unpacked"
    except BadModel as refusal:
        answer = refusal.message
    answers[path.stem] = answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps(answers))
"""


def test_no_archive_takes_more_memory_or_disk_than_it_may(tmp_path: Path) -> None:
    for label, content in archives.recipes(16):
        (tmp_path / f"{label}.gz").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", UNPACK],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "container")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = json.loads(done.stdout)
    for label, (answer, kilobytes) in answers.items():
        assert answer != "unpacked", label
        assert len(answer) < 400, label
        assert kilobytes < 8 * 1024, label
    assert not list((tmp_path / "out").iterdir())


def test_changed_archives_are_unpacked_or_refused(tmp_path: Path) -> None:
    packed, directory = tmp_path / "a.tar.gz", tmp_path / "out"
    unpacked, messages = 0, []
    for label, content in itertools.islice(archives.mutations(5), 600):
        packed.write_bytes(content)
        try:
            unpack(packed, directory, max_bytes=4096)
        except BadModel as refusal:
            messages.append((len(refusal.message), label, directory.exists()))
            continue
        unpacked += 1
        files = [path for path in directory.rglob("*") if not path.is_dir()]
        assert sum(path.stat().st_size for path in files) <= 4096, label
        for path in (*files, *sorted(directory.rglob("*"), reverse=True), directory):
            path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
    assert unpacked > 10
    assert max(messages)[0] < 400
    assert not any(left_behind for _, _, left_behind in messages)
    assert sorted(tmp_path.iterdir()) == [packed]


def test_archives_of_the_usual_programs_are_unpacked(tmp_path: Path, seeds: dict[str, bytes]) -> None:
    files = {"xgboost-model": seeds["binary"], ".tierfleet/metadata.json": b"{}", "._xgboost-model": b"\0\5\x16\7"}
    made = dict(archives.honest(files))
    (tmp_path / "files").mkdir()
    for name, content in files.items():
        (tmp_path / "files" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    for form in ("gnu", "posix", "ustar"):
        command = ["tar", "-C", str(tmp_path / "files"), f"--format={form}", "-b", "256", "-czf", "-", "."]
        made[f"tar {form}"] = subprocess.run(command, capture_output=True, check=True).stdout
    for label, content in made.items():
        (tmp_path / "a.tar.gz").write_bytes(content)
        unpack(tmp_path / "a.tar.gz", tmp_path / label)
        for name, expected in files.items():
            assert (tmp_path / label / name).read_bytes() == expected, label


def test_a_full_disk_is_not_called_a_bad_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("m")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "a.tar.gz").write_bytes(made.getvalue())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["+7", "9" * 32, "0.1234567890", "[7E0]", "3.4028236e38"])
def test_a_base_score_that_xgboost_reads_as_another_number(
    text: str, seeds: dict[str, bytes], limited: RunningServer, tmp_path: Path
) -> None:
    """XGBoost reads such a text as 0.5 or infinity and says nothing; its UBJ form of a JSON model hides that."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(seeds["binary"]))
    root = models.parse(seeds["binary"])
    parameters = next(node for path, node, _, _ in models._places(root) if path == "/learner/learner_model_param")
    parameters.items = [
        (key, models.Node("S", text.encode()) if key == b"base_score" else value) for key, value in parameters.items
    ]
    document = json.loads(bytes(booster.save_raw("json")))
    document["learner"]["learner_model_param"]["base_score"] = text
    for name, data in (("u", models.unparse(root)), ("j", json.dumps(document).encode())):
        (tmp_path / name).write_bytes(data)
        answer = limited.load("base", tmp_path / name)
        assert (answer.status, "base_score is" in answer.json["message"]) == (400, True), answer


@pytest.mark.parametrize("text", ["7 rubbish", "nan", "", "-", "1e"])
def test_a_base_score_of_json_that_is_no_number(
    text: str, seeds: dict[str, bytes], limited: RunningServer, tmp_path: Path
) -> None:
    booster = xgboost.Booster()
    booster.load_model(bytearray(seeds["binary"]))
    document = json.loads(bytes(booster.save_raw("json")))
    document["learner"]["learner_model_param"]["base_score"] = text
    (tmp_path / "j").write_text(json.dumps(document))
    answer = limited.load("base", tmp_path / "j")
    assert (answer.status, "base_score is" in answer.json["message"]) == (400, True), answer


def test_what_metadata_takes_in_memory_is_counted(
    limited: RunningServer, seeds: dict[str, bytes], tmp_path: Path
) -> None:
    """Python's own allocator has it: a 4 KB model with 40,000 categories takes 4.3 MiB, 1 was counted."""
    steps = {"categories": {"0": {f"c{number}": number + 1000 for number in range(40_000)}}}
    archive, _ = package_model(seeds["binary"], preprocessing=steps)
    (tmp_path / "a.tar.gz").write_bytes(archive)
    unpack(tmp_path / "a.tar.gz", tmp_path / "a")
    assert limited.load("first", tmp_path / "a").status == 200
    counted = limited.metric("memory_used_bytes")
    for number in range(10):
        assert limited.load(f"steps{number}", tmp_path / "a").status == 200
    assert limited.metric("memory_used_bytes") - counted > 10 * 3.8 * MIB  # 3.94 each on Python 3.13, more on 3.11
    for number in range(10):
        assert limited.unload(f"steps{number}").status == 200
    assert limited.metric("memory_used_bytes") < counted + 2 * MIB
    assert limited.unload("first").status == 200


def test_metadata_is_admitted_with_what_reading_it_takes(
    limited: RunningServer, seeds: dict[str, bytes], tmp_path: Path
) -> None:
    """Many categories load, with a small model too; counted, and not among the loads that take milliseconds."""
    steps = {"categories": {"0": {f"c{number}": number + 1000 for number in range(100_000)}}}
    archive, _ = package_model(seeds["binary"], preprocessing=steps)
    (tmp_path / "a.tar.gz").write_bytes(archive)
    unpack(tmp_path / "a.tar.gz", tmp_path / "a")
    admitted = size_on_disk(str(tmp_path / "a"))
    assert admitted.metadata_bytes == (tmp_path / "a" / ".tierfleet" / "metadata.json").stat().st_size
    assert not admitted.is_small
    with Memory(limited.process.pid) as memory:
        assert limited.load("many", tmp_path / "a").status == 200
    assert memory.greatest - memory.at_first < admitted.needed_bytes + 64 * MIB
    assert limited.unload("many").status == 200


def test_what_json_takes_in_memory_is_admitted(limited: RunningServer, tmp_path: Path) -> None:
    """The process that converts it, and three more files in memory."""
    size = Admitted(1 << 30, "json")
    assert size.process_bytes + 3 * size.size_bytes <= size.needed_bytes + 64 * MIB
    size = Admitted(1 << 30, "ubj")
    assert size.process_bytes + 0.9 * size.size_bytes <= size.needed_bytes + 64 * MIB


def test_a_file_lost_on_its_way_is_no_empty_model() -> None:
    """A process that may open no more files is sent one: the kernel drops it, and says so in a flag alone."""
    script = (
        "import os, resource, socket\n"
        "from tierfleet_server.messages import receive, send\n"
        "a, b = socket.socketpair()\n"
        "send(a, b'text', [0])\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (b.fileno() + 1, b.fileno() + 1))\n"
        "try:\n    print(receive(b))\nexcept OSError as error:\n    print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "container")}
    )
    assert done.stdout.strip() == str(errno.EMFILE), done

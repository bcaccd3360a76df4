"""`models convert` of what is published: versions of their own, the same scores, nothing half-written."""

import tarfile
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tierfleet_forest
from small_models import small_model
from tierfleet_forest.layout import Parts, assemble
from tierfleet_server.model.archive import pack
from tierfleet_server.publishing.packaging import package_model
from versioned_s3 import Crash, VersionedS3

from tests.forest.compiled import needs_compiled
from tierfleet.models import pointer, sources
from tierfleet.models.convert_artefact import Form, UnchangedError, convert_artefact
from tierfleet.models.convert_published import Conversion, convert_published
from tierfleet.models.publish import publish
from tierfleet.models.target import DENSE

BUCKET = "b"
pytestmark = needs_compiled
ROWS = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> bytes:
    return small_model(3)


@pytest.fixture(scope="module")
def booster(model: bytes) -> bytes:
    """An artefact as it was packaged before there were forests, with steps of its own."""
    names = ["a", "b", "c"]
    return package_model(model, missing=-999, libsvm_base=1, feature_names=names, preprocessing={"fill": {"1": 0.5}})[0]


def published(s3: VersionedS3, archives: dict[str, bytes]) -> None:
    for name, archive in archives.items():
        tenant, _, version = name.partition("/")
        publish(s3.client(), bucket=BUCKET, tenant=tenant, version=version, archive=archive, now=s3.now)


def convert(
    s3: VersionedS3, *tenants: str, form: Form | None = None, client: Any = None, **more: Any
) -> list[Conversion]:
    return convert_published(
        client or s3.client(), bucket=BUCKET, tenants=tenants, target=DENSE, form=form or Form(), jobs=2, **more
    )


def files(archive: bytes | None) -> dict[str, bytes]:
    assert archive is not None
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        return {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]


def current(s3: VersionedS3, tenant: str) -> str | None:
    return pointer.read(s3.client(), BUCKET, tenant).entry.target_model


def test_a_booster_becomes_a_forest_of_the_same_scores_and_steps(model: bytes, booster: bytes) -> None:
    s3 = VersionedS3()
    published(s3, {"t1/1": booster, "t2/7": booster})
    for tenant, after in zip(("t1", "t2"), convert(s3, "t1", "t2"), strict=True):
        assert (after.status, after.tenant) == ("converted", tenant)
        assert current(s3, tenant) == after.after == f"{tenant}/{'1' if tenant == 't1' else '7'}-forest.tar.gz"
        made = files(s3.content(f"models/{after.after}"))
        assert sorted(made) == [".tierfleet/metadata.json", "model.forest"]
        kept = sources.key(tenant, files(booster)["xgboost-model"])
        assert s3.content(kept) == files(booster)["xgboost-model"]
        expected = tierfleet_forest.loads(tierfleet_forest.convert(model)).predict(ROWS)
        assert tierfleet_forest.loads(made["model.forest"]).predict(ROWS) == expected
        for setting in (b'"missing": -999', b'"libsvm_base": 1', b'"fill"', b'"b"'):
            assert setting in made[".tierfleet/metadata.json"]
    # The version that was there is the one to roll back to.
    assert pointer.read(s3.client(), BUCKET, "t1").entry.previous == "t1/1.tar.gz"
    assert {done.status for done in convert(s3, "t1", "t2")} == {"unchanged"}


def test_and_back_and_with_contributions(booster: bytes) -> None:
    s3 = VersionedS3()
    published(s3, {"t1/1": booster})
    convert(s3, "t1")
    (explained,) = convert(s3, "t1", form=Form("alone", contributions=True))
    assert explained.after == "t1/1-forest-contribs.tar.gz"
    forest = tierfleet_forest.loads(files(s3.content(f"models/{explained.after}"))["model.forest"])
    assert forest.no_contributions == ""
    assert convert(s3, "t1", form=Form("alone"))[0].status == "unchanged", "it has more than was asked for"
    (back,) = convert(s3, "t1", form=Form("none"))
    assert back.status == "converted"
    assert files(s3.content(f"models/{back.after}")) == files(booster)
    (both,) = convert(s3, "t1", form=Form("beside"))
    assert sorted(files(s3.content(f"models/{both.after}"))) == [
        ".tierfleet/metadata.json", ".tierfleet/model.forest", "xgboost-model",
    ]  # fmt: skip


def test_a_dry_run_changes_nothing_and_says_the_same(booster: bytes) -> None:
    s3 = VersionedS3()
    published(s3, {"t1/1": booster})
    before = s3.keys("")
    (dry,) = convert(s3, "t1", dry_run=True)
    assert s3.keys("") == before
    (done,) = convert(s3, "t1")
    assert (dry.status, done.status) == ("would convert", "converted")
    assert (dry.after, dry.before_bytes, dry.after_bytes) == (done.after, done.before_bytes, done.after_bytes)


def test_every_refusal_is_named_and_stops_no_other(booster: bytes, model: bytes) -> None:
    s3 = VersionedS3()
    alone, _ = package_model(model, forest="alone")
    linear = package_model(_linear())[0]
    published(
        s3, {"t1/1": booster, "t2/1": booster[:-50], "t3/1": booster, "t4/1": alone, "t5/1": linear, "t6/1": b"x"}
    )
    s3.client().delete_object(Bucket=BUCKET, Key="models/t3/1.tar.gz")
    s3.client().put_object(Bucket=BUCKET, Key="catalog/t7.json", Body=b"{")
    outcomes = convert(s3, "t1", "t2", "t3", "t4", "t5", "t6", "t7", form=Form("alone", contributions=True))
    said = {done.tenant: (done.status, done.message) for done in outcomes}
    assert said["t1"][0] == "converted"
    for tenant, status, why in (
        ("t2", "refused", "truncated"),
        ("t3", "refused", "t3/1.tar.gz, which is not in the bucket"),
        ("t4", "refused", "which is not in the bucket under source/"),
        ("t5", "stays", "only gbtree and dart hold trees"),
        ("t6", "refused", "not a tar.gz"),
        ("t7", "refused", "malformed"),
    ):
        assert said[tenant][0] == status, said[tenant]
        assert why in said[tenant][1]
    assert current(s3, "t5") == "t5/1.tar.gz"


def _other() -> bytes:
    """Another model of as many features."""
    import xgboost

    rows = np.random.default_rng(7).standard_normal((20, 3)).astype(np.float32)
    data = xgboost.DMatrix(rows, label=rows[:, 1] > 0)
    return bytes(xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 3).save_raw("ubj"))


def _linear() -> bytes:
    import xgboost

    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    data = xgboost.DMatrix(rows, label=rows[:, 0])
    return bytes(xgboost.train({"booster": "gblinear", "nthread": 1}, data, 3).save_raw("ubj"))


@pytest.mark.parametrize("at", range(1, 8))
def test_a_crash_at_any_call_is_completed_by_the_next_run(at: int, booster: bytes) -> None:
    s3 = VersionedS3()
    published(s3, {"t1/1": booster})
    calls = 0

    def gate(_operation: str) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Crash

    crashed = False
    try:
        convert(s3, "t1", client=s3.client(gate))
    except Crash:
        crashed = True
    assert current(s3, "t1") in ("t1/1.tar.gz", "t1/1-forest.tar.gz")
    for key in s3.keys("models/"):  # whole, or not there
        assert files(s3.content(key))
    (done,) = convert(s3, "t1")
    assert done.status in ("converted", "unchanged")
    assert current(s3, "t1") == "t1/1-forest.tar.gz"
    assert s3.keys("models/") == ["models/t1/1-forest.tar.gz", "models/t1/1.tar.gz"]
    assert len(s3.keys("source/")) == 1
    assert crashed or at > calls


def test_a_version_that_is_published_meanwhile_wins(booster: bytes) -> None:
    s3 = VersionedS3()
    published(s3, {"t1/1": booster})
    moved = False

    def gate(operation: str) -> None:
        nonlocal moved
        if operation == "head_object" and not moved:
            moved = True
            published(s3, {"t1/2": booster})

    (done,) = convert(s3, "t1", client=s3.client(gate))
    assert (done.status, current(s3, "t1")) == ("lost race", "t1/2.tar.gz")
    assert "t1/2.tar.gz is current" in done.message


def test_a_source_of_other_scores_is_refused(model: bytes) -> None:
    alone, _ = package_model(model, forest="alone")
    with pytest.raises(ValueError, match="other scores than the version"):
        convert_artefact(alone, lambda _: small_model(4), DENSE, Form("none"))
    with pytest.raises(ValueError, match="other scores than the version"):
        convert_artefact(alone, lambda _: _other(), DENSE, Form("none"))
    with pytest.raises(UnchangedError):
        convert_artefact(alone, lambda _: None, DENSE, Form("alone"))


@pytest.mark.parametrize(
    "metadata",
    [
        b"", b"[]", b"1", b"{", b"[" * 100_000, b"\xff", b'{"source": {"library": []}}', b'{"source": 1}',
        b'{"source": {"sha256": 1}}', b'{"source": {"sha256": "../../m07"}}',
    ],
)  # fmt: skip
def test_a_forest_without_a_source_is_not_converted(metadata: bytes) -> None:
    for form in (Form(forest="none"), Form(forest="beside"), Form(contributions=True)):
        with pytest.raises(ValueError, match="does not say which file it was made from"):
            convert_artefact(with_metadata(metadata), lambda _: b"", DENSE, form)


@pytest.mark.parametrize("source", ['"library": "scikit-learn"', f'"sha256": "{"a" * 64}", "library": "lightgbm"'])
def test_a_forest_of_another_library_has_no_other_form(source: str) -> None:
    archive = with_metadata(f'{{"source": {{{source}}}}}'.encode())
    with pytest.raises(UnchangedError):
        convert_artefact(archive, lambda _: None, DENSE, Form())
    for form in (Form(forest="none"), Form(forest="beside"), Form(contributions=True)):
        with pytest.raises(ValueError, match=r"was made from a model of (scikit-learn|lightgbm), which has no other"):
            convert_artefact(archive, lambda _: None, DENSE, form)


def with_metadata(metadata: bytes) -> bytes:
    """An artefact with a forest that has this metadata, as others may write."""
    parts = Parts(
        node_bytes=4, features=1, outputs=1, base=bytes(4), roots=bytes(4), first=bytes(4), words=bytes(8),
        metadata=metadata,
    )  # fmt: skip
    return pack({"model.forest": assemble(parts)})

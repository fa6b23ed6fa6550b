"""Weights that a site trained: taken as data alone, told of in the audit trail, and used where they are named."""

import json
import os
import random
import shutil
import stat
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
import torch
from lessons import taught
from pydicom import Dataset
from safetensors.torch import load, save
from sqlalchemy import select

from storage.database import Database
from storage.schema import Event
from vb_node import doctor, site_weights
from vb_node.applications.virtual_biopsy import application
from vb_node.applications.virtual_biopsy.application import _settings
from vb_node.applications.virtual_biopsy.choice import OF_THE_SITE, without_places
from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.applications.virtual_biopsy.report import _provenance
from vb_node.backup import back_up
from vb_node.config import Settings, build
from vb_node.errors import ConfigError
from vb_node.evaluation.benchmarks.small_head import small_head
from vb_node.evaluation.finished import open_finished, open_localizer
from vb_node.models.bundle import METADATA, WEIGHTS_FILE, read_bundle
from vb_node.models.bundle_archive import as_folder
from vb_node.models.lesion_network import build as build_network
from vb_node.models.pins import DIAGNOSER, LOCALIZER, MODEL, MODELS, digests, site_folder
from vb_node.pipeline.application import Case
from vb_node.runtime.node import open_ledger
from vb_node.training.dataset import Sample
from vb_node.training.fit import Course
from vb_node.training.fit_localizer import Lesson, write


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle that learned next to nothing from random heads."""
    generator = torch.Generator().manual_seed(1)
    samples = []
    for index in range(4):
        lesion = torch.zeros(1, 80, 96, 80)
        lesion[:, 30:42, 30:42, 30:42] = 1
        samples.append(Sample(torch.randn(1, 80, 96, 80, generator=generator).half(), lesion.half(), index % 2))
    return taught(tmp_path_factory.mktemp("trained"), samples, ("Glioma", "PCNSL"), Course(1, 1, 2))


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "bundle"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return build({"node": {"data": str(tmp_path / "data")}})


@pytest.fixture
def database(settings: Settings) -> Database:
    return open_ledger(settings)


def named(settings: Settings) -> Settings:
    return build({"node": {"data": str(settings.node.data)}, "virtual_biopsy": {"diagnoser": "ours"}})


def _case(plan: dict[str, Any]) -> Case:
    return Case((), plan, "job", "lineage", datetime(2026, 1, 1, tzinfo=UTC), "cpu", lambda step, share: None, "VBNODE")


def rewrite(bundle: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Put other tensors into a bundle, with the digest that fits them."""
    data = (bundle / WEIGHTS_FILE).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    written = save(tensors, metadata=metadata or header["__metadata__"])
    (bundle / WEIGHTS_FILE).write_bytes(written)
    told = json.loads((bundle / METADATA).read_text())
    (bundle / METADATA).write_text(json.dumps(told | {"sha256": sha256(written).hexdigest()}))


def test_imported_weights_are_in_the_plan_and_opened_and_the_trail_says_who(
    bundle: Path, settings: Settings, database: Database
) -> None:
    pin = site_weights.add(database, settings, bundle, "ours", user="anna")

    plan = application.plan(named(settings))
    diagnoser = Diagnoser.load("cpu", Path(plan["diagnoser_folder"]))
    with database.read() as session:
        line = session.scalars(select(Event).filter_by(event="weights imported")).one()
    assert plan["weights"] == {"ours": pin.sha256, LOCALIZER: digests()[LOCALIZER]}
    assert plan["is_trained_on_synthetic_data"] is False
    assert _settings(plan).diagnoser == "ours"
    assert str(settings.data) not in json.dumps(without_places(plan))
    assert (diagnoser.classes, diagnoser.sha256) == (("Glioma", "PCNSL"), pin.sha256)
    assert (line.user, line.details) == ("anna", {"name": "ours", "sha256": pin.sha256})
    assert Path(plan["diagnoser_folder"]) in application.reads(named(settings))


def test_imported_weights_are_in_a_backup_which_tells_of_those_that_changed(
    bundle: Path, settings: Settings, database: Database, tmp_path: Path
) -> None:
    pin = site_weights.add(database, settings, bundle, "ours", user="anna")

    whole = back_up(database, settings, tmp_path / "first", user="anna")
    weights = site_folder(settings.data, "ours") / MODELS / MODEL
    weights.write_bytes(weights.read_bytes()[:-1])
    changed = back_up(database, settings, tmp_path / "second", user="anna")

    kept = site_folder(tmp_path / "first", "ours") / MODELS / MODEL
    assert sha256(kept.read_bytes()).hexdigest() == pin.sha256
    assert (whole.missing, changed.missing) == ((), ("weights ours",))


def test_a_report_by_imported_weights_does_not_say_that_they_saw_phantoms_alone(
    bundle: Path, settings: Settings, database: Database
) -> None:
    site_weights.add(database, settings, bundle, "ours", user="anna")

    plans = (application.plan(settings), application.plan(named(settings)))
    synthetic = [_provenance(_case(plan), Dataset()).is_trained_on_synthetic_data for plan in plans]

    assert synthetic == [True, False]


def test_imported_weights_are_not_used_until_they_are_named(
    bundle: Path, settings: Settings, database: Database
) -> None:
    site_weights.add(database, settings, bundle, "ours", user="anna")

    assert application.plan(settings)["weights"].keys() == {DIAGNOSER, LOCALIZER}


def test_weights_that_are_named_and_not_there_stop_the_start(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="weights ours: no such weights here"):
        application.plan(named(settings))
    assert [one.state for one in doctor.site_weights(named(settings))] == [doctor.WRONG]


def test_k_04_the_doctor_finds_imported_weights_that_changed_and_a_job_refuses_them(
    bundle: Path, settings: Settings, database: Database
) -> None:
    site_weights.add(database, settings, bundle, "ours", user="anna")
    assert [one.state for one in doctor.site_weights(settings)] == [doctor.GOOD]
    file = settings.data / "weights" / "ours" / WEIGHTS_FILE
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))

    assert [one.state for one in doctor.site_weights(settings)] == [doctor.WRONG]
    with pytest.raises(ConfigError, match="expected sha256"):
        Diagnoser.load("cpu", settings.data / "weights" / "ours")


def test_weights_in_use_are_not_removed_and_others_are(bundle: Path, settings: Settings, database: Database) -> None:
    site_weights.add(database, settings, bundle, "ours", user="anna")

    with pytest.raises(ConfigError, match="names ours"):
        site_weights.remove(database, named(settings), "ours", user="anna")
    site_weights.remove(database, settings, "ours", user="anna")

    assert not (settings.data / "weights" / "ours").exists()
    with pytest.raises(ConfigError, match="none of this name"):
        site_weights.remove(database, settings, "ours", user="anna")


def named_localizer(settings: Settings, **more: object) -> Settings:
    return build(
        {"node": {"data": str(settings.node.data)}, "virtual_biopsy": {"localizer_weights": "found-here", **more}}
    )


@pytest.fixture
def localizer_bundle(tmp_path: Path) -> Path:
    """Give a bundle of a localizer that learned nothing, from a site's cases."""
    torch.manual_seed(2)
    lesson = Lesson(2, 1, 1, data="cases", data_sha256="ab" * 32, has_patients=True)
    (tmp_path / "trained").mkdir()
    write(tmp_path / "trained", build_network(), lesson, {"lesions_claimed": 0.5})
    return tmp_path / "trained" / "bundle"


def test_a_localizer_that_a_site_trained_is_in_the_plan_and_looks_and_its_report_says_so(
    localizer_bundle: Path, settings: Settings, database: Database
) -> None:
    pin = site_weights.add(database, settings, localizer_bundle, "found-here", user="anna")
    named = named_localizer(settings)

    plan = application.plan(named)
    application.warm(plan, "cpu")
    prior, _ = application._localise(small_head(1).standard, _settings(plan), _case(plan))

    assert pin.network == "localizer"
    assert plan["weights"] == {"found-here": pin.sha256, DIAGNOSER: digests()[DIAGNOSER]}
    assert Path(plan["localizer_folder"]) in application.reads(named)
    assert str(settings.data) not in json.dumps(without_places(plan))
    assert OF_THE_SITE in prior.notes
    made_by = _provenance(_case(plan), Dataset())
    assert (made_by.is_trained_on_synthetic_data, made_by.is_classified_by_synthetic_data) == (False, True)
    assert [one.state for one in doctor.site_weights(named)] == [doctor.GOOD]


def test_weights_of_one_network_are_not_taken_for_the_other_s(
    bundle: Path, localizer_bundle: Path, settings: Settings, database: Database
) -> None:
    site_weights.add(database, settings, localizer_bundle, "ours", user="anna")
    site_weights.add(database, settings, bundle, "found-here", user="anna")

    with pytest.raises(ConfigError, match="ours are of the localizer"):
        application.plan(named(settings))
    with pytest.raises(ConfigError, match="found-here are of the diagnoser"):
        application.plan(named_localizer(settings))
    with pytest.raises(ConfigError, match="no bundle of a diagnoser"):
        open_finished(localizer_bundle)
    with pytest.raises(ConfigError, match="no bundle of a localizer"):
        open_localizer(bundle)


def test_weights_that_a_route_alone_names_are_in_use_too(
    localizer_bundle: Path, settings: Settings, database: Database
) -> None:
    site_weights.add(database, settings, localizer_bundle, "found-here", user="anna")
    route = {"name": "trial", "shadow": True, "virtual_biopsy": {"localizer_weights": "found-here"}}
    routed = build({"node": {"data": str(settings.node.data)}, "routes": [route]})

    with pytest.raises(ConfigError, match="that of a route, names found-here"):
        site_weights.remove(database, routed, "found-here", user="anna")


def test_weights_of_a_network_that_does_not_look_are_refused_by_name(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="localizer_weights are of localizer = 'network'"):
        named_localizer(settings, localizer="classical")


@pytest.mark.parametrize("name", ["../ours", ".ours", "", "a/b", "x" * 65])
def test_a_name_that_is_a_path_is_refused(bundle: Path, settings: Settings, database: Database, name: str) -> None:
    with pytest.raises(ConfigError, match="a name of 1 to 64"):
        site_weights.add(database, settings, bundle, name, user="anna")


def with_pickle(bundle: Path) -> None:
    torch.save({"w": torch.zeros(1)}, bundle / "models" / "model.pt")


def with_expression(bundle: Path) -> None:
    told = json.loads((bundle / METADATA).read_text())
    (bundle / METADATA).write_text(json.dumps(told | {"task": "$__import__('os').system('id')"}))


def with_link(bundle: Path) -> None:
    (bundle / "LICENSE").unlink()
    (bundle / "LICENSE").symlink_to("/etc/passwd")


def with_nan(bundle: Path) -> None:
    tensors = load((bundle / WEIGHTS_FILE).read_bytes())
    rewrite(bundle, tensors | {"network.head_fine.bias": torch.full((2,), float("nan"))})


def with_other_shape(bundle: Path) -> None:
    tensors = load((bundle / WEIGHTS_FILE).read_bytes())
    rewrite(bundle, tensors | {"network.head_fine.bias": torch.zeros(5)})


def without_guard(bundle: Path) -> None:
    tensors = load((bundle / WEIGHTS_FILE).read_bytes())
    rewrite(bundle, {name: one for name, one in tensors.items() if not name.startswith("novelty")})


def with_foreign_metadata(bundle: Path) -> None:
    rewrite(bundle, load((bundle / WEIGHTS_FILE).read_bytes()), {"format": "pt"})


def with_unknown_class(bundle: Path) -> None:
    data = (bundle / WEIGHTS_FILE).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["vb_node"]
    rewrite(bundle, load(data), {"vb_node": header.replace("PCNSL", "Migraine")})


def with_huge_header(bundle: Path) -> None:
    (bundle / WEIGHTS_FILE).write_bytes(b"\xff" * 8 + b"{}")
    told = json.loads((bundle / METADATA).read_text())
    digest = sha256((bundle / WEIGHTS_FILE).read_bytes()).hexdigest()
    (bundle / METADATA).write_text(json.dumps(told | {"sha256": digest}))


def without_metadata(bundle: Path) -> None:
    (bundle / METADATA).unlink()


def with_another_digest(bundle: Path) -> None:
    told = json.loads((bundle / METADATA).read_text())
    (bundle / METADATA).write_text(json.dumps(told | {"sha256": "0" * 64}))


def too_large(bundle: Path) -> None:
    (bundle / METADATA).write_text(json.dumps({"x": "y" * (2 << 20)}))


REFUSED = [
    (with_pickle, "unexpected files models/model.pt"),
    (with_expression, "holds an expression"),
    (with_link, "no links expected"),
    (with_nan, "values that are no numbers"),
    (with_other_shape, "do not fit the network"),
    (without_guard, "do not fit the network"),
    (with_foreign_metadata, "was not written by vb-node"),
    (with_unknown_class, "classes Glioma, PCNSL, Germinoma, Rare expected"),
    (with_huge_header, "was not written by vb-node"),
    (without_metadata, "configs/metadata.json is missing"),
    (with_another_digest, "its metadata names weights 000000000000"),
    (too_large, "larger than 1 MB"),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSED, ids=[spoil.__name__ for spoil, _ in REFUSED])
def test_k_01_k_02_k_05_what_is_not_plain_data_of_the_right_shape_is_refused_and_leaves_nothing(
    bundle: Path, settings: Settings, database: Database, spoil: Any, said: str
) -> None:
    spoil(bundle)

    with pytest.raises(ConfigError, match=said):
        site_weights.add(database, settings, bundle, "ours", user="anna")

    assert not (settings.data / "weights" / "ours").exists()
    with database.read() as session:
        assert session.scalars(select(Event)).all() == []


def zipped(bundle: Path, below: str = "") -> Path:
    """Pack a bundle as it is."""
    archive = bundle.with_suffix(".zip")
    with ZipFile(archive, "w", ZIP_DEFLATED) as opened:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                opened.writestr(ZipInfo(below + path.relative_to(bundle).as_posix()), path.read_bytes(), ZIP_DEFLATED)
    return archive


@pytest.mark.parametrize("below", ["", "our-cases-1/"], ids=["at the root", "in one folder"])
def test_an_archive_of_a_bundle_is_taken_as_its_folder_is(
    bundle: Path, settings: Settings, database: Database, below: str
) -> None:
    of_folder = site_weights.add(database, settings, bundle, "folder", user="anna")
    of_archive = site_weights.add(database, settings, zipped(bundle, below), "archive", user="anna")

    assert of_archive == of_folder
    assert [one.state for one in doctor.site_weights(settings)] == [doctor.GOOD, doctor.GOOD]


def add_member(
    archive: Path, name: str, data: bytes, mode: int = stat.S_IFREG | 0o644, compression: int = ZIP_DEFLATED
) -> None:
    info = ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = compression
    with ZipFile(archive, "a") as opened:
        opened.writestr(info, data)


def replace_member(
    archive: Path, name: str, data: bytes, mode: int = stat.S_IFREG | 0o644, compression: int = ZIP_DEFLATED
) -> None:
    with ZipFile(archive) as opened:
        others = {info: opened.read(info) for info in opened.infolist() if info.filename != name}
    with ZipFile(archive, "w", ZIP_DEFLATED) as opened:
        for info, its in others.items():
            opened.writestr(info, its)
    add_member(archive, name, data, mode, compression)


def damage(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(bytes(data))


def claim_encryption(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    archive.write_bytes(bytes(data))


def compress_otherwise(archive: Path) -> None:
    replace_member(archive, "LICENSE", b"x", compression=ZIP_BZIP2)


BAD_ARCHIVES = {
    "a way out": (lambda archive: add_member(archive, "../../evil", b"x"), "unexpected file '../../evil'"),
    "an absolute path": (lambda archive: add_member(archive, "/etc/cron.d/evil", b"x"), "unexpected file '/etc/cron"),
    "a link": (lambda archive: replace_member(archive, "LICENSE", b"/etc/passwd", stat.S_IFLNK), "link or a device"),
    "a device": (lambda archive: replace_member(archive, "LICENSE", b"", stat.S_IFCHR), "link or a device"),
    "a thousand to one": (lambda archive: replace_member(archive, "LICENSE", bytes(1 << 20)), "more than 100 times"),
    "too large": (
        lambda archive: replace_member(archive, "LICENSE", os.urandom((1 << 20) + 1)),
        "LICENSE is too large",
    ),
    "a pickle": (lambda archive: add_member(archive, "models/model.pt", b"x"), "unexpected file 'models/model.pt'"),
    "a name twice": (lambda archive: add_member(archive, "LICENSE", b"x"), "a name twice"),
    "an encrypted file": (claim_encryption, "is encrypted"),
    "another compression": (compress_otherwise, "otherwise than by Deflate"),
    "a flipped bit": (damage, "a folder or a whole ZIP archive expected"),
    "no archive": (lambda archive: archive.write_bytes(b"no archive"), "a folder or a whole ZIP archive expected"),
    "half of it": (lambda archive: os.truncate(archive, 5000), "a folder or a whole ZIP archive expected"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("fault", BAD_ARCHIVES)
def test_k_03_an_archive_that_holds_anything_else_is_refused_and_leaves_nothing(
    bundle: Path, settings: Settings, database: Database, tmp_path: Path, fault: str
) -> None:
    spoil, said = BAD_ARCHIVES[fault]
    archive = zipped(bundle)
    spoil(archive)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(settings.data)}

    with pytest.raises(ConfigError, match=said):
        site_weights.add(database, settings, archive, "ours", user="anna")

    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(settings.data)} == before
    assert [path for path in settings.data.rglob("*") if "ours" in path.name or "evil" in path.name] == []


@pytest.mark.parametrize("top", ["..", ""], ids=["a way out", "an absolute path"])
def test_k_03_an_archive_of_which_every_file_leaves_its_folder_is_refused(
    bundle: Path, settings: Settings, database: Database, top: str
) -> None:
    with pytest.raises(ConfigError, match="unexpected file"):
        site_weights.add(database, settings, zipped(bundle, f"{top}/"), "ours", user="anna")


def read_archive(archive: Path) -> str:
    """Give the digest of an archive's weights, or that it is refused."""
    try:
        with as_folder(archive) as opened:
            return read_bundle(opened).sha256
    except ConfigError:
        return "refused"


def test_k_03_whatever_bytes_of_an_archive_are_wrong_it_is_refused_in_words_or_is_the_bundle(bundle: Path) -> None:
    archive = zipped(bundle)
    whole, outcomes = archive.read_bytes(), set()
    for seed in range(150):
        rng = random.Random(seed)
        data = bytearray(whole)
        # the table at the end has few bytes and decides most
        start = rng.choice((0, len(data) - 700))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
        archive.write_bytes(bytes(data))
        outcomes.add(read_archive(archive))

    assert outcomes == {"refused", read_bundle(bundle).sha256}

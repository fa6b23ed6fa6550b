"""Weights that a site trained: taken as data alone, told of in the audit trail, and used where they are named."""

import json
import shutil
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from pydicom import Dataset
from safetensors.torch import load, save
from sqlalchemy import select

from storage.database import Database
from storage.schema import Event
from vb_node import doctor, site_weights
from vb_node.applications.virtual_biopsy import application
from vb_node.applications.virtual_biopsy.application import _settings
from vb_node.applications.virtual_biopsy.choice import without_places
from vb_node.applications.virtual_biopsy.diagnose import Diagnoser
from vb_node.applications.virtual_biopsy.report import _provenance
from vb_node.config import Settings, build
from vb_node.errors import ConfigError
from vb_node.models.bundle import METADATA, WEIGHTS_FILE
from vb_node.models.pins import DIAGNOSER, LOCALIZER, digests
from vb_node.pipeline.application import Case
from vb_node.runtime.node import open_ledger
from vb_node.training.dataset import Sample
from vb_node.training.diagnoser import BUNDLE, Lesson, learn


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a bundle that learned next to nothing from random heads."""
    generator = torch.Generator().manual_seed(1)
    samples = []
    for index in range(4):
        lesion = torch.zeros(1, 80, 96, 80)
        lesion[:, 30:42, 30:42, 30:42] = 1
        samples.append(Sample(torch.randn(1, 80, 96, 80, generator=generator).half(), lesion.half(), index % 2))
    out = tmp_path_factory.mktemp("trained")
    lesson = Lesson(samples[2:], samples[:2], ("Glioma", "PCNSL"), "four cases", "ab" * 32, "vb-node train", 1, 1)
    learn(lesson, out, lambda done, total: None)
    return out / BUNDLE


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

"""Short forms of the rigs in tests/chaos; docs/reliability.md has the figures of the long ones."""

import os

import pytest
from rigs import Rig

SOAK = "0.7"
KILLS = "25" if os.environ.get("VB_NODE_LONG") else "2"


def test_whatever_is_killed_nothing_answered_is_lost_but_an_answer_before_the_file_is() -> None:
    chaos = Rig("kill.py", "--kills", KILLS, "--seed", "1")
    control = Rig("at_points.py", "--points", "receive-before-the-file", "--control", "answer-before-file")

    (status, told), (control_status, control_told) = chaos.end(), control.end()

    assert status == 0, told
    assert all(f"I{number} " in told for number in range(1, 11))
    assert control_status == 1, control_told
    assert "I1 answered is kept FAILS" in control_told


def test_r_11_what_was_answered_lies_on_the_disk_at_a_power_cut_but_not_where_nothing_is_synced() -> None:
    cuts = Rig("unsynced.py", "--cuts", "4")
    control = Rig("unsynced.py", "--cuts", "4", "--control", "write-without-fsync")

    (status, told), (control_status, control_told) = cuts.end(), control.end()

    assert status == 0, told
    assert control_status == 1, control_told
    assert "I1 answered is kept FAILS" in control_told


def test_a_busy_node_does_not_grow_and_one_that_leaks_is_found() -> None:
    soak, control = Rig("soak.py", "--minutes", SOAK), Rig("soak.py", "--minutes", SOAK, "--control", "leak")

    (status, told), (control_status, control_told) = soak.end(), control.end()

    assert status == 0, told
    assert control_status == 1, control_told
    grown = [line for line in control_told.splitlines() if "GROWS" in line]
    assert grown
    assert all("receive" in line for line in grown)


@pytest.mark.parametrize(("kind", "cases"), [("datasets", "2000"), ("associations", "200")])
def test_fuzz_kills_nothing_and_nothing_wrong_is_taken(kind: str, cases: str) -> None:
    status, told = Rig("fuzz.py", kind, "--cases", cases, "--seed", "1").end()

    assert status == 0, told
    assert "\n0 wrong" in told


@pytest.mark.parametrize(("kind", "cases"), [("datasets", "300"), ("associations", "100")])
def test_a_fuzz_finds_an_admission_that_believes_pydicom(kind: str, cases: str) -> None:
    status, told = Rig("fuzz.py", kind, "--cases", cases, "--seed", "1", "--control", "by-pydicom").end()

    assert status == 1, told
    assert "DCMTK" in told


@pytest.fixture(scope="module")
def waiting() -> dict[str, tuple[int, str]]:
    """Give exit status and words of the rigs that wait more than they compute, run at the same time."""
    rigs = {
        "outage": Rig("outage.py"),
        "outage without gate": Rig("outage.py", "--control", "no-gate"),
        "serialization": Rig("serialization.py", "--seconds", "5"),
    }
    return {name: rig.end() for name, rig in rigs.items()}


def test_an_outage_in_mid_series_closes_none_too_early_but_does_where_its_silence_counts(
    waiting: dict[str, tuple[int, str]],
) -> None:
    (status, told), (control_status, control_told) = waiting["outage"], waiting["outage without gate"]

    assert status == 0, told
    assert control_status == 1, control_told
    assert "I6 nothing closed too early FAILS" in control_told


def test_l_06_a_ledger_that_fails_to_serialise_loses_nothing_and_doubles_nothing(
    waiting: dict[str, tuple[int, str]],
) -> None:
    status, told = waiting["serialization"]

    assert status == 0, told

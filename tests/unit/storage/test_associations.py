"""What is known of those who sent: when last, on how many days, and from which host."""

from storage import arrivals, associations
from storage.arrivals import Arrived
from storage.database import Database

DAY_S = 86400.0
NOON = 10 * DAY_S + DAY_S / 2


def _come(database: Database, name: str, at: float, peer: str = "MR1", ended_at: float | None = None) -> None:
    with database.write() as session:
        associations.note(session, {name: associations.Brought(peer, "10.0.0.5", at)}, listener="receive 1")
    if ended_at is not None:
        with database.write() as session:
            associations.end(session, name, is_released=True, now=ended_at)


def test_a_peer_came_last_when_its_last_association_ended_or_while_it_is_open_began(database: Database) -> None:
    _come(database, "a", NOON, ended_at=NOON + 60)
    _come(database, "b", NOON + 10, peer="MR2")

    with database.read() as session:
        found = [associations.last_arrival(session, peer) for peer in ("MR1", "MR2", "NOBODY")]

    assert found == [NOON + 60, NOON + 10, None]


def test_the_days_on_which_a_peer_came_are_counted(database: Database) -> None:
    for day, name in enumerate("abc"):
        _come(database, name, NOON + day * DAY_S)
        _come(database, f"{name} again", NOON + day * DAY_S + 60)
    _come(database, "other", NOON + 3 * DAY_S, peer="MR2")

    with database.read() as session:
        found = [associations.days(session, "MR1", since=NOON + late, until=NOON + 9 * DAY_S) for late in (0, DAY_S)]

    assert found == [3, 2]


def test_the_host_of_an_instance_is_that_of_its_association(database: Database) -> None:
    words = {"sop_class_uid": "1.2", "series_instance_uid": "1.3", "study_instance_uid": "1.4", "patient_id": "P"}
    keys = {"accession_number": "A", "size_bytes": 1, "peer": "MR1", "received_at": NOON, "sha256": "a" * 64}
    _come(database, "a", NOON)
    come = [Arrived(uid, **words, **keys, association_id=over) for uid, over in (("1.5.1", "a"), ("1.5.2", None))]

    with database.write() as session:
        arrivals.record(session, come, actor="receive")

    with database.read() as session:
        assert associations.hosts(session, ["1.5.1", "1.5.2"]) == {"1.5.1": ("MR1", "10.0.0.5")}

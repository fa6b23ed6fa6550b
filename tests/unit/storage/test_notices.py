"""Alerts on the shelf: told once when they begin to be so and once when they end, by each channel."""

from storage import alerts, audit, exports
from storage.alerts import Condition
from storage.database import Database

DOWN = Condition("destination down", "pacs", "it cannot be reached")
STUCK = Condition("job stuck", "job 7", "not ended in time")


def _settle(database: Database, now: float, *found: Condition) -> None:
    with database.write() as session:
        alerts.settle(session, found, ["mail", "webhook"], now=now)


def _told(database: Database, channel: str) -> list[tuple[str, str, str]]:
    with database.read() as session:
        return [(one.change, one.kind, one.subject) for one in alerts.pending(session, channel, limit=100)]


def test_a_condition_is_told_once_while_it_lasts_and_once_when_it_ends(database: Database) -> None:
    _settle(database, 1.0, DOWN)
    _settle(database, 2.0, DOWN)
    _settle(database, 3.0)
    _settle(database, 4.0)
    _settle(database, 5.0, DOWN)

    wanted = [("raised", *DOWN.key), ("cleared", *DOWN.key), ("raised", *DOWN.key)]
    assert _told(database, "mail") == wanted
    assert _told(database, "webhook") == wanted


def test_what_no_channel_has_taken_is_counted_with_its_age(database: Database) -> None:
    with database.read() as session:
        before = alerts.undelivered(session)

    _settle(database, 5.0, DOWN)

    with database.read() as session:
        assert (before, alerts.undelivered(session)) == ((0, None), (2, 5.0))


def test_a_reader_of_the_trail_lags_by_the_lines_behind_its_cursor(database: Database) -> None:
    _settle(database, 5.0, DOWN, STUCK)

    with database.write() as session:
        exports.advance(session, "reader", 1)

    with database.read() as session:
        assert [exports.waiting(session, name) for name in ("reader", "new reader")] == [1, 2]


def test_one_condition_does_not_hide_another(database: Database) -> None:
    _settle(database, 1.0, DOWN)
    _settle(database, 2.0, DOWN, STUCK)
    _settle(database, 3.0, STUCK)

    assert _told(database, "mail") == [("raised", *DOWN.key), ("raised", *STUCK.key), ("cleared", *DOWN.key)]
    with database.read() as session:
        assert [(one.kind, one.raised_at) for one in alerts.raised(session)] == [("job stuck", 2.0)]


def test_what_arrived_by_one_channel_still_waits_for_the_other(database: Database) -> None:
    _settle(database, 1.0, DOWN, STUCK)

    with database.write() as session:
        alerts.arrived(session, alerts.pending(session, "mail", limit=1))

    assert len(_told(database, "mail")) == 1
    assert len(_told(database, "webhook")) == 2


def test_alerts_stand_in_the_audit_trail(database: Database) -> None:
    _settle(database, 1.0, DOWN)
    _settle(database, 2.0)

    with database.read() as session:
        lines = audit.search(session, since=None, until=None, limit=10)
    assert [(one.event, one.details["subject"]) for one in lines] == [
        ("alert raised", "pacs"),
        ("alert cleared", "pacs"),
    ]


def test_a_reader_of_the_trail_goes_on_behind_its_cursor(database: Database) -> None:
    _settle(database, 1.0, DOWN)
    _settle(database, 2.0)

    with database.write() as session:
        first, second = exports.following(session, "reader", limit=10)
        exports.advance(session, "reader", first.seq)

    with database.read() as session:
        assert [one.seq for one in exports.following(session, "reader", limit=10)] == [second.seq]
        assert exports.waiting_since(session, "reader") == 2.0
        assert exports.waiting_since(session, "another") == 1.0

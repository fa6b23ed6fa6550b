"""What differs between two configurations."""

import pytest

from vb_node import changes
from vb_node.changes import Change
from vb_node.config import Settings, build
from vb_node.errors import ConfigError

PACS = {"name": "pacs", "ae_title": "PACS", "port": 104}


def _settings(**sections: object) -> Settings:
    return build({"destinations": [PACS], **sections})


def test_a_key_that_says_its_default_differs_in_nothing() -> None:
    assert changes.between(_settings(), _settings(assemble={"quiet_s": 60})) == []


def test_an_entry_of_a_list_is_known_by_its_name_wherever_it_stands() -> None:
    other = {"name": "other", "ae_title": "OTHER", "port": 105}

    moved = changes.between(
        _settings(destinations=[PACS, other]), _settings(destinations=[other, PACS | {"port": 11112}])
    )

    assert moved == [Change("destinations[pacs].port", 104, 11112)]


def test_a_change_to_one_of_two_peers_of_one_ae_title_is_told() -> None:
    first, second = ({"ae_title": "MR", "hosts": [host]} for host in ("10.0.0.1", "10.0.0.2"))

    told = changes.between(
        _settings(receive={"peers": [first, second]}),
        _settings(receive={"peers": [first | {"hosts": ["10.0.0.9"]}, second]}),
    )

    assert [change.key for change in told] == ["receive.peers[MR].hosts"]


def test_what_is_new_and_what_is_gone_is_told() -> None:
    gone = changes.between(_settings(), _settings(destinations=[]))

    assert Change("destinations[pacs].port", 104, None) in gone
    assert {change.new for change in gone if change.key != "destinations"} == {None}


def test_a_password_is_not_told() -> None:
    database = "postgresql+psycopg://node:{}@db/ledger"

    told = changes.flat(_settings(node={"database": database.format("s3cret")}))

    assert "s3cret" not in str(told)
    assert told["node.database"] == database.format("***")


def test_another_secret_is_a_change_that_is_not_shown() -> None:
    mail = {"host": "mail", "sender": "node@site", "to": ["team@site"], "user": "node"}
    former, new = (_settings(alerts={"mail": mail | {"password": word}}) for word in ("first", "second"))

    assert changes.between(former, new) == [Change("a secret", "***", "***")]
    assert "second" not in str(changes.flat(new))


@pytest.mark.parametrize("key", ["data", "database"])
def test_the_place_of_data_and_ledger_cannot_change_while_a_node_runs(key: str) -> None:
    value = "elsewhere" if key == "data" else "sqlite:///elsewhere.db"

    with pytest.raises(ConfigError, match=f"node.{key} cannot change while the node runs"):
        changes.check(changes.between(_settings(), _settings(node={key: value})))

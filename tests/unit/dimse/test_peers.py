"""Who may come in by DICOM."""

import pytest

from vb_node.dimse.door import Peer


@pytest.mark.parametrize(
    ("host", "is_at"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("192.168.7.7", True),
        ("192.168.7.8", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:172.16.0.1", True),
        ("::ffff:172.16.0.2", False),
        ("fd00::17", True),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_a_peer_is_at_its_addresses_and_in_its_networks(host: str, *, is_at: bool) -> None:
    peer = Peer("CT", ("10.1.0.0/16", "192.168.7.7", "fd00::/64", "::ffff:172.16.0.1"))

    assert peer.is_at(host) is is_at


def test_a_peer_without_hosts_is_anywhere() -> None:
    assert Peer("CT").is_at("203.0.113.9")

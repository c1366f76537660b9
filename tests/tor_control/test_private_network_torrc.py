"""What nodes and clients of a private network are told, and what their files tell."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tor_control import private_network_torrc as torrc
from tor_control.private_network_torrc import Authority

FOLDER = PurePosixPath("/somewhere/authority0")

AUTHORITIES = [
    Authority(
        f"authority{n}",
        or_port=1000 + n,
        dir_port=2000 + n,
        fingerprint=f"{n}" * 40,
        v3_identity="ABC"[n] * 40,
    )
    for n in range(3)
]


def options(text: str) -> dict[str, list[str]]:
    """Values by option, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    return found


def authority(consensus_at: int) -> dict[str, list[str]]:
    return options(
        torrc.authority_torrc(AUTHORITIES, AUTHORITIES[0], FOLDER, consensus_at=consensus_at)
    )


def test_a_client_is_told_of_the_authorities_and_of_no_permission() -> None:
    lines = options(torrc.client_torrc(AUTHORITIES))
    assert lines["TestingTorNetwork"] == ["1"]
    assert lines["DirAuthority"][2] == (
        f"authority2 orport=1002 no-v2 v3ident={'C' * 40} 127.0.0.1:2002 {'2' * 40}"
    )
    assert len(lines["DirAuthority"]) == 3
    # What a client may dial is not the network's business.
    assert not [name for name in lines if "RejectInternal" in name]


@pytest.mark.parametrize(
    "lines",
    [
        options(torrc.relay_torrc(AUTHORITIES, "relay0", FOLDER)),
        authority(0),
    ],
    ids=["relay", "authority"],
)
def test_no_node_leaves_the_machine(lines: dict[str, list[str]]) -> None:
    assert lines["OutboundBindAddress"] == ["127.0.0.1"]
    assert lines["Address"] == ["127.0.0.1"]
    assert lines["ServerDNSResolvConfFile"] == ['"/somewhere/authority0/resolv.conf"']
    assert lines["ServerDNSDetectHijacking"] == ["0"]
    assert lines["SocksPort"] == ["0"]
    assert all(port.startswith("127.0.0.1:") for port in lines["ORPort"])


def test_a_path_may_hold_anything() -> None:
    lines = options(torrc.relay_torrc(AUTHORITIES, "relay0", PurePosixPath('/a "b" \\c #d')))
    assert lines["DataDirectory"] == ['"/a \\"b\\" \\\\c #d"']


@given(consensus_at=st.integers(0, 2**33))
def test_the_votes_fall_on_the_time_that_was_asked_for(consensus_at: int) -> None:
    """tor counts intervals from midnight, shifted by the offset, which must be shorter than one."""
    lines = authority(consensus_at)
    [interval] = lines["TestingV3AuthInitialVotingInterval"]
    assert lines["V3AuthVotingInterval"] == [interval]
    assert 86400 % int(interval) == 0
    offset = int(lines["TestingV3AuthVotingStartOffset"][0])
    assert 0 <= offset < int(interval)
    assert (consensus_at % 86400 - offset) % int(interval) == 0


def test_no_node_weighs_more_or_is_steadier_than_another() -> None:
    """What they would report is chance, and one that weighs all alone ends in every circuit."""
    for lines in (options(torrc.relay_torrc(AUTHORITIES, "relay0", FOLDER)), authority(0)):
        assert lines["TestingMinTimeToReportBandwidth"] == ["1 day"]
    assert authority(0)["AuthDirVoteStableGuaranteeMinUptime"] == ["0"]
    assert authority(0)["AuthDirVoteStableGuaranteeMTBF"] == ["0"]


def test_the_lead_leaves_room_for_both_delays() -> None:
    lines = authority(0)
    delays = int(lines["V3AuthVoteDelay"][0]) + int(lines["V3AuthDistDelay"][0])
    assert delays < torrc.VOTE_LEAD


def test_identities_are_read_from_what_tor_writes() -> None:
    assert torrc.fingerprint(f"authority0 {'A1' * 20}\n") == "A1" * 20
    certificate = f"dir-key-certificate-version 3\nfingerprint {'0F' * 20}\ndir-key-published x\n"
    assert torrc.v3_identity(certificate) == "0F" * 20


@pytest.mark.parametrize("text", ["", "authority0", "authority0 12", f"a {'A' * 41}"])
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        torrc.fingerprint(text)
    with pytest.raises(ValueError, match="no "):
        torrc.v3_identity(text)


def test_descriptors_are_counted_once_for_each_relay() -> None:
    store = "@source x\nrouter a 127.0.0.1 1 0 0\nrouter-signature\nrouter b 127.0.0.1 2 0 0\n"
    assert torrc.routers_described(store + store) == {"a", "b"}
    assert torrc.routers_described("") == frozenset()


def test_only_running_relays_of_a_consensus_count() -> None:
    consensus = (
        "network-status-version 3 microdesc\n"
        "r a AAAA 2038-01-01 00:00:00 127.0.0.1 1 0\n"
        "m digest\n"
        "s Exit Running Valid\n"
        "v Tor 0.4.9.11\n"
        "r b BBBB 2038-01-01 00:00:00 127.0.0.1 2 0\n"
        "m digest\n"
        "s Valid\n"
        "r c CCCC DDDD 2038-01-01 00:00:00 127.0.0.1 3 0\n"
        "s Running\n"
        "r d EEEE 2038-01-01 00:00:00 127.0.0.1 3 0\n"
    )
    assert torrc.routers_in_consensus(consensus) == {"a", "c"}
    assert torrc.routers_in_consensus("") == frozenset()

"""The configuration of a private Tor network: text in, text out.

The rules:

- Every node and every client knows the network by its three ``DirAuthority`` lines and
  ``TestingTorNetwork``; nothing else makes them belong together.
- Nothing of the network may leave the machine. Exits allow every address, since a client sees no
  finer policy, but their connections start at 127.0.0.1, and from there the system reaches nothing
  but itself.
- A vote costs every node work, and onion descriptors move with the votes. So there is one vote when
  all relays are known, and then none for ``VOTING_INTERVAL``: ``TestingV3AuthVotingStartOffset``
  puts that first vote where it is wanted.

Source: tor(1), "TESTING NETWORK OPTIONS"; dir-spec, "Voting timeline".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from tor_control.torrc import quoted

VOTING_INTERVAL = 1800
"""Seconds between two votes: the longest that tor takes for the first one. A consensus is then good
for an hour, and onion descriptors stay where they are for twelve."""

VOTE_DELAY = DIST_DELAY = 2
"""Seconds for votes and then signatures to cross; a test network's shortest."""

VOTE_LEAD = VOTE_DELAY + DIST_DELAY + 1
"""Seconds from the decision to vote to the consensus: both delays, and one to begin in."""

NO_RESOLVER = "resolv.conf"
"""In each node's folder: the file that keeps its exit from asking the machine's name servers."""

_EVERYBODY = """\
TestingTorNetwork 1
PathsNeededToBuildCircuits 0.5
GeoIPFile /dev/null
GeoIPv6File /dev/null
"""

_RELAY = """\
SocksPort 0
Address 127.0.0.1
AssumeReachable 1
OutboundBindAddress 127.0.0.1
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
ServerDNSDetectHijacking 0
TestingMinTimeToReportBandwidth 1 day
ShutdownWaitLength 0
ContactInfo a private network
Log notice stdout
"""

_AUTHORITY = f"""\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthNIntervalsValid 2
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
AuthDirVoteStableGuaranteeMinUptime 0
AuthDirVoteStableGuaranteeMTBF 0
TestingV3AuthInitialVotingInterval {VOTING_INTERVAL}
TestingV3AuthInitialVoteDelay {VOTE_DELAY}
TestingV3AuthInitialDistDelay {DIST_DELAY}
V3AuthVotingInterval {VOTING_INTERVAL}
V3AuthVoteDelay {VOTE_DELAY}
V3AuthDistDelay {DIST_DELAY}
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """What everybody must know of one directory authority.

    Attributes:
        nickname: Its name in logs and votes.
        or_port: Where it takes circuits, on 127.0.0.1.
        dir_port: Where it takes descriptors and votes, on 127.0.0.1.
        fingerprint: Its relay identity, 40 hexadecimal digits.
        v3_identity: The key that signs its votes, 40 hexadecimal digits.
    """

    nickname: str
    or_port: int
    dir_port: int
    fingerprint: str
    v3_identity: str


def client_torrc(authorities: Iterable[Authority]) -> str:
    """What makes a tor a client of the network (and, with more lines, a node of it)."""
    lines = (
        f"DirAuthority {one.nickname} orport={one.or_port} no-v2 v3ident={one.v3_identity}"
        f" 127.0.0.1:{one.dir_port} {one.fingerprint}\n"
        for one in authorities
    )
    return _EVERYBODY + "".join(lines)


def relay_torrc(authorities: Iterable[Authority], nickname: str, directory: PurePath) -> str:
    """The configuration of a relay that lives in `directory`; tor chooses its port."""
    return _node(authorities, nickname, directory, or_port="auto")


def authority_torrc(
    authorities: Iterable[Authority], me: Authority, directory: PurePath, *, consensus_at: int
) -> str:
    """The configuration of an authority, which is a relay too.

    Args:
        authorities: All of them.
        me: The one this is for.
        directory: Where it lives.
        consensus_at: When the next consensus is due, in seconds since the epoch; at least
            ``VOTE_LEAD`` from now, and the same for all. Others follow every ``VOTING_INTERVAL``.
    """
    return (
        _node(authorities, me.nickname, directory, or_port=str(me.or_port))
        + f"DirPort 127.0.0.1:{me.dir_port}\n"
        + _AUTHORITY
        + f"TestingV3AuthVotingStartOffset {consensus_at % VOTING_INTERVAL}\n"
    )


def _node(
    authorities: Iterable[Authority], nickname: str, directory: PurePath, *, or_port: str
) -> str:
    return (
        client_torrc(authorities)
        + _RELAY
        + f"Nickname {nickname}\n"
        + f"DataDirectory {quoted(directory)}\n"
        + f"ServerDNSResolvConfFile {quoted(directory / NO_RESOLVER)}\n"
        + f"ORPort 127.0.0.1:{or_port} IPv4Only\n"
    )


def fingerprint(text: str) -> str:
    """The relay identity in the ``fingerprint`` file that tor writes: ``NICKNAME HEX``.

    Raises:
        ValueError: There is none.
    """
    return _only(r"\A\w+ ([0-9A-F]{40})\s*\Z", text)


def v3_identity(certificate: str) -> str:
    """The identity in the certificate that tor-gencert writes (dir-spec, "Key certificates").

    Raises:
        ValueError: There is none.
    """
    return _only(r"^fingerprint ([0-9A-F]{40})$", certificate)


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {pattern} in {text!r}")
    return found[1]


def routers_described(descriptors: str) -> frozenset[str]:
    """Nicknames in tor's store of relay descriptors, which may hold several of one relay."""
    return frozenset(re.findall(r"^router (\w+) ", descriptors, re.MULTILINE))


def routers_in_consensus(consensus: str) -> frozenset[str]:
    """Nicknames of the running relays that a consensus of either flavour lists."""
    entries = re.findall(r"^r (\w+) .*$(?:\n[^r].*$)*?\ns (.*)$", consensus, re.MULTILINE)
    return frozenset(nickname for nickname, flags in entries if "Running" in flags.split())

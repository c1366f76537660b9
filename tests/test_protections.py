"""Take each protection away and see its test fail: what nothing notices is not proven.

A case is a line of docs/privacy.md, one change to the program, and a test that must fail then. The
change is made in a process of its own, to what is imported there, never to a file.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.mutant import NOT_FOUND, ROOT
from tor_control import guard_landlock

FAILED = 1
"""pytest's exit code when tests failed, and nothing worse happened."""
DEADLINE = 60
"""Seconds for one process."""


@dataclass(frozen=True)
class Case:
    """Without what is written there, the test must fail."""

    rule: str
    file: str
    old: str
    new: str
    test: str


EXTENSIONS = "torrent_onion/protocol/extensions.py"
TRACKER = "torrent_onion/protocol/tracker.py"
HTTP = "torrent_onion/protocol/http.py"
ANNOUNCER = "torrent_onion/engine/announcer.py"
CONNECTIONS = "torrent_onion/engine/connections.py"
POLICY = "tor_control/address_policy.py"
SOCKS = "tor_control/socks5.py"
METAINFO = "torrent_onion/core/metainfo.py"
PATHS = "torrent_onion/core/paths.py"
REDACTION = "torrent_onion/cli/redaction.py"
OPENING = "tests/engine/test_wire_golden.py"
REQUESTS = "tests/engine/test_announce_golden.py"
HOOK = "tor_control/guard_audit.py"
HOOK_TEST = "tests/tor_control/test_guard_audit.py"
ADDRESSES = "tests/tor_control/test_address_policy.py"
STREAMS = "tests/tor_control/test_dialer.py"

CASES: tuple[Case, ...] = (
    Case(
        "Software version: extension handshake",
        EXTENSIONS,
        '            b"upload_only": None if',
        '            b"v": b"torrent-onion 0.1",\n            b"upload_only": None if',
        OPENING,
    ),
    Case(
        "Software version: HTTP",
        HTTP,
        '        ("Connection", "close"),\n',
        '        ("Connection", "close"),\n        ("User-Agent", "torrent-onion"),\n',
        REQUESTS,
    ),
    Case(
        "Software version: .torrent",
        METAINFO,
        "        around: dict[bytes, Encodable] = {}\n",
        '        around: dict[bytes, Encodable] = {b"created by": b"torrent-onion"}\n',
        "tests/core/test_metainfo.py",
    ),
    Case(
        "Software version: tor",
        SOCKS,
        "SOCKS5UsernamePasswordRequest(ISOLATION_USER, isolation)",
        'SOCKS5UsernamePasswordRequest(b"torrent-onion", isolation)',
        "tests/tor_control/test_socks5.py",
    ),
    Case(
        "Peer id: peers, a client's prefix",
        CONNECTIONS,
        "PeerId(secrets.token_bytes(PEER_ID_SIZE))",
        'PeerId(b"-TO0100-" + secrets.token_bytes(12))',
        OPENING,
    ),
    Case(
        "Peer id: peers, always the same",
        CONNECTIONS,
        "PeerId(secrets.token_bytes(PEER_ID_SIZE))",
        "PeerId(bytes(PEER_ID_SIZE))",
        OPENING,
    ),
    Case(
        "Peer id: trackers",
        ANNOUNCER,
        "PeerId(secrets.token_bytes(_PEER_ID_SIZE))",
        "PeerId(bytes(_PEER_ID_SIZE))",
        REQUESTS,
    ),
    Case(
        "IP and port in the extension handshake",
        EXTENSIONS,
        '            b"onion": self.onion,\n',
        '            b"onion": self.onion,\n            b"p": 6881,\n',
        OPENING,
    ),
    Case(
        "Obfuscated handshakes",
        "torrent_onion/policy/peer_pool.py",
        "            or address.is_onion\n",
        "",
        "tests/engine/test_obfuscation.py",
    ),
    Case(
        "Peer exchange: offered to onions",
        "torrent_onion/engine/clearnet_exchange.py",
        "            return OFFERED_IDS\n",
        "            return CLEARNET_PEX_IDS\n",
        OPENING,
    ),
    Case(
        "Peer exchange: spoken with onions",
        "torrent_onion/engine/clearnet_exchange.py",
        "return is_public and peer.address is not None and is_ip_address(peer.address)",
        "return is_public",
        "tests/engine/test_clearnet_exchange.py",
    ),
    Case(
        "Peer exchange: private torrents",
        "torrent_onion/engine/clearnet_exchange.py",
        "info is not None and not info.private",
        "True",
        "tests/engine/test_clearnet_exchange.py",
    ),
    Case(
        "Listen port: the virtual one is random",
        "tor_control/onion_service.py",
        "rng.randint(MIN_PORT, MAX_PORT)",
        "6881",
        "tests/tor_control/test_onion_service.py",
    ),
    Case(
        "Listen port: there is none",
        "tor_control/torrc.py",
        'f"SocksPort unix:{quoted(self.socks)} {flags}\\n"',
        'f"SocksPort 9050 {flags}\\n"',
        "tests/tor_control/test_torrc.py",
    ),
    Case(
        "DHT port: the message",
        "torrent_onion/protocol/message_codec.py",
        '            raise ValueError("a port message is never sent: there is no DHT node here")',
        "            return _PORT.pack(message.port)",
        "tests/protocol/test_messages.py",
    ),
    Case(
        "DHT port: the bit",
        "torrent_onion/protocol/handshake.py",
        "        if self.dht:\n",
        "        if False:\n",
        "tests/protocol/test_handshake.py",
    ),
    Case(
        "Tracker's IP arguments: our onion for everybody",
        TRACKER,
        "onion = self.own_address if _is_onion(parts) else None",
        "onion = self.own_address",
        REQUESTS,
    ),
    Case(
        "Tracker's IP arguments: an IP address",
        ANNOUNCER,
        "own_address if own_address and own_address.is_onion else None",
        "own_address",
        "tests/engine/test_announcer.py",
    ),
    Case(
        "Protocols that a proxy does not carry",
        HTTP,
        "    if scheme in _DEFAULT_PORTS:\n        return\n",
        "    return\n",
        "tests/protocol/test_http.py",
    ),
    Case(
        "Shared circuits: torrents",
        CONNECTIONS,
        "        self._isolation = new_isolation()",
        '        self._isolation = "x" * 32',
        "tests/engine/test_transfer.py::test_each_torrent_has_an_isolation_of_its_own",
    ),
    Case(
        "Shared circuits: trackers",
        ANNOUNCER,
        "        self.isolation = new_isolation()",
        '        self.isolation = "x" * 32',
        REQUESTS,
    ),
    Case(
        "Shared circuits: web seeds",
        "torrent_onion/engine/web_seed.py",
        "        isolation = new_isolation()",
        '        isolation = "x" * 32',
        "tests/engine/test_web_seed.py::TestHonestServers::test_every_seed_has_a_circuit_of_its_own",
    ),
    Case(
        "Shared circuits: isolation that tor does not confirm",
        SOCKS,
        "        if message != _METHOD_CONFIRMED:\n            raise IsolationRefused\n",
        "",
        "tests/tor_control/test_socks5.py",
    ),
    Case(
        "One onion links torrents",
        "tor_control/onion_service.py",
        "OnionKey.from_seed(secrets.token_bytes(SEED_LENGTH))",
        "OnionKey.from_seed(bytes(SEED_LENGTH))",
        "tests/tor_control/test_onion_service.py",
    ),
    Case(
        "Local DNS: an IP address goes as a name",
        SOCKS,
        "SOCKS5AType.DOMAIN_NAME, name, port",
        "SOCKS5AType.IPV4_ADDRESS, name[:4], port",
        "tests/tor_control/test_socks5.py",
    ),
    Case(
        "key= links trackers",
        ANNOUNCER,
        "        self.key = secrets.token_bytes(KEY_SIZE)",
        "        self.key = bytes(KEY_SIZE)",
        REQUESTS,
    ),
    Case(
        "key= links trackers: trackerid",
        "torrent_onion/policy/announce_schedule.py",
        "        tracker.tracker_id = reply.tracker_id or tracker.tracker_id\n",
        "        for tracker in self._trackers:\n"
        "            tracker.tracker_id = reply.tracker_id or tracker.tracker_id\n",
        "tests/policy/test_announce_schedule.py"
        "::test_a_tracker_id_goes_back_to_its_own_tracker_only",
    ),
    Case(
        "external ip",
        TRACKER,
        '        warning=_text(reply, b"warning message"),',
        '        warning=_text(reply, b"external ip") or _text(reply, b"warning message"),',
        "tests/protocol/test_tracker.py::TestAnnounceReply",
    ),
    Case(
        "yourip",
        EXTENSIONS,
        '        stripe = get_bytes(values, b"stripe") or b""\n',
        '        stripe = get_bytes(values, b"stripe") or \\\n'
        '            4 * (get_bytes(values, b"yourip") or b"")\n',
        "tests/protocol/test_extensions.py",
    ),
    Case(
        "HTTP: from an onion to the clearnet",
        HTTP,
        "    if url.is_onion and not target.is_onion:\n",
        "    if False:\n",
        "tests/protocol/test_http.py",
    ),
    Case(
        "HTTP: from https to http",
        HTTP,
        "    if url.is_encrypted and not target.is_encrypted:\n",
        "    if False:\n",
        "tests/protocol/test_http.py",
    ),
    Case(
        "HTTP: redirects without end",
        HTTP,
        "    if hops >= MAX_REDIRECTS:\n",
        "    if False:\n",
        "tests/protocol/test_http.py",
    ),
    Case(
        "A tracker that points at us: the dialer asks",
        "tor_control/dialer.py",
        "self._policy.may_dial(host, port)",
        "host",
        STREAMS,
    ),
    Case(
        "A tracker that points at us: private addresses",
        POLICY,
        "        if not self.allow_private:\n",
        "        if False:\n",
        ADDRESSES,
    ),
    Case(
        "A tracker that points at us: reserved addresses",
        POLICY,
        "        if any(address in network for network in _RESERVED_IPV4):\n",
        "        if False:\n",
        ADDRESSES,
    ),
    Case(
        "A tracker that points at us: IPv4 inside IPv6",
        POLICY,
        "address not in _GLOBAL_IPV6 or ",
        "",
        ADDRESSES,
    ),
    Case(
        "A tracker that points at us: tor's ports",
        POLICY,
        " or port in self.tor_ports",
        "",
        ADDRESSES,
    ),
    Case(
        "Nothing but onions",
        POLICY,
        "        if self.onion_only:\n",
        "        if False:\n",
        ADDRESSES,
    ),
    Case(
        "Host names as peers",
        TRACKER,
        "if address is not None and (address.is_onion or _is_literal(address.host)):",
        "if address is not None:",
        "tests/protocol/test_tracker.py",
    ),
    Case(
        "Hostile names: characters",
        PATHS,
        "    safe = _UNSAFE_CHARACTERS.sub(_REPLACEMENT, name)\n",
        "    safe = name\n",
        "tests/core/test_paths.py::test_names",
    ),
    Case(
        "Hostile names: reserved ones and dots",
        PATHS,
        "    if not safe or _RESERVED(safe):\n",
        "    if not safe:\n",
        "tests/core/test_paths.py::test_names",
    ),
    Case(
        "Hostile names: planted links",
        "torrent_onion/engine/file_handles.py",
        "_OWN_FOLDER = FOLDER | os.O_NOFOLLOW",
        "_OWN_FOLDER = FOLDER",
        "tests/engine/test_storage_parts.py",
    ),
    Case(
        "Hostile names: links that a torrent names",
        "torrent_onion/engine/placement.py",
        "None if entry.is_pad or entry.symlink is not None else name",
        "None if entry.is_pad else name",
        "tests/engine/test_links_and_runs.py",
    ),
    Case(
        "What is shared by mistake: links put there while it is hashed",
        "torrent_onion/engine/sequential_reader.py",
        "_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "_FLAGS = os.O_RDONLY | os.O_CLOEXEC",
        "tests/engine/test_sequential_reader.py",
    ),
    Case(
        "What is shared by mistake: links",
        "torrent_onion/engine/scan.py",
        '        if entry.is_symlink():\n            return "symbolic link"\n'
        "        if not (entry.is_dir(follow_symlinks=False) or "
        "entry.is_file(follow_symlinks=False)):\n",
        "        if not (entry.is_dir() or entry.is_file()):\n",
        "tests/engine/test_links_and_runs.py",
    ),
    Case(
        "What is shared by mistake: hidden files",
        "torrent_onion/engine/scan.py",
        '        if entry.name.startswith("."):\n',
        "        if False:\n",
        "tests/engine/test_storage_parts.py",
    ),
    Case(
        "The process itself: seccomp",
        "tor_control/guard_seccomp.py",
        "(JMP_JEQ_K, 0, 1, AF_UNIX)",
        "(JMP_JEQ_K, 0, 0, AF_UNIX)",
        "tests/tor_control/test_guard_seccomp.py::test_no_socket_but_unix",
    ),
    Case(
        "The process itself: seccomp, programs",
        "tor_control/guard_seccomp.py",
        "    for number in architecture.denied:\n",
        "    for number in ():\n",
        "tests/tor_control/test_guard_seccomp.py::test_no_programs_no_io_uring_no_other_processes",
    ),
    Case(
        "The process itself: the hook",
        HOOK,
        "        if judge is None or judge(arguments):\n",
        "        if True:\n",
        f"{HOOK_TEST}::test_it_refuses_beside_unix_sockets",
    ),
    Case(
        "The process itself: the hook, names",
        HOOK,
        '    "socket.getaddrinfo",\n',
        "",
        f"{HOOK_TEST}::test_it_refuses_beside_unix_sockets",
    ),
    Case(
        "The process itself: the hook, programs",
        HOOK,
        '    "subprocess.Popen",\n',
        "",
        f"{HOOK_TEST}::test_it_refuses_beside_unix_sockets",
    ),
    Case(
        "The process itself: the hook, UDP",
        HOOK,
        "        if kind & SOCK_TYPE_MASK != SOCK_STREAM:\n",
        "        if False:\n",
        f"{HOOK_TEST}::test_it_refuses_beside_tcp",
    ),
    Case(
        "The process itself: the hook, other places than Tor's",
        HOOK,
        "isinstance(address, tuple) and address[:2] in self.tcp",
        "isinstance(address, tuple)",
        f"{HOOK_TEST}::test_it_refuses_beside_tcp",
    ),
    Case(
        "The process itself: the hook, other Unix sockets than Tor's",
        HOOK,
        "            return os.fsdecode(address) in self.unix\n",
        "            return True\n",
        f"{HOOK_TEST}::test_it_refuses_beside_unix_sockets",
    ),
    Case(
        "The process itself: nothing is read before",
        "torrent_onion/cli/tor_session.py",
        "            guarding.arm(event)\n            guarding.tell_layers(ui)\n"
        "            have_read",
        "            have_read",
        "tests/cli/test_getting.py"
        "::test_nothing_of_a_stranger_is_looked_into_before_the_guard_is_armed",
    ),
    Case(
        "The process itself: nothing is read before, by a tracker",
        "torrent_onion/cli/tracking.py",
        "            open_tor_for(config, ui) as tor,\n            _open_memory("
        "files.database, registry) as database,",
        "            _open_memory(files.database, registry) as database,\n"
        "            open_tor_for(config, ui) as tor,",
        "tests/cli/test_tracking.py::TestFiles",
    ),
    Case(
        "The process itself: the keeper keeps no power beside another's tor",
        "tor_control/controller.py",
        "            config.keeper.start_nothing()\n",
        "            pass\n",
        "tests/tor_control/test_controller.py::test_beside_anothers_tor_the_keeper_loses_its_power",
    ),
    Case(
        "Nothing but onions: tor refuses as well",
        "tor_control/torrc.py",
        '            flags += " OnionTrafficOnly"\n',
        "            pass\n",
        "tests/tor_control/test_torrc.py",
    ),
    Case(
        "Nothing but onions: the option",
        "torrent_onion/cli/tor_session.py",
        "        onion_only=options.onion_only,\n",
        "",
        "tests/cli/test_tor_session.py",
    ),
    Case(
        "Logs: values",
        REDACTION,
        "        return self.mask(type(value).__name__, str(value))\n",
        "        return str(value)\n",
        "tests/cli/test_redaction.py",
    ),
    Case(
        "Logs: secrets",
        "tor_control/secret.py",
        '        return "Secret(...)"',
        '        return f"Secret({self._value!r})"',
        "tests/tor_control/test_secret.py",
    ),
    Case(
        "Tor going away: streams",
        "tor_control/supervisor.py",
        "        self._traffic.cut_all()\n        self._up = ",
        "        self._up = ",
        "tests/tor_control/test_supervisor.py::test_an_ended_connection_stops_traffic_at_once",
    ),
    Case(
        "Tor going away: dialling",
        "tor_control/tor_stream.py",
        "        self._is_cut = True\n        for",
        "        for",
        f"{STREAMS}::test_nothing_is_dialled_until_traffic_resumes",
    ),
    Case(
        "Timing of start and stop",
        ANNOUNCER,
        "self._rng.uniform(0, FAREWELL_SPREAD / len(announcements))",
        "0",
        "tests/engine/test_announcer.py::TestFarewell",
    ),
)

LANDLOCK = "tor_control/guard_landlock.py"
LANDLOCK_TEST = "tests/tor_control/test_guard_landlock.py"
# What only the kernel can show, where it can.
if guard_landlock.abi() > 0:
    CASES += (
        Case(
            "The process itself: seccomp, for threads that run already",
            "tor_control/guard_seccomp.py",
            "_FLAG_TSYNC = 1\n",
            "_FLAG_TSYNC = 0\n",
            "tests/tor_control/test_guard_seccomp.py::test_threads_that_run_already_are_covered",
        ),
        Case(
            "The process itself: writes",
            LANDLOCK,
            "    rights = _WRITE_FILE | _REMOVE_AND_MAKE\n",
            "    rights = _WRITE_FILE\n",
            f"{LANDLOCK_TEST}::test_nothing_outside_can_be_changed",
        ),
        Case(
            "The process itself: cutting files off",
            LANDLOCK,
            "    rights |= _TRUNCATE if version >= _ABI_OF_TRUNCATE else 0\n",
            "",
            f"{LANDLOCK_TEST}::test_nothing_outside_can_be_changed",
        ),
        Case(
            "A torrent that asks what is on this disk",
            "torrent_onion/engine/torrent_data.py",
            "            folders = self._torrent.spec.reuse\n",
            "            folders = (*self._torrent.spec.reuse, self._final.root)\n",
            "tests/engine/test_identical_files.py"
            "::test_nothing_is_looked_for_where_the_user_has_not_said_so",
        ),
        Case(
            "The process itself: other TCP ports",
            LANDLOCK,
            '    ruleset = _create_ruleset(struct.pack("=QQ", 0, _BIND_TCP | _CONNECT_TCP))\n',
            '    ruleset = _create_ruleset(struct.pack("=QQ", 0, _BIND_TCP))\n    ports = ()\n',
            f"{LANDLOCK_TEST}::test_tcp_reaches_tors_ports_only",
        ),
    )


def run(case: Case) -> tuple[int, str]:
    """Returns the exit code, and what was said."""
    arguments = json.dumps([case.file, case.old, case.new, case.test])
    result = subprocess.run(
        [sys.executable, "-m", "tests.mutant", arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of the time would be for their imports
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_without_it_a_test_fails(case: Case) -> None:
    code, said = run(case)
    assert code != NOT_FOUND, f"{case.file} has changed; say anew what is taken away"
    assert code == FAILED, said

"""A real tor that is not ours: found, opened with each kind of key, lost and waited for."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from integration.tor_traffic import PATIENCE, Events, exchange, traffic_stops
from tor_control import attach, control_connection, discovery
from tor_control.attach import System, attach_to_first, attach_tor
from tor_control.config import TorConfig
from tor_control.control_connection import open_control
from tor_control.controller import open_tor
from tor_control.endpoints import (
    Endpoint,
    TcpEndpoint,
    TorEnvironment,
    UnixEndpoint,
    parse_endpoint,
)
from tor_control.errors import (
    AuthenticationFailed,
    CommandFiltered,
    ControlFailed,
    ControlUnreachable,
    InvalidEndpoint,
    TorNotFound,
    TorTooOld,
)
from tor_control.events import Connected, Lost, Restored
from tor_control.private_network import PrivateNetwork
from tor_control.secret import Secret

NOWHERE = """\
TestingTorNetwork 1
DirAuthority nobody orport=1 no-v2 v3ident={0} 127.0.0.1:1 {0}
GeoIPFile /dev/null
GeoIPv6File /dev/null
""".format("A" * 40)
"""A network that is not there: tor opens its ports and talks to nobody."""

PASSWORD = 'a "quoted" \\ pässword'


@dataclass
class Other:
    """A tor that somebody else runs."""

    folder: Path
    lines: str
    network: str = NOWHERE
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["tor", "-f", "-", "--defaults-torrc", "/dev/null"],
                stdin=subprocess.PIPE,
                stdout=log,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(
            f"DataDirectory {self.folder}/data\n{self.network}\n{self.lines}\n".encode()
        )
        self.process.stdin.close()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    async def wait_ready(self) -> None:
        """Wait until it has opened all its ports."""
        with trio.fail_after(PATIENCE):
            while "Bootstrapped 0%" not in (self.folder / "log").read_text():
                assert self.process.poll() is None, (self.folder / "log").read_text()
                await trio.sleep(0.02)

    def tcp(self, name: str) -> TcpEndpoint:
        """Where a port is whose number tor has chosen."""
        log = (self.folder / "log").read_text()
        [port] = re.findall(rf"{name} listener listening on port ([0-9]+)\.", log)
        return TcpEndpoint("127.0.0.1", int(port))

    def unix(self, name: str) -> UnixEndpoint:
        return UnixEndpoint(str(self.folder / name))


@asynccontextmanager
async def other_tor(folder: Path, lines: str, network: str = NOWHERE) -> AsyncIterator[Other]:
    other = Other(folder, lines.format(folder=folder), network)
    other.start()
    try:
        await other.wait_ready()
        yield other
    finally:
        other.end()


@asynccontextmanager
async def attached(
    control: Endpoint, environment: TorEnvironment | None = None
) -> AsyncIterator[attach.AttachedTor]:
    with trio.fail_after(PATIENCE):
        tor, connection = await attach_tor(control, environment or TorEnvironment())
        async with connection:
            assert await connection.get_info("version")
            yield tor


def hashed(password: str) -> str:
    run = subprocess.run(
        ["tor", "--quiet", "--hash-password", password], capture_output=True, check=True
    )
    return run.stdout.decode().strip().splitlines()[-1]


def secret(text: str) -> Secret:
    return Secret(text.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "other"
    made.mkdir(mode=0o700)
    return made


async def test_an_open_unix_socket(folder: Path) -> None:
    async with (
        other_tor(folder, "ControlPort unix:{folder}/control\nSocksPort auto") as other,
        attached(other.unix("control")) as tor,
    ):
        assert tor.control == other.unix("control")
        assert tor.socks == other.tcp("Socks")


async def test_a_cookie_on_tcp(folder: Path) -> None:
    lines = "ControlPort auto\nCookieAuthentication 1\nSocksPort unix:{folder}/socks"
    async with other_tor(folder, lines) as other, attached(other.tcp("Control")) as tor:
        assert tor.socks == other.unix("socks")


async def test_a_cookie_where_the_environment_says(folder: Path) -> None:
    lines = "ControlPort unix:{folder}/control\nCookieAuthentication 1\nSocksPort auto"
    async with other_tor(folder, lines) as other:
        cookie = folder / "data/control_auth_cookie"
        cookie.rename(folder / "moved")
        with pytest.raises(AuthenticationFailed, match="cannot be read"):
            async with attached(other.unix("control")):
                pass
        environment = TorEnvironment(cookie_file=str(folder / "moved"))
        async with attached(other.unix("control"), environment):
            pass


async def test_a_wrong_cookie(folder: Path) -> None:
    lines = "ControlPort unix:{folder}/control\nCookieAuthentication 1\nSocksPort auto"
    async with other_tor(folder, lines) as other:
        (folder / "wrong").write_bytes(bytes(32))
        environment = TorEnvironment(cookie_file=str(folder / "wrong"))
        with pytest.raises(AuthenticationFailed):
            async with attached(other.unix("control"), environment):
                pass


async def test_a_password(folder: Path) -> None:
    lines = f"ControlPort auto\nHashedControlPassword {hashed(PASSWORD)}\nSocksPort auto"
    async with other_tor(folder, lines) as other:
        control = other.tcp("Control")
        async with attached(control, TorEnvironment(password=secret(PASSWORD))):
            pass
        with pytest.raises(AuthenticationFailed, match="did not take the password"):
            async with attached(control, TorEnvironment(password=secret("wrong"))):
                pass
        with pytest.raises(AuthenticationFailed, match="wants a password"):
            async with attached(control):
                pass


async def test_a_cookie_helps_after_a_wrong_password(folder: Path) -> None:
    lines = (
        f"ControlPort unix:{{folder}}/control\nHashedControlPassword {hashed(PASSWORD)}\n"
        "CookieAuthentication 1\nSocksPort auto"
    )
    async with other_tor(folder, lines) as other:
        environment = TorEnvironment(password=secret("wrong"))
        async with attached(other.unix("control"), environment):
            pass


async def test_the_environment_names_the_socks_port(folder: Path) -> None:
    async with other_tor(folder, "ControlPort unix:{folder}/control\nSocksPort 0") as other:
        environment = TorEnvironment(socks=TcpEndpoint("127.0.0.1", 4321))
        async with attached(other.unix("control"), environment) as tor:
            assert tor.socks == TcpEndpoint("127.0.0.1", 4321)


async def test_a_tor_without_socks_is_of_no_use(folder: Path) -> None:
    async with other_tor(folder, "ControlPort unix:{folder}/control\nSocksPort 0") as other:
        with pytest.raises(ControlFailed, match="no SOCKS port"):
            async with attached(other.unix("control")):
                pass


async def test_a_socks_port_that_mixes_circuits_is_left_alone(folder: Path) -> None:
    lines = (
        "ControlPort unix:{folder}/control\nSocksPort unix:{folder}/mixing NoIsolateSOCKSAuth\n"
        "SocksPort auto"
    )
    async with other_tor(folder, lines) as other, attached(other.unix("control")) as tor:
        assert tor.socks == other.tcp("Socks")


async def test_a_socks_port_is_no_control_port(folder: Path) -> None:
    lines = "ControlPort unix:{folder}/control\nSocksPort auto"
    async with other_tor(folder, lines) as other:
        with pytest.raises(ControlFailed, match="no control port"):
            async with attached(other.tcp("Socks")):
                pass


async def test_nobody_is_there(folder: Path) -> None:
    for place in (UnixEndpoint(str(folder / "nothing")), TcpEndpoint("127.0.0.1", 1)):
        with pytest.raises(ControlUnreachable, match="--tor launch"):
            async with attached(place):
                pass


async def test_other_machines_are_refused() -> None:
    for place in ("tcp:192.0.2.1:9051", "tcp:0.0.0.0:9051", "tcp:[2001:db8::1]:9051"):
        with pytest.raises(InvalidEndpoint, match="another machine"):
            async with attached(parse_endpoint(place)):
                pass


async def test_a_socks_port_on_another_machine_is_refused(folder: Path) -> None:
    async with other_tor(folder, "ControlPort unix:{folder}/control\nSocksPort auto") as other:
        environment = TorEnvironment(socks=TcpEndpoint("192.0.2.1", 9050))
        with pytest.raises(InvalidEndpoint, match="another machine"):
            async with attached(other.unix("control"), environment):
                pass


async def test_an_old_tor_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "MINIMUM_VERSION", (9, 0))
    async with other_tor(folder, "ControlPort unix:{folder}/control\nSocksPort auto") as other:
        with pytest.raises(TorTooOld, match="update it"):
            async with attached(other.unix("control")):
                pass


async def test_the_first_that_lets_us_in(folder: Path) -> None:
    lines = (
        f"ControlPort unix:{{folder}}/control\nControlPort auto\nSocksPort auto\n"
        f"HashedControlPassword {hashed(PASSWORD)}"
    )
    nowhere = UnixEndpoint(str(folder / "nothing"))
    async with other_tor(folder, lines) as other:
        places = (nowhere, other.unix("control"))
        tor, connection = await attach_to_first(places, TorEnvironment(password=secret(PASSWORD)))
        await connection.aclose()
        assert tor.control == places[1]
        with pytest.raises(AuthenticationFailed):
            await attach_to_first(places, TorEnvironment())
    with pytest.raises(TorNotFound):
        await attach_to_first((nowhere,), TorEnvironment())


@asynccontextmanager
async def control_port(folder: Path, replies: dict[str, str]) -> AsyncIterator[UnixEndpoint]:
    """Something that answers as told, and to everything else with 510."""
    place = folder / "control"

    async def serve(stream: trio.SocketStream) -> None:
        received = b""
        async for data in stream:
            received += data
            *lines, received = received.split(b"\r\n")
            for line in lines:
                reply = replies.get(line.decode(), "510 Command filtered")
                await stream.send_all(reply.encode() + b"\r\n" if reply else b"")

    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(place))
    listening.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
        yield UnixEndpoint(str(place))
        nursery.cancel_scope.cancel()


FILTER = {
    "PROTOCOLINFO 1": "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n"
    '250-VERSION Tor="0.4.8.1"\r\n250 OK',
    "AUTHENTICATE": "250 OK",
    "GETINFO version": "250-version=0.4.8.1\r\n250 OK",
}
"""As much as a filter in front of tor may let through."""


async def test_behind_a_filter(folder: Path) -> None:
    async with control_port(folder, FILTER) as place:
        async with attached(place) as tor:
            assert tor.socks == attach.DEFAULT_SOCKS
        connection = await open_control(place, control_connection.Credentials())
        async with connection:
            with pytest.raises(CommandFiltered, match="onion-grater"):
                await connection.command("ADD_ONION NEW:BEST Port=1")


async def test_a_filter_that_hides_the_phase_is_believed(folder: Path) -> None:
    events = Events()
    async with control_port(folder, FILTER) as place:
        config = TorConfig(where=str(place), state=folder, environment={})
        with trio.fail_after(PATIENCE):
            async with open_tor(config, events) as tor:
                assert not tor.is_launched
                await trio.sleep(1)
                assert events.count(Lost) == 0


async def test_what_never_answers_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_connection, "LOG_IN_TIMEOUT", 0.3)
    async with control_port(folder, {"PROTOCOLINFO 1": ""}) as place:
        with trio.fail_after(5), pytest.raises(ControlFailed):
            async with attached(place):
                pass


async def test_what_talks_nonsense_is_given_up(folder: Path) -> None:
    async with control_port(folder, {"PROTOCOLINFO 1": "HTTP/1.0 501 no"}) as place:
        with trio.fail_after(5), pytest.raises(ControlFailed, match="no control port"):
            async with attached(place):
                pass


async def test_auto_obeys_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with control_port(folder, FILTER) as place:
        environment = {"TOR_CONTROL_IPC_PATH": place.path}
        async with open_tor(TorConfig(state=folder, environment=environment)) as tor:
            assert place in tor.endpoints
    with pytest.raises(ControlUnreachable):
        async with open_tor(TorConfig(state=folder, environment=environment)):
            pass


async def test_auto_takes_the_systems_tor_where_none_can_be_launched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = TorConfig(state=folder, environment={"PATH": str(folder)})
    monkeypatch.setattr("tor_control.launch.USUAL_FOLDERS", ())
    async with control_port(folder, FILTER) as place:
        monkeypatch.setattr(attach, "SYSTEM_PLACES", (place,))
        async with open_tor(empty) as tor:
            assert place in tor.endpoints
            assert not tor.is_launched
    monkeypatch.setattr(attach, "SYSTEM_PLACES", ())
    monkeypatch.setattr(attach, "TOR_BROWSER", UnixEndpoint(str(folder / "nothing")))
    with pytest.raises(TorNotFound):
        async with open_tor(empty):
            pass


async def test_on_tails_nothing_is_launched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "detect_system", lambda: System.TAILS)
    async with control_port(folder, FILTER) as place:
        monkeypatch.setattr(attach, "TAILS_FILTER", place)
        async with open_tor(TorConfig(state=folder, environment={})) as tor:
            assert place in tor.endpoints
    with pytest.raises(Exception, match="On Tails there is a Tor already"):
        async with open_tor(TorConfig(where="launch", state=folder, environment={})):
            pass


WATCHED = """
import sys, trio
sys.path.insert(0, {root!r})
seen = []
KINDS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "socket.send",
         "subprocess.", "os.posix_spawn", "os.fork", "os.exec", "os.system")

def watch(event, arguments):
    if event.startswith(KINDS):
        seen.append((event, arguments[1:]))

from tor_control.attach import attach_tor
from tor_control.endpoints import TorEnvironment, parse_endpoint

async def main():
    sys.addaudithook(watch)
    tor, connection = await attach_tor(parse_endpoint({place!r}), TorEnvironment())
    async with connection:
        async with connection.subscribe("STATUS_CLIENT"):
            await connection.get_info("version")
    print(seen)

trio.run(main)
"""


async def test_one_socket_is_connected_and_no_program_started(folder: Path) -> None:
    lines = "ControlPort unix:{folder}/control\nCookieAuthentication 1\nSocksPort auto"
    async with other_tor(folder, lines) as other:
        place = other.unix("control")
        script = WATCHED.format(root=str(Path(__file__).parent.parent), place=str(place))
        run = await trio.run_process(
            [sys.executable, "-W", "ignore", "-c", script], capture_stdout=True
        )
    assert run.stdout.decode().strip() == str([("socket.connect", (place.path,))])


async def test_the_loss_of_anothers_tor_is_waited_out(
    tor_network: PrivateNetwork, tmp_path: Path, folder: Path
) -> None:
    events = Events()
    lines = (
        "ControlPort unix:{folder}/control\nCookieAuthentication 1\nSocksPort unix:{folder}/socks"
    )
    async with other_tor(folder, lines, tor_network.torrc.read_text()) as other:
        place = other.unix("control")
        config = TorConfig(where=str(place), state=tmp_path / "state")
        with trio.fail_after(3 * PATIENCE):
            async with open_tor(config, events) as tor, tor.publish() as service:
                assert isinstance(events.seen[0], Connected)
                assert not events.seen[0].is_launched
                assert service.listener.target.startswith("127.0.0.1:")
                stream, _ = await exchange(tor, service)
                async with traffic_stops(stream):
                    other.end()
                await events.wait(Lost)
                other.start()
                await events.wait(Restored)
                await exchange(tor, service)
        assert not (tmp_path / "state").exists()

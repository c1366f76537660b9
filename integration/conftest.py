"""What the integration tests share: one private Tor network, processes, content.

When a test fails, everything that its processes and tors said last is shown below the failure.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from integration.command_line import Cli
from integration.running_tor import (
    REACHES_LOOPBACK,
    OtherTor,
    RunningTor,
    other_tor,
    running_tor,
)
from integration.shared_network import network_in_thread
from integration.trees import make_tree
from tor_control.config import TorConfig
from tor_control.private_network import PrivateNetwork

_LOGS = pytest.StashKey[list[Callable[[], str]]]()


class StartCli(Protocol):
    """Starts ``torrent-onion``, by default with a tor of its own in the private network."""

    def __call__(
        self,
        *arguments: str,
        tor: str | None = "launch",
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
        state: Path | None = None,
    ) -> Cli: ...


@pytest.fixture(scope="session")
def tor_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNetwork]:
    """A private Tor network, the same for all tests."""
    with network_in_thread(tmp_path_factory.mktemp("tor") / "network") as network:
        yield network


@pytest.fixture(scope="session")
def common_tor(
    tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where to attach to a tor that reaches loopback through an exit: for all who need no own."""
    folder = tmp_path_factory.mktemp("tor") / "common"
    lines = "SocksPort unix:{folder}/socks\nControlPort unix:{folder}/control\n"
    with running_tor(tor_network, folder, lines + REACHES_LOOPBACK):
        yield f"unix:{folder}/control"


@pytest.fixture
def common_config(common_tor: str, tmp_path: Path) -> TorConfig:
    """The same for ``open_tor``."""
    return TorConfig(where=common_tor, state=tmp_path / "state", allow_private_addresses=True)


@pytest.fixture(scope="session")
def _tor_of_others(
    tor_network: PrivateNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTor]:
    with running_tor(tor_network, tmp_path_factory.mktemp("tor") / "others") as tor:
        yield tor


@pytest.fixture(scope="module")
def outside(_tor_of_others: RunningTor) -> Iterator[OtherTor]:
    """A tor that is not ours, for other programs; onions made by it end with the module."""
    with other_tor(_tor_of_others) as tor:
        yield tor


@pytest.fixture
def start_cli(
    tor_network: PrivateNetwork, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[StartCli]:
    """Start commands; whatever still runs at the end of the test is ended.

    ``tor=None`` is for commands without Tor, another place is one to attach to. What tor learns is
    kept in ``state``, which is new for each unless it is given.
    """
    started: list[Cli] = []

    def start(
        *arguments: str,
        tor: str | None = "launch",
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
        state: Path | None = None,
    ) -> Cli:
        number = len(started)
        state = state or tmp_path / f"state{number}"
        options: tuple[str, ...] = ()
        if tor is not None:
            options = ("--tor", tor, "--state", str(state), "--verbose")
        if tor == "launch":
            options += ("--torrc", str(tor_network.torrc))
        cli = Cli(
            [*arguments, *options],
            stderr=tmp_path / f"stderr{number}",
            state=state,
            environment=environment,
            wrapper=wrapper,
        )
        started.append(cli)
        request.node.stash.setdefault(_LOGS, []).append(cli.describe)
        return cli

    yield start
    for cli in started:
        cli.close()


@pytest.fixture
def content_tree(tmp_path: Path) -> Callable[..., Path]:
    """Make folders to share: ``content_tree(big=BYTES, seed=N)``."""

    def make(*, big: int = 0, seed: int = 0) -> Path:
        return make_tree(tmp_path / f"content {seed}", big=big, seed=seed)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the processes said to the report of a failure."""
    report = yield
    if report.failed:
        for describe in item.stash.get(_LOGS, []):
            said = describe()
            if said.partition("\n")[0] not in report.longreprtext:
                report.sections.append(("process", said))
        network = getattr(item, "funcargs", {}).get("tor_network")
        if isinstance(network, PrivateNetwork):
            report.sections.append(("tor network", _complaints(network)))
    return report


def _complaints(network: PrivateNetwork) -> str:
    """What its nodes complained of, but for what every such network complains of at first."""
    usual = (
        "TestingTorNetwork",
        "status code 404",
        "DirAuthority",
        "root",
        "sr-state",
        "That's ok",
    )
    return "\n".join(
        f"{log.parent.name} {line}"
        for log in sorted(network.directory.glob("nodes/*/log"))
        for line in log.read_text(errors="replace").splitlines()
        if ("[warn]" in line or "[err]" in line) and not any(words in line for words in usual)
    )

"""What tor itself tells of streams and circuits while torrents cross."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from integration.conftest import StartCli
from integration.running_tor import ControlSocket, StreamEvent, running_tor
from integration.trees import assert_same_tree
from tor_control.private_network import PrivateNetwork


def onion_streams(control: ControlSocket) -> list[StreamEvent]:
    """All but those by which tor talks with directories."""
    return [stream for stream in control.streams() if ".onion:" in stream.target]


def sharers(streams: list[StreamEvent]) -> dict[str, set[str]]:
    """The isolation tokens seen on each circuit."""
    tokens = defaultdict(set)
    for stream in streams:
        if stream.circuit != "0":
            tokens[stream.circuit].add(stream.isolation)
    return tokens


def test_two_torrents_never_share_a_circuit(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Not even where both dial the same onion, through the same tor, at the same time.

    The second torrent is told that the first one's seeder may have it too. Without isolation tor
    would use the circuit to that onion which the first torrent has open.
    """
    contents = [content_tree(seed=1), content_tree(seed=2)]
    torrents = [tmp_path / "1.torrent", tmp_path / "2.torrent"]
    seeders = [
        start_cli("seed", str(content), "--output", str(torrent))
        for content, torrent in zip(contents, torrents, strict=True)
    ]
    peers = [
        f"{ready['onion']}:{ready['port']}" for ready in (s.wait_event("ready") for s in seeders)
    ]
    lines = "SocksPort unix:{folder}/socks\nControlPort unix:{folder}/control\n"
    with running_tor(tor_network, tmp_path / "tor", lines) as tor, tor.control() as control:
        control.ask("SETEVENTS STREAM")
        place = f"unix:{tor.folder}/control"
        # It goes on serving, so its circuits stay.
        first = start_cli(
            *("get", str(torrents[0]), "--seed", "--peer", peers[0]),
            *("--dir", str(tmp_path / "get")),
            tor=place,
        )
        assert_same_tree(contents[0], first.complete())
        before = onion_streams(control)
        second = start_cli(
            *("get", str(torrents[1]), "--peer", peers[0], "--peer", peers[1]),
            *("--dir", str(tmp_path / "get")),
            tor=place,
        )
        assert_same_tree(contents[1], second.complete())
        streams = onion_streams(control)

    assert set(map(len, sharers(streams).values())) == {1}
    first_tokens = {stream.isolation for stream in before}
    second_tokens = {stream.isolation for stream in streams} - first_tokens
    assert first_tokens
    assert second_tokens
    assert "" not in first_tokens | second_tokens
    # Both were connected to the first one's seeder, each on circuits of its own.
    circuits = {
        who: {
            stream.circuit
            for stream in streams
            if stream.isolation in tokens
            and stream.target == peers[0]
            and stream.status == "SUCCEEDED"
        }
        for who, tokens in (("first", first_tokens), ("second", second_tokens))
    }
    assert circuits["first"]
    assert circuits["second"]
    assert not circuits["first"] & circuits["second"]


def test_a_new_start_is_a_new_identity(
    tor_network: PrivateNetwork,
    start_cli: StartCli,
    content_tree: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The same torrent fetched twice: another token, another circuit, another onion."""
    content = content_tree()
    onions = set()
    lines = "SocksPort unix:{folder}/socks\nControlPort unix:{folder}/control\n"
    with running_tor(tor_network, tmp_path / "tor", lines) as tor, tor.control() as control:
        control.ask("SETEVENTS STREAM")
        place = f"unix:{tor.folder}/control"
        seeder = start_cli("seed", str(content), tor="launch")
        ready = seeder.wait_event("ready")
        tokens: list[set[str]] = []
        for run in ("one", "two"):
            already = {stream.isolation for stream in onion_streams(control)}
            getter = start_cli("get", ready["magnet"], "--dir", str(tmp_path / run), tor=place)
            getter.complete()
            assert getter.wait() == 0
            tokens.append({stream.isolation for stream in onion_streams(control)} - already)
        assert all(tokens)
        assert set(map(len, sharers(onion_streams(control)).values())) == {1}
        onions.add((ready["onion"], ready["port"]))
        assert seeder.interrupt() == 130
        again = start_cli("seed", str(content)).wait_event("ready")
        onions.add((again["onion"], again["port"]))
    assert len({host for host, _ in onions}) == len({port for _, port in onions}) == 2
    assert again["info_hash"] == ready["info_hash"]

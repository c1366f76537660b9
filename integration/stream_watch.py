"""What tor says of the streams that it is asked for, heard on a control connection of our own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stem.control import Controller, EventType

from tor_control.controller import Tor
from tor_control.endpoints import UnixEndpoint


@dataclass
class StreamWatch:
    """Streams since the watch began.

    Attributes:
        targets: ``host:port`` of each that was asked for.
        circuits: By isolation token, the circuits that its streams succeeded on.
        tokens_of: By target, the tokens that it was asked for with.
    """

    targets: set[str] = field(default_factory=set)
    circuits: dict[str, set[str]] = field(default_factory=dict)
    tokens_of: dict[str, set[str]] = field(default_factory=dict)

    def __call__(self, event: Any) -> None:
        """Take one event; called on stem's thread."""
        token = event.keyword_args.get("SOCKS_PASSWORD")
        if token is None:
            return
        self.targets.add(event.target)
        self.tokens_of.setdefault(event.target, set()).add(token)
        if event.status == "SUCCEEDED":
            self.circuits.setdefault(token, set()).add(event.circ_id)


@contextmanager
def watch_streams(tor: Tor) -> Iterator[StreamWatch]:
    """Listen to a tor that was launched by ``open_tor``."""
    [path] = [
        one.path
        for one in tor.endpoints
        if isinstance(one, UnixEndpoint) and one.path.endswith("/control")
    ]
    watch = StreamWatch()
    with Controller.from_socket_file(path) as control:
        control.authenticate()
        control.add_event_listener(watch, EventType.STREAM)
        yield watch
        control.get_info("version")  # what happened before this answer has been told by then

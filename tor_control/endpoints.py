"""Where tor can be reached: ``tcp:HOST:PORT``, ``unix:PATH`` and the ``TOR_*`` variables (pure).

Two rules. An endpoint of ours never has a host name, since nothing here may ask a resolver:
``localhost`` is written 127.0.0.1, every other name is refused. And only loopback and Unix sockets
count as near (:attr:`TcpEndpoint.is_loopback`); who wants to go further has to say why.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from tor_control.errors import InvalidEndpoint
from tor_control.secret import Secret

DEFAULT_CONTROL_PORT = 9051  # tor(1); TOR_CONTROL_HOST alone means this one
DEFAULT_SOCKS_PORT = 9050  # tor(1); TOR_SOCKS_HOST alone means this one
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """An IP address and a port.

    Args:
        host: An IPv4 or IPv6 address, without brackets; never a name.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it lies on this machine."""
        return ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A Unix socket.

    Args:
        path: Its absolute path in the file system.
    """

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Endpoint = TcpEndpoint | UnixEndpoint


@dataclass(frozen=True, slots=True)
class TorEnvironment:
    """What the ``TOR_*`` environment variables say, as Tor Browser, Tails and Whonix set them.

    Args:
        control: ``TOR_CONTROL_IPC_PATH``, or else ``TOR_CONTROL_HOST`` and ``TOR_CONTROL_PORT``.
        socks: ``TOR_SOCKS_IPC_PATH``, or else ``TOR_SOCKS_HOST`` and ``TOR_SOCKS_PORT``.
        password: ``TOR_CONTROL_PASSWD`` without its quotes.
        cookie_file: ``TOR_CONTROL_COOKIE_AUTH_FILE``.
    """

    control: Endpoint | None = None
    socks: Endpoint | None = None
    password: Secret | None = None
    cookie_file: str | None = None


def parse_endpoint(text: str) -> Endpoint:
    """Read ``tcp:HOST:PORT`` or ``unix:PATH``.

    Raises:
        InvalidEndpoint: It is neither, or its host is a name.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/") and "\0" not in rest:
        return UnixEndpoint(rest)
    if kind == "tcp":
        return parse_host_port(rest)
    raise InvalidEndpoint(f"`{text}` is neither tcp:HOST:PORT nor unix:/PATH; check it.")


def parse_host_port(text: str) -> TcpEndpoint:
    """Read ``HOST:PORT``, an IPv6 address in brackets.

    Raises:
        InvalidEndpoint: It is something else, or the host is a name other than ``localhost``.
    """
    host, _, port = text.rpartition(":")
    if not host:
        raise InvalidEndpoint(f"`{text}` names no port; write {text}:{DEFAULT_CONTROL_PORT}.")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidEndpoint(f"`{text}` has an IPv6 address without brackets; put it in [ ].")
    return _tcp(host, port)


def parse_environment(environment: Mapping[str, str]) -> TorEnvironment:
    """Read the ``TOR_*`` variables; what is empty counts as not set.

    Raises:
        InvalidEndpoint: A variable names something that cannot be an endpoint.
    """
    return TorEnvironment(
        control=_from_environment(environment, "TOR_CONTROL", DEFAULT_CONTROL_PORT),
        socks=_from_environment(environment, "TOR_SOCKS", DEFAULT_SOCKS_PORT),
        password=_secret(environment.get("TOR_CONTROL_PASSWD")),
        cookie_file=environment.get("TOR_CONTROL_COOKIE_AUTH_FILE") or None,
    )


def parse_listeners(text: str) -> list[Endpoint]:
    """Read the value of ``GETINFO net/listeners/*``: quoted endpoints in one line (control-spec).

    A listener on every address (0.0.0.0 or ::) is reached through loopback. What cannot be read is
    left out: it may be a kind of listener that a newer tor has.

    Returns:
        The listeners in tor's order.
    """
    found: list[Endpoint] = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
        entry = _unescaped(quoted)
        try:
            found.append(
                parse_endpoint(entry) if entry.startswith("unix:") else parse_host_port(entry)
            )
        except InvalidEndpoint:
            continue
    return [_through_loopback(endpoint) for endpoint in found]


def parse_socks_ports(values: Iterable[str]) -> list[tuple[Endpoint, frozenset[str]]]:
    """Read the values of ``SocksPort`` as ``GETCONF`` gives them: an endpoint and its flags.

    Returns:
        Endpoints with their flags in lower case; ports without a fixed endpoint (``0``, ``auto``)
        are left out.
    """
    ports: list[tuple[Endpoint, frozenset[str]]] = []
    for value in values:
        match = re.match(r'(unix:"(?:[^"\\]|\\.)*"|\S+)\s*(.*)', value)
        if match is None:
            continue
        place, flags = match.groups()
        try:
            endpoint = _socks_place(place)
        except InvalidEndpoint:
            continue
        ports.append((_through_loopback(endpoint), frozenset(flags.lower().split())))
    return ports


def _socks_place(place: str) -> Endpoint:
    if place.startswith("unix:"):
        path = place.removeprefix("unix:")
        return parse_endpoint("unix:" + (_unescaped(path[1:-1]) if path.startswith('"') else path))
    return parse_host_port(place) if ":" in place else _tcp("127.0.0.1", place)


def _from_environment(
    environment: Mapping[str, str], prefix: str, default_port: int
) -> Endpoint | None:
    if path := environment.get(f"{prefix}_IPC_PATH"):
        return parse_endpoint(f"unix:{path.removeprefix('file://')}")
    host, port = environment.get(f"{prefix}_HOST"), environment.get(f"{prefix}_PORT")
    if not host and not port:
        return None
    return _tcp(host or "127.0.0.1", port or str(default_port))


def _tcp(host: str, port: str) -> TcpEndpoint:
    if host.lower() == "localhost":
        host = "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        raise InvalidEndpoint(
            f"`{host}` is no IP address, and names are not looked up; write 127.0.0.1 or the like."
        ) from None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= MAX_PORT:
        raise InvalidEndpoint(f"`{port}` is not a port; it is a number from 1 to {MAX_PORT}.")
    return TcpEndpoint(str(address), int(port))


def _through_loopback(endpoint: Endpoint) -> Endpoint:
    if isinstance(endpoint, TcpEndpoint) and ip_address(endpoint.host).is_unspecified:
        return TcpEndpoint("::1" if ":" in endpoint.host else "127.0.0.1", endpoint.port)
    return endpoint


def _secret(text: str | None) -> Secret | None:
    if not text:
        return None
    quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', text, re.DOTALL)
    password = _unescaped(quoted.group(1)) if quoted else text
    return Secret(password.encode("utf-8", "surrogateescape"))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)

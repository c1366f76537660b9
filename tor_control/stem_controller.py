"""The one module that imports stem, which takes a tenth of a second: import it when tor is opened.

Everything here blocks and runs in threads; ``control_connection.py`` is the way in. Two rules.
``stem.control.BaseController`` is used and not its child ``Controller``, because the child asks
things of its own accord (owner, configuration, events) that filters in front of a tor refuse. And
stem never looks for anything and makes no socket: the connection comes from ``dialer.py``, the path
of the cookie from tor or the environment, so that no program is started to find either.
"""

import logging
from collections.abc import Callable, Sequence

import stem
import stem.connection
import stem.control
import stem.response
import stem.socket

from tor_control.dialer import connect_control
from tor_control.endpoints import Endpoint
from tor_control.errors import AuthenticationFailed, ControlFailed, ControlUnreachable, TorLost
from tor_control.secret import Secret

# It would log whole commands at its trace level, private keys included.
logging.getLogger("stem").disabled = True


class StemController(stem.control.BaseController):  # type: ignore[misc]  # stem is untyped
    """One control connection with its two threads.

    Args:
        control_socket: A connected ``stem.socket.ControlSocket``.
        on_event: Called in a thread with the lines of each asynchronous event.
    """

    def __init__(self, control_socket: object, on_event: Callable[[list[str]], None]) -> None:
        self._on_event = on_event
        super().__init__(control_socket)

    def watch_end(self, on_closed: Callable[[], None]) -> None:
        """Have `on_closed` called, in a thread and perhaps twice, once the connection has ended.

        Not before :meth:`log_in`, which reconnects after a wrong password or cookie.
        """

        def state_changed(*_: object) -> None:
            if not self.is_alive():
                on_closed()

        self.add_status_listener(state_changed, spawn=False)
        state_changed()

    def ask(self, line: str) -> tuple[int, list[str]]:
        """Send a command; wait for its reply for as long as it takes.

        Returns:
            The status code of the last line, and all lines without their codes.

        Raises:
            TorLost: The connection ended.
            ControlFailed: The reply cannot be understood.
        """
        try:
            content = self.msg(_as_stem_sends(line.encode())).content()
        except stem.SocketError:
            raise TorLost from None
        except stem.ControllerError:
            raise ControlFailed from None
        return int(content[-1][0]), [text for _, _, text in content]

    def ask_all(self, lines: Sequence[str]) -> list[int]:
        """Send commands at once, not each when the one before it is answered; wait for all.

        Returns:
            The status codes of their replies.

        Raises:
            TorLost: The connection ended.
            ControlFailed: A reply cannot be understood.
        """
        try:
            with self._msg_lock:
                for line in lines:
                    self._socket.send(_as_stem_sends(line.encode()))
                return [int(self._next_reply().content()[-1][0]) for _ in lines]
        except stem.SocketError:
            raise TorLost from None
        except stem.ControllerError:
            raise ControlFailed from None

    def _next_reply(self) -> stem.response.ControlMessage:
        reply = self._reply_queue.get()
        if isinstance(reply, stem.ControllerError):
            raise reply
        return reply

    def log_in(self, password: Secret | None, cookie_file: str | None) -> None:
        """Authenticate with what the other side takes, and what we have.

        Args:
            password: What it may ask for.
            cookie_file: Instead of the place that it names itself.

        Raises:
            AuthenticationFailed: Nothing that we have opens it.
            ControlFailed: It is no control port.
        """
        try:
            info = self.msg("PROTOCOLINFO 1")
            stem.response.convert("PROTOCOLINFO", info)
            if cookie_file is not None:
                info.cookie_path = cookie_file
            stem.connection.authenticate(self, _escaped(password), protocolinfo_response=info)
        except stem.connection.AuthenticationFailure as error:
            raise _explained(error) from None
        except stem.ControllerError:
            raise ControlFailed(
                "What answers there is no control port of Tor; check the --tor option."
            ) from None

    def _handle_event(self, event_message: stem.response.ControlMessage) -> None:
        self._on_event([text for _, _, text in event_message.content()])


class _ControlSocket(stem.socket.ControlSocket):  # type: ignore[misc]  # stem is untyped
    """Stem's framing over a connection that the dialer makes, also when stem reconnects."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def _make_socket(self) -> object:
        try:
            return connect_control(self._endpoint)
        except OSError as error:
            raise stem.SocketError(error) from error


def connect(endpoint: Endpoint) -> object:
    """Connect to a control endpoint.

    Returns:
        A ``stem.socket.ControlSocket``.

    Raises:
        ControlUnreachable: Nothing answers there.
        AuthenticationFailed: The file system does not let us in.
    """
    made = _ControlSocket(endpoint)
    try:
        made.connect()
    except stem.SocketError as error:
        raise _unreachable(endpoint, error.__cause__) from None
    return made


def _unreachable(endpoint: Endpoint, cause: object) -> ControlFailed:
    """Say in a sentence why there is no connection."""
    if isinstance(cause, PermissionError):
        return AuthenticationFailed(
            f"You may not use Tor's control port {endpoint}; become a member of the group that may "
            "(on Debian: debian-tor), or use --tor launch."
        )
    reason = cause.strerror if isinstance(cause, OSError) else None
    return ControlUnreachable(
        f"Tor's control port {endpoint} cannot be reached ({reason or 'no answer'}); "
        "check that Tor runs there, or use --tor launch."
    )


def _escaped(password: Secret | None) -> str | None:
    """As a QuotedString wants it; stem itself sees to the quotes, and to nothing else."""
    return None if password is None else _as_stem_sends(password.reveal().replace(b"\\", b"\\\\"))


def _as_stem_sends(data: bytes) -> str:
    """Stem encodes all that it sends as Latin-1, so this text arrives as these bytes."""
    return data.decode("latin-1")


def _explained(error: stem.connection.AuthenticationFailure) -> ControlFailed:
    """Say in a sentence what is missing."""
    if isinstance(error, stem.connection.IncorrectSocketType):
        return ControlFailed(
            "What answers there is no control port of Tor; check the --tor option."
        )
    if isinstance(error, stem.connection.MissingPassword):
        return AuthenticationFailed(
            "Tor's control port wants a password; set the variable TOR_CONTROL_PASSWD to it, "
            "or use --tor launch."
        )
    if isinstance(error, stem.connection.IncorrectPassword):
        return AuthenticationFailed(
            "Tor's control port did not take the password in TOR_CONTROL_PASSWD; correct it, "
            "or use --tor launch."
        )
    if isinstance(error, stem.connection.UnreadableCookieFile):
        return AuthenticationFailed(
            f"Tor's cookie {error.cookie_path} cannot be read; become a member of the group that "
            "may (on Debian: debian-tor), or use --tor launch."
        )
    return AuthenticationFailed()

"""Every way in which Tor fails us. ``str(error)`` is what the user reads: a sentence, the way out.

::

    TorError
    ├── TorNotFound                  no tor program, and none that runs
    ├── TorTooOld                    a tor that cannot do what is needed
    ├── TorLaunchFailed              our own tor did not start, or ended at once
    ├── BootstrapStalled             tor runs, but the network is out of its reach
    ├── ControlFailed                the control port
    │   ├── ControlUnreachable       nothing answers where it should be
    │   ├── AuthenticationFailed     it wants a password or cookie that we do not have
    │   ├── CommandFiltered          something between us and tor forbids the command
    │   └── CommandRejected          tor answered no (``code`` has its number)
    ├── TorLost                      tor was there and is gone
    ├── PublishFailed                the onion service could not be published
    ├── ListenFailed                 no place for the onion service to forward to
    ├── PrivateNetworkFailed         a Tor network on this machine alone did not come up
    ├── InvalidEndpoint              (also a ValueError) text that names no place of a tor
    ├── InvalidOnionAddress          (also a ValueError) text or key that cannot be a v3 address
    └── DialError                    (also an OSError) this one connection could not be made
        ├── AddressRefused           our own rule; nothing was sent to tor
        ├── DialCut                  (also a TorLost) all traffic is stopped
        ├── DialTimeout              our deadline passed
        ├── SocksUnavailable         tor's SOCKS port does not answer
        ├── SocksProtocolViolation   it answers, but not as SOCKS 5 should
        ├── IsolationRefused         it did not confirm the isolation; nothing was asked of it
        └── one class for every SOCKS 5 reply (RFC 1928) and every extended reply of tor
            (tor's socks-extensions, "Extended error codes"); see the end of this file

No text holds a host name, an onion address or an isolation token: texts reach logs and bug reports.
"""

from errno import ENETDOWN
from typing import ClassVar


class TorError(Exception):
    """Base of every expected failure of Tor.

    Args:
        text: The sentence for the user, where more is known than the class's own ``text`` says.
    """

    text: ClassVar[str] = "Tor failed; run `torrent-onion check` to see where."

    def __init__(self, text: str | None = None) -> None:
        super().__init__(self.text if text is None else text)


class TorNotFound(TorError):
    """There is no tor program on this machine, and none that runs."""

    text = (
        "Tor was not found; install it (Debian and Ubuntu: `apt install tor`), start Tor Browser, "
        "or name the program with --tor-binary."
    )


class TorTooOld(TorError):
    """The tor that was found lacks what is needed."""

    text = "This tor is too old; install version 0.4.7 or newer, or name another with --tor-binary."


class TorLaunchFailed(TorError):
    """Our own tor did not start, or ended before it was ready."""

    text = "Tor could not be started; run the command again with --verbose to see tor's own words."


class BootstrapStalled(TorError):
    """Tor runs, but makes no progress towards the network."""

    text = (
        "Tor cannot reach its network; check the computer's clock and its connection, "
        "and where Tor is blocked add bridges with --torrc FILE."
    )


class ControlFailed(TorError):
    """The control port cannot be reached, or does not behave like one."""

    text = (
        "Tor's control port does not answer; check the --tor option, "
        "or let the program start a tor of its own with --tor launch."
    )


class ControlUnreachable(ControlFailed):
    """Nothing answers where the control port should be."""

    text = "Nothing answers at Tor's control port; start that Tor, or correct --tor."


class AuthenticationFailed(ControlFailed):
    """The control port wants a password or a cookie that we do not have."""

    text = (
        "Tor's control port did not let us in; set TOR_CONTROL_PASSWD, run as a user who may read "
        "its cookie (on Debian the group debian-tor), or use --tor launch."
    )


class CommandFiltered(ControlFailed):
    """A filter in front of the control port (Tails, Whonix) forbids the command."""

    text = (
        "A filter in front of Tor's control port forbids what is needed; allow this program in the "
        "filter's settings (onion-grater on Tails and Whonix), or use --tor launch elsewhere."
    )


class CommandRejected(ControlFailed):
    """Tor answered a command with an error.

    Args:
        code: Its three-digit status (control-spec, "Replies"), for example 512 or 550.
        reason: Tor's own words, in one line.
    """

    text = "Tor refused a command; run `torrent-onion check`."

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"Tor refused a command ({code} {reason}); run `torrent-onion check`.")
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type["CommandRejected"], tuple[int, str]]:
        return type(self), (self.code, self.reason)


class TorLost(TorError):
    """Tor was there and is gone; all traffic has stopped."""

    text = "Tor is gone and all traffic has stopped; start it again to go on, no data is lost."


class PublishFailed(TorError):
    """The onion service could not be published."""

    text = (
        "The onion service could not be published; check that Tor is connected "
        "(`torrent-onion check`) and try again."
    )


class ListenFailed(TorError):
    """There is no place that the onion service could forward to."""

    text = (
        "No listening socket could be made for the onion service; "
        "check that the temporary folder (TMPDIR) can be written and has a short path."
    )


class InvalidEndpoint(TorError, ValueError):
    """Text that names no place where a tor could be: a wrong option or environment variable."""

    text = "This names no place of a tor; write tcp:HOST:PORT or unix:/PATH."


class PrivateNetworkFailed(TorError):
    """The Tor network on this machine alone, for tests and the demo, did not come up."""

    text = "The private Tor network did not start; try again with an empty folder."


class InvalidOnionAddress(TorError, ValueError):
    """Text, or a public key, that cannot be the address of a v3 onion service."""

    text = "This is no onion address; it has 56 letters and digits before `.onion`."


class DialError(TorError, OSError):
    """One connection could not be made. An ``OSError``, so that callers need not know of Tor."""

    text = "The connection through Tor could not be made; try again later."


class AddressRefused(DialError):
    """An address that must never be dialled: our own rule, and nothing was sent to tor."""

    text = "This address is never dialled, since it does not lie in the public network."


class DialCut(DialError, TorLost):
    """All traffic is stopped, because Tor is gone or the program ends."""

    text = "Tor is gone, so nothing is dialled; the program goes on when Tor is back."
    errno = ENETDOWN  # whoever is handed ``dial`` and knows no Tor reads that


class DialTimeout(DialError):
    """Our own deadline passed before tor had an answer."""

    text = "Tor found no way to the other side in time; it may be offline, try again later."


class SocksUnavailable(DialError):
    """Nothing answers at tor's SOCKS port, or it closed the connection without a word."""

    text = "Tor's SOCKS port does not answer; check that Tor still runs."
    errno = ENETDOWN


class SocksProtocolViolation(DialError):
    """What answers at the SOCKS port does not speak SOCKS 5 as tor does."""

    text = "What answers at Tor's SOCKS port is not Tor; check TOR_SOCKS_PORT and --tor."


class IsolationRefused(DialError):
    """The SOCKS port did not confirm user and password, so circuits could be shared."""

    text = (
        "Tor's SOCKS port does not keep circuits apart, so nothing was sent; "
        "use a tor without `NoIsolateSOCKSAuth`, or --tor launch."
    )


# RFC 1928, "Replies". What tor means by each: stream_end_reason_to_socks5_response in its source.


class GeneralFailure(DialError):
    """Reply 01: tor gives no closer reason."""

    text = "Tor could not make the connection and gave no reason; try again later."


class NotAllowed(DialError):
    """Reply 02: an exit policy, or tor's own rules (``OnionTrafficOnly``, internal addresses)."""

    text = "Tor's rules, or those of every exit, forbid this connection; nothing can be done here."


class NetworkUnreachable(DialError):
    """Reply 03: the exit has no route to that network."""

    text = "The exit of Tor cannot reach that network; another exit may, so try again later."


class HostUnreachable(DialError):
    """Reply 04: the name does not resolve, or there is no route to the host."""

    text = "The other side has no such name, or is out of reach; check it and try again later."


class ConnectionRefusedByHost(DialError):
    """Reply 05: the other side refused."""

    text = "The other side is there but accepts no connection; try again later."


class TtlExpired(DialError):
    """Reply 06: tor's own time for the connection ran out."""

    text = "Tor gave up after its own time limit; the other side may be offline, try again later."


class CommandNotSupported(DialError):
    """Reply 07: tor cannot do what was asked; we only ever ask for CONNECT."""

    text = "Tor's SOCKS port makes no connections; check TOR_SOCKS_PORT and --tor."


class AddressTypeNotSupported(DialError):
    """Reply 08: tor does not take this kind of address; we only ever send names."""

    text = "Tor does not take this kind of address; check the address."


# Tor's extended replies, "ExtendedErrors" (socks-extensions): all are about onion services.


class OnionDescriptorNotFound(DialError):
    """Reply F0: the directories know no such onion service."""

    text = "No such onion service is known; it may be offline, so check the address and try again."


class OnionDescriptorInvalid(DialError):
    """Reply F1: its descriptor is broken, or newer than this tor."""

    text = "The onion service's descriptor cannot be read; a newer tor may be able to."


class OnionIntroductionFailed(DialError):
    """Reply F2: every introduction point failed, usually because the service is gone."""

    text = "The onion service was known but does not answer; it may be offline, try again later."


class OnionRendezvousFailed(DialError):
    """Reply F3: both sides could not meet."""

    text = "The meeting with the onion service failed on the way; try again."


class OnionAuthMissing(DialError):
    """Reply F4: the service is only for those who have its key."""

    text = "This onion service is private; ask its owner for a key."


class OnionAuthWrong(DialError):
    """Reply F5: the key for it is not, or no longer, the right one."""

    text = "The key for this private onion service is wrong; ask its owner for a new one."


class OnionAddressRejected(DialError):
    """Reply F6: tor finds the onion address itself invalid."""

    text = "This onion address is invalid; check that it was copied whole."


class OnionIntroductionTimedOut(DialError):
    """Reply F7: the introduction took too long."""

    text = "The onion service took too long to answer; try again later."


class UnknownReply(DialError):
    """A reply that neither RFC 1928 nor tor's specification knows."""

    text = "Tor answered with an unknown error; a newer version of this program may know it."

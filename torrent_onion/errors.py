"""Every way in which the BitTorrent side fails. ``str(error)`` is a sentence written for the user.

::

    TorrentOnionError
    ├── RemoteError            somebody else broke a rule: drop it, remember it, go on
    │   ├── BencodeError       bytes that are not the bencoding they should be (BEP 3)
    │   ├── MetainfoError      a .torrent file or info dictionary that must be refused
    │   ├── MagnetError        a link that is no magnet link, or names no torrent
    │   ├── AddressError       a peer address that cannot be one
    │   ├── ProtocolError      a peer that broke the peer wire protocol
    │   └── TrackerError       a tracker that failed, refused or answered nonsense
    ├── LocalError             this machine, or what the user chose: say it and its way out
    │   ├── StorageError       the disk: full, read-only, gone, changed under us
    │   └── PathError          a path that cannot be shared or must not be written
    └── NoDataError            nobody could give us the data in the time allowed
"""


class TorrentOnionError(Exception):
    """Base of every expected failure; its text is a sentence and, if there is one, the way out."""


class RemoteError(TorrentOnionError):
    """Somebody else broke a rule."""


class BencodeError(RemoteError):
    """Bytes that are not the bencoding they should be (BEP 3)."""


class MetainfoError(RemoteError):
    """A .torrent file or an info dictionary that must be refused."""


class MagnetError(RemoteError):
    """A link that is no magnet link, or names no torrent."""


class AddressError(RemoteError):
    """A peer address that cannot be one."""


class ProtocolError(RemoteError):
    """A peer that broke the peer wire protocol."""


class TrackerError(RemoteError):
    """A tracker that failed, refused or answered nonsense."""


class LocalError(TorrentOnionError):
    """This machine, or what the user chose, stands in the way."""


class StorageError(LocalError):
    """The disk: full, read-only, gone, or changed under us."""


class PathError(LocalError):
    """A path that cannot be shared, or must not be written."""


class NoDataError(TorrentOnionError):
    """Nobody could give us the data in the time allowed."""

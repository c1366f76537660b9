"""The log on stderr, for ``--verbose`` only.

Only this project's own loggers are heard. Others stay silent whatever the level: a library that
logs what it sends to tor would log keys. And every line passes ``redaction.py``.
"""

import logging
import sys

_PACKAGES = ("torrent_onion", "tor_control")
_LEVELS = (logging.CRITICAL, logging.INFO, logging.DEBUG)
"""By how often ``--verbose`` was given."""


def start_log(verbose: int) -> None:
    """Send our log to stderr from now on; without ``--verbose`` nothing is written."""
    handler: logging.Handler = logging.NullHandler()
    if verbose:
        from torrent_onion.cli.redaction import RedactingFormatter

        handler = logging.StreamHandler(sys.stderr)
        layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(RedactingFormatter(layout))
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(_LEVELS[min(verbose, len(_LEVELS) - 1)])
    # Without a handler of its own Python would print other libraries' warnings to stderr.
    logging.getLogger().handlers = [logging.NullHandler()]

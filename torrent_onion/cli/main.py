"""``torrent-onion``: where the program begins.

Nothing has been started yet, so until a command takes the signals over an interruption simply ends
the process; Python's own way would be a traceback. That has to come first, hence the late import.
"""

import os
import signal
from typing import NoReturn

_INTERRUPTED = 130
"""As ``ExitCode.INTERRUPTED``, which is not imported yet."""


def main() -> NoReturn:
    """Run the command line and leave with the command's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: os._exit(_INTERRUPTED))
    from torrent_onion.cli.program import program

    program.main()

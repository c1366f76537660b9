"""Several torrents in one command: each is reported by its name, and fails alone."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from torrent_onion.cli import text
from torrent_onion.cli.exit_codes import ExitCode, OutputClosed, SeveralFailed, explain, leaves
from torrent_onion.cli.ui import Part, Ui
from torrent_onion.engine.statistics import TorrentStatistics

Work = Callable[[Ui], Awaitable[None]]
"""What is done for one of them."""


class PartUi(Ui):
    """Reports about one of several torrents.

    Args:
        whole: Where to.
        part: Which one it is.
    """

    is_part = True

    def __init__(self, whole: Ui, part: Part) -> None:
        self._whole = whole
        self._part = part
        self.interval = whole.interval

    def tor(self, phase: str, percent: int | None) -> None:
        """Tor is the same for all."""
        self._whole.tor(phase, percent)

    def scanning(self, folder: str, files: int, part: Part | None = None) -> None:
        """With its number; its name is the folder's."""
        del part
        self._whole.scanning(folder, files, self._part)

    def hashing(self, done: int, total: int, part: Part | None = None) -> None:
        """With its name."""
        del part
        self._whole.hashing(done, total, self._part)

    def progress(self, statistics: TorrentStatistics, part: Part | None = None) -> None:
        """With its name."""
        del part
        self._whole.progress(statistics, self._part)

    def tracking(self, fields: Mapping[str, object], words: str) -> None:
        """Nothing of the kind has parts."""
        self._whole.tracking(fields, words)

    def result(self, event: str, fields: Mapping[str, object], words: str) -> None:
        """For programs with its number."""
        self._whole.result(event, {**self._part.fields, **fields}, words)

    def note(self, words: str) -> None:
        """With its name."""
        self._whole.note(self._named(words))

    def warn(self, words: str) -> None:
        """With its name."""
        self._whole.warn(self._named(words))

    def error(self, code: ExitCode, message: str, part: Part | None = None) -> None:
        """With its name."""
        del part
        self._whole.error(code, message, self._part)

    def close(self) -> None:
        """Nothing to put away."""

    def _named(self, words: str) -> str:
        return f"{text.printable(self._part.name)}: {words}"


def parts_of(ui: Ui, names: Sequence[str]) -> list[Ui]:
    """Where each of several is reported; one alone is reported as the whole."""
    if len(names) == 1:
        return [ui]
    return [PartUi(ui, Part(index, name)) for index, name in enumerate(names)]


async def run_each(works: Sequence[Work], uis: Sequence[Ui]) -> None:
    """Do all of it at once; one that fails does not end the others.

    Args:
        works: What to do.
        uis: Where each reports, from :func:`parts_of`.

    Raises:
        SeveralFailed: Some failed, which is told already.
        Exception: Whatever the only one failed with.
    """
    if len(works) == 1:
        await works[0](uis[0])
        return
    failed = SeveralFailed(len(works))

    async def one(work: Work, ui: Ui) -> None:
        try:
            await work(ui)
        except Exception as error:
            failure = explain(error)
            if failure.is_bug or any(isinstance(leaf, OutputClosed) for leaf in leaves(error)):
                raise
            ui.error(failure.code, failure.message)
            failed.codes.append(failure.code)

    async with trio.open_nursery() as nursery:
        for work, ui in zip(works, uis, strict=True):
            nursery.start_soon(one, work, ui)
    if failed.codes:
        raise failed

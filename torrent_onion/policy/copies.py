"""How many people have become complete by what we gave them.

Whoever says so is believed (BEP 3 ``have``). Many leave in the moment in which they are complete,
and their last words are lost with the circuit: who leaves counts as well when it was sent as much
as all of the content. Several connections of one person count as one.
"""

from collections.abc import Hashable

Person = Hashable
"""The token that joins the connections of one downloader, or the key of its only one."""


class Copies:
    """Counts the people who were served and have all of it now.

    Attributes:
        number: So many so far.
    """

    def __init__(self) -> None:
        self.number = 0
        self._complete: set[Person] = set()  # of those who are connected
        self._sent: dict[Person, int] = {}  # by connections that ended before their siblings

    def completed(self, person: Person) -> None:
        """Somebody whom we served says that it has everything."""
        if person not in self._complete:
            self._complete.add(person)
            self.number += 1

    def left(self, person: Person, sent: int, *, enough: int, is_last: bool) -> None:
        """A connection to somebody has ended.

        Args:
            person: Who it was.
            sent: Payload bytes that went out on it.
            enough: Bytes of the whole content.
            is_last: No other connection to the same person is open.
        """
        total = self._sent.pop(person, 0) + sent
        if total >= enough:
            self.completed(person)
        elif not is_last:
            self._sent[person] = total
        if is_last:
            self._complete.discard(person)

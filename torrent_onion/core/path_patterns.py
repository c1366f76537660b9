"""Patterns by which users choose files: ``*.txt``, ``sub``, ``sub/*.txt``.

A pattern chooses a file if it fits the whole path below the torrent's folder, the path of a folder
that the file is in, or any one name on the way. ``*`` stands for anything, slashes too; ``?`` for
one character; ``[abc]`` for one of some. Large and small letters differ.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def fits(path: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether any of the patterns chooses a path.

    Args:
        path: Its components, as a torrent has them.
        patterns: None of them chooses nothing.
    """
    candidates = {*path, *("/".join(path[:depth]) for depth in range(1, len(path) + 1))}
    return any(
        fnmatchcase(candidate, pattern.rstrip("/"))
        for pattern in patterns
        for candidate in candidates
    )

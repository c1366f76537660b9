"""Fixtures for the tests of both packages."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.examples import register_profiles

register_profiles()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for Unix sockets, whose paths have little room: `tmp_path` can be too long."""
    with TemporaryDirectory() as folder:
        yield Path(folder)

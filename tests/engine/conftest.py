import pytest

from tests.engine.helpers import ContentMaker, MemoryNetwork, write_content


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def make_content() -> ContentMaker:
    return write_content

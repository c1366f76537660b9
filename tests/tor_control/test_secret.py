import copy
import pickle

import pytest

from tor_control.secret import Secret

VALUE = b"the quick brown fox"


def test_nothing_is_shown() -> None:
    secret = Secret(VALUE)
    for text in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s}",
        repr([secret]),
    ):
        assert "quick" not in text
    assert "Secret(...)" in repr([secret])


def test_reveal_gives_the_bytes() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_comparison_is_by_value_and_only_with_secrets() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(b"other")
    assert Secret(VALUE) != VALUE


def test_not_hashable_not_pickled_not_copied() -> None:
    with pytest.raises(TypeError):
        hash(Secret(VALUE))
    with pytest.raises(TypeError):
        pickle.dumps(Secret(VALUE))
    with pytest.raises(TypeError):
        copy.copy(Secret(VALUE))
    with pytest.raises(AttributeError):
        Secret(VALUE).__dict__  # noqa: B018  # there is no dictionary that a debugger would print

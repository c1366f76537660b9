import inspect
import pickle

import pytest

from tor_control import errors
from tor_control.errors import CommandRejected, DialCut, DialError, TorError, TorLost

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, TorError) and value is not CommandRejected
]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_a_text_of_its_own_for_the_user(cls: type[TorError]) -> None:
    assert "text" in vars(cls)
    assert str(cls()) == cls.text
    assert cls.text[0].isupper()
    assert cls.text.endswith(".")
    assert ". " not in cls.text  # one sentence
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_a_text_can_say_more_and_survives_pickling(cls: type[TorError]) -> None:
    error = cls("This is known better.")
    assert str(error) == "This is known better."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_no_text_is_used_twice() -> None:
    assert len({cls.text for cls in CLASSES}) == len(CLASSES)


def test_the_tree_in_the_docstring_names_the_classes() -> None:
    assert errors.__doc__ is not None
    for cls in CLASSES:
        if cls.__module__ == errors.__name__ and DialError not in cls.__mro__[1:]:
            assert cls.__name__ in errors.__doc__


def test_a_dial_error_is_an_os_error_and_the_rest_is_not() -> None:
    for cls in CLASSES:
        assert issubclass(cls, OSError) == issubclass(cls, DialError)
    assert issubclass(DialCut, TorLost)


def test_a_rejected_command_keeps_its_code() -> None:
    error = CommandRejected(550, "Onion address collision")
    assert (error.code, error.reason) == (550, "Onion address collision")
    assert "550 Onion address collision" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.reason, str(again)) == (error.code, error.reason, str(error))

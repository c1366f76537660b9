import errno

import pytest

from tor_control import errors as tor_errors
from torrent_onion import errors
from torrent_onion.cli.exit_codes import (
    ExitCode,
    Failure,
    Interrupted,
    OutputClosed,
    explain,
    leaves,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StorageError("full"), 1),
        (errors.PathError("no"), 1),
        (errors.MetainfoError("broken"), 1),
        (errors.MagnetError("broken"), 1),
        (errors.TrackerError("broken"), 1),
        (tor_errors.PrivateNetworkFailed("no"), 1),
        (tor_errors.TorNotFound(), 3),
        (tor_errors.BootstrapStalled(), 3),
        (tor_errors.TorLost(), 3),
        (tor_errors.PublishFailed(), 3),
        (tor_errors.OnionDescriptorNotFound(), 3),
        (errors.NoDataError("nobody"), 4),
    ],
)
def test_known_failures_speak_for_themselves(error: Exception, code: int) -> None:
    assert explain(error) == Failure(ExitCode(code), str(error))


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_an_interruption_needs_no_words(error: BaseException) -> None:
    assert explain(error) == Failure(ExitCode.INTERRUPTED, "")


def test_a_reader_that_is_gone_needs_no_words() -> None:
    assert explain(OutputClosed()) == Failure(ExitCode.FAILED, "")


def test_the_operating_system_is_quoted_with_the_path() -> None:
    failure = explain(PermissionError(errno.EACCES, "x", "/root/secret"))
    assert failure == Failure(ExitCode.FAILED, "/root/secret: Permission denied. Check the path.")
    failure = explain(OSError(errno.ENOSPC, "x"))
    assert failure.code is ExitCode.FAILED
    assert "No space left on device" in failure.message
    assert not failure.is_bug


def test_too_little_memory_is_no_bug() -> None:
    assert not explain(MemoryError()).is_bug


def test_anything_else_is_a_bug_and_says_how_to_get_the_details() -> None:
    failure = explain(KeyError("/home/somebody/private"))
    assert failure.is_bug
    assert failure.code is ExitCode.FAILED
    assert "bug" in failure.message
    assert "--verbose" in failure.message
    assert "somebody" not in failure.message


def test_in_a_group_the_known_cause_counts() -> None:
    group = ExceptionGroup(
        "", [RuntimeError("follows"), ExceptionGroup("", [tor_errors.TorLost("gone.")])]
    )
    assert explain(group) == Failure(ExitCode.NO_TOR, "gone.")
    assert explain(ExceptionGroup("", [RuntimeError()])).is_bug
    both = BaseExceptionGroup("", [errors.NoDataError("none"), KeyboardInterrupt()])
    assert explain(both).code is ExitCode.INTERRUPTED


def test_leaves_of_one_exception_is_itself() -> None:
    error = ValueError()
    assert list(leaves(error)) == [error]

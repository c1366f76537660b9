"""Nothing that names somebody gets through the log, whoever logs it."""

import ast
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.engine.helpers import MemoryNetwork, MemoryPeerStream, write_content
from tor_control.errors import OnionAuthMissing
from tor_control.secret import Secret
from torrent_onion.cli.redaction import MAX_NUMBERED, RedactingFormatter, Redactor
from torrent_onion.core.identity import PeerAddress
from torrent_onion.core.metainfo import TorrentFormat
from torrent_onion.engine.creation import create_torrent
from torrent_onion.engine.session import open_session
from torrent_onion.engine.torrent_spec import TorrentSpec
from torrent_onion.errors import MetainfoError, PathError, TrackerError

ROOT = Path(__file__).parents[2]
ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
SECRET_ONION = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion"
LAYOUT = "%(levelname)s %(name)s: %(message)s"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"{ONION}:80 is down", "[onion 1] is down"),
        (f"www.{ONION.upper()}", "[onion 1]"),
        ("from 192.0.2.7 to 192.0.2.7:80", "from [address 1] to [address 2]"),
        ("from 192.0.2.7.", "from [address 1]."),
        ("[2001:db8::1]:443 said no", "[address 1] said no"),
        ("::1 and ::ffff:192.0.2.7", "[address 2] and [address 3][address 1]"),
        ("info-hash " + "ab" * 20, "info-hash [secret 1]"),
        ("V2 " + "0F" * 32, "V2 [secret 1]"),
        ("magnet:?xt=urn:btih:x&dn=name here", "[link 1] here"),
        ("see udp://t.example:1/?a=b now", "see [url 1] now"),
        ("in /home/someone/secret.txt", "in [path 1]"),
        (r"in C:\Users\someone", "in [path 1]"),
        ("in ~/private", "in [path 1]"),
        ("not for 't.example'", "not for [text 1]"),
        ('File "/home/u/x.py", line 3', "File [text 1], line 3"),
        ("the peer's words aren't names", "the peer's words aren't names"),
        ("tor 0.4.9.11 over TCP/IP, 3.5 s", "tor 0.4.9.11 over TCP/IP, 3.5 s"),
    ],
)
def test_texts(text: str, masked: str) -> None:
    assert Redactor().text(text) == masked


def test_the_same_value_keeps_its_number() -> None:
    redactor = Redactor()
    assert redactor.text(f"{ONION} and {SECRET_ONION}") == "[onion 1] and [onion 2]"
    assert redactor.text(f"{SECRET_ONION} again") == "[onion 2] again"


def test_numbers_come_to_an_end() -> None:
    redactor = Redactor()
    for number in range(MAX_NUMBERED):
        redactor.mask("path", str(number))
    assert redactor.mask("path", "one more") == "[path]"
    assert redactor.mask("path", "7") == "[path 8]"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (5, 5),
        (None, None),
        (TorrentFormat.V1, "V1"),
        (Path("relative name"), "[path 1]"),
        (PeerAddress(ONION, 80), "[PeerAddress 1]"),
        (b"bytes", "[bytes 1]"),
        (("a name",), "[tuple 1]"),
        (Secret(b"key"), "[Secret 1]"),
        (OnionAuthMissing(), f"OnionAuthMissing: {OnionAuthMissing()}"),
        (TrackerError(f"not from {ONION}"), "TrackerError: not from [onion 1]"),
        (MetainfoError("There is a file called plans."), "MetainfoError"),
        (PathError("A name with blanks exists."), "PathError"),
        (FileNotFoundError(2, "No such file", "plans"), "FileNotFoundError: No such file"),
        (KeyError("a name"), "KeyError"),
        (UnicodeDecodeError("utf-8", b"name", 0, 1, "x"), "UnicodeDecodeError"),
        (TypeError("int is needed"), "TypeError: int is needed"),
    ],
)
def test_values(value: object, masked: object) -> None:
    assert Redactor().value(value) == masked


class Log:
    """What a handler writes, masked and as it would be without that."""

    def __init__(self) -> None:
        self.masked = io.StringIO()
        self.open = io.StringIO()
        self.handlers = [logging.StreamHandler(self.masked), logging.StreamHandler(self.open)]
        self.handlers[0].setFormatter(RedactingFormatter(LAYOUT))
        self.handlers[1].setFormatter(logging.Formatter(LAYOUT))


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    loggers = [logging.getLogger(name) for name in ("torrent_onion", "tor_control")]
    for logger in loggers:
        before = logger.level
        logger.setLevel(logging.DEBUG)
        for handler in log.handlers:
            logger.addHandler(handler)
    yield log
    for logger in loggers:
        logger.setLevel(before)
        for handler in log.handlers:
            logger.removeHandler(handler)


def test_a_traceback_has_code_and_no_values(log: Log) -> None:
    def fail() -> None:
        try:
            raise FileNotFoundError(2, "No such file", "/home/someone/plans")
        except FileNotFoundError as error:
            raise ExceptionGroup("plans", [KeyError("plans"), PathError("plans")]) from error

    logger = logging.getLogger("torrent_onion.x")
    try:
        fail()
    except ExceptionGroup:
        logger.exception("a bug at %s", Path("plans"))
    logger.debug("here", stack_info=True)
    said = log.masked.getvalue()
    assert "plans" in log.open.getvalue()
    assert "plans" not in said
    assert str(ROOT) in log.open.getvalue()
    assert str(ROOT) not in said
    assert "FileNotFoundError: No such file" in said
    assert "which led to" in said
    assert "  | KeyError" in said
    assert "test_redaction.py:" in said
    assert "Stack, without values:" in said


def test_one_record_is_one_line(log: Log) -> None:
    logging.getLogger("tor_control.x").warning("says %s", "a\nCRITICAL forged: b\r")
    assert log.masked.getvalue() == "WARNING tor_control.x: says a CRITICAL forged: b \n"


def test_arguments_that_do_not_fit_are_left_out() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "%d of it", ("a name",), None)
    said = RedactingFormatter(LAYOUT).format(record)
    assert said == "ERROR x: %d of it [arguments that do not fit]"


async def test_a_transfer_names_nothing(log: Log, tmp_path: Path) -> None:
    """With a dead peer, one that lies, and one that is good; every logger at debug."""
    content = write_content(tmp_path)
    metainfo = (await create_torrent(content, torrent_format=TorrentFormat.HYBRID)).metainfo
    network = MemoryNetwork()
    good, dead = PeerAddress(SECRET_ONION, 17171), PeerAddress("192.0.2.99", 6881)
    liar = PeerAddress(ONION, 80)
    _, listener = network.listen(1)
    network.listeners[good] = network.listeners.pop(next(iter(network.listeners)))
    _, other = network.listen(2)
    network.listeners[liar] = network.listeners.pop(PeerAddress("198.51.100.2", 6881))

    left = trio.Event()

    async def lie() -> None:
        stream = await other.accept()
        assert isinstance(stream, MemoryPeerStream)
        await stream.send_buffers([f"HTTP/1.1 400 192.0.2.5 {ONION}".encode()])
        while await stream.receive_into(memoryview(bytearray(100))):
            pass
        left.set()

    async with trio.open_nursery() as nursery, open_session(dial=network.dial) as session:
        nursery.start_soon(lie)
        shared = TorrentSpec(metainfo, content.parent, shared_path=content)
        await session.add(shared, listener=listener).wait_complete()
        wanted = TorrentSpec(metainfo, tmp_path / "get", peers=(dead, liar, good))
        with trio.fail_after(60):
            await session.add(wanted).wait_complete()
            await left.wait()
    said = log.masked.getvalue()
    assert "cannot reach [PeerAddress" in said
    assert "a peer left" in said
    assert "192.0.2.99" in log.open.getvalue()  # so the test would see it
    hashes = metainfo.info.info_hashes
    assert hashes.v1
    assert hashes.v2
    secrets = {isolation for _, isolation in network.dialled}
    names = {part for file in metainfo.info.files for part in file.path if len(part) > 3}
    for word in (
        *(ONION, SECRET_ONION, ONION[:16], "192.0.2", "198.51.100"),
        *(hashes.v1.hex(), hashes.v2.hex(), str(tmp_path), metainfo.info.name),
        *(secrets | names),
    ):
        assert word not in said


def test_every_line_that_is_logged_is_known() -> None:
    """A new one has to be looked at: what does it name, and at which level?"""
    found = sorted(
        f"{node.func.attr} {node.args[0].value!s}"
        for package in ("torrent_onion", "tor_control")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("log", "_log", "logger")
        and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical", "log")
        and isinstance(node.args[0], ast.Constant)
    )
    golden = (ROOT / "tests" / "golden" / "log_lines.txt").read_text().splitlines()
    assert set(found) <= set(golden)
    # Nothing that takes an argument is above debug level, numbers excepted.
    assert all(line.startswith("debug ") for line in golden if "%" in line.replace("%d", ""))

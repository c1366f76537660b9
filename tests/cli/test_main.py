import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tor_control.errors import TorNotFound
from torrent_onion.cli.commands import COMMANDS
from torrent_onion.cli.content_options import ContentOptions, content_options
from torrent_onion.cli.exit_codes import Interrupted, OutputClosed
from torrent_onion.cli.options import (
    OutputOptions,
    TorOptions,
    output_options,
    timeout_option,
    tor_options,
)
from torrent_onion.cli.program import SUMMARIES, Program, program
from torrent_onion.errors import NoDataError, StorageError

SLOW = {"trio", "stem", "rich", "nacl", "segno", "h11", "bencodepy", "asyncio", "socket", "ssl"}
ONION = "pg2vmlup4zkpsqdywejorkmlu6ib7bj242k35v7a4oiqxlieszspudyd.onion"
OURS = {"torrent_onion", "tor_control"}
HELP = {"torrent_onion", "torrent_onion.cli", "torrent_onion.cli.main", "torrent_onion.cli.program"}
"""What of ours shows the help; each module costs a millisecond or more of the 150 it may take."""
COMMAND_HELP = HELP | {
    *(f"torrent_onion.cli.{name}" for name in ("commands", "options", "content_options")),
    *(f"torrent_onion.cli.{name}" for name in ("fetch_options", "limit_options", "log")),
}
NOT_FOR_HELP = SLOW | {"logging", "dataclasses", "urllib.parse", "ipaddress", "importlib.metadata"}
"""Nor does click load any of these."""


def invoke(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(Program("torrent-onion", commands=[command]), arguments)


def command_that(does: Callable[[], None]) -> click.Command:
    @click.command("act")
    @output_options
    def act(output: OutputOptions) -> None:
        del output
        does()

    return act


def raiser(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return command_that(fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("The disk is full. Free some."), 1),
        (TorNotFound("There is no tor. Install it."), 3),
        (NoDataError("Nobody is there. Wait."), 4),
        (ExceptionGroup("", [NoDataError("Nobody is there. Wait.")]), 4),
    ],
)
def test_a_failure_is_a_sentence_on_stderr_and_a_code(error: Exception, code: int) -> None:
    leaf = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    result = invoke(raiser(error), "act")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"Error: {leaf}\n"
    result = invoke(raiser(error), "act", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == {"event": "error", "code": code, "message": str(leaf)}
    assert result.stderr == ""


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_an_interruption_is_silent(error: BaseException) -> None:
    result = invoke(raiser(error), "act", "--json")
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "")


def test_a_bug_shows_no_traceback_until_it_is_asked_for() -> None:
    result = invoke(raiser(ZeroDivisionError("x")), "act")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "This is a bug in torrent-onion (ZeroDivisionError)." in result.stderr
    assert "--verbose" in result.stderr
    result = invoke(raiser(ZeroDivisionError("x")), "act", "--verbose")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_an_exit_chosen_by_the_command_is_kept() -> None:
    result = invoke(raiser(click.exceptions.Exit(3)), "act")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "")


def test_the_version_is_told_to_its_user() -> None:
    result = CliRunner().invoke(program, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("torrent-onion ")


def test_success_is_0() -> None:
    assert invoke(command_that(lambda: None), "act").exit_code == 0


def test_a_closed_pipe_ends_in_silence() -> None:
    code = (
        "from torrent_onion.cli.main import main;"
        "import sys; sys.argv[1:] = ['show', 'magnet:?xt=urn:btih:' + 'a' * 40, '--json'];"
        "import torrent_onion.cli.showing as s\n"
        "def show(source, ui):\n"
        "    while True: ui.result('x', {}, 'y' * 9999)\n"
        "s.show = show\n"
        "main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(10) == 1


def test_the_reader_that_is_gone_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[bool] = []
    monkeypatch.setattr("torrent_onion.cli.program._forget_output", lambda: forgotten.append(True))
    result = invoke(raiser(OutputClosed()), "act")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")
    assert forgotten


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["no-such-command"],
            ["seed"],
            ["seed", "/no/such/path/anywhere"],
            ["get"],
            ["get", "x", "--timeout", "0"],
            ["get", "x", "--timeout", "soon"],
            ["get", "x", "--timeout", "inf"],
            ["get", "x", "--tor", "localhost:9051"],
            ["get", "x", "--tor", "tcp:127.0.0.1"],
            ["get", "x", "--tor", "unix:"],
            ["get", "x", "--torrc", "/no/such/file"],
            ["get", "x", "--colour"],
            ["create", "/"],
            ["create", "/", "--output", "x", "--piece-size", "1000"],
            ["create", "/", "--output", "x", "--piece-size", "20000"],
            ["create", "/", "--output", "x", "--piece-size", "67108864"],
            ["create", "/", "--output", "x", "--format", "v3"],
            ["create", "/", "--output", "x", "--tracker", "udp://tracker.example:1"],
            ["create", "/", "--output", "x", "--tracker", "http://[x"],
            ["create", "/", "--output", "x", "--tracker", "http://a/,"],
            ["seed", "/", "--web-seed", "ftp://a.example/"],
            ["seed", "/", "--tracker", f"http://{ONION.replace('pg2', 'pg3')}/announce"],
            ["seed", "/", "--tracker", f"http://{ONION[3:]}/announce"],
            ["seed", "/", "/"],
            ["verify", "x.torrent"],
            ["private-network", "x", "--relays", "0"],
        ],
    )
    def test_what_is_not_understood_is_2_with_one_sentence(self, arguments: list[str]) -> None:
        result = CliRunner().invoke(program, arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("Error: ")
        assert "--help`." in result.stderr
        assert len(result.stderr.splitlines()) == 1
        result = CliRunner().invoke(program, [*arguments, "--json"])
        event = json.loads(result.stdout)
        assert (event["event"], event["code"], result.exit_code) == ("error", 2, 2)

    def test_without_a_command_the_help_is_shown(self) -> None:
        result = CliRunner().invoke(program, [])
        assert result.exit_code == 2
        assert "private-network" in result.stderr

    def test_the_help_says_what_the_commands_say_of_themselves(self) -> None:
        own = [(str(command.name), command.get_short_help_str(limit=200)) for command in COMMANDS]
        assert list(SUMMARIES.items()) == own
        assert program.list_commands(click.Context(program)) == [
            str(command.name) for command in COMMANDS
        ]

    def test_a_slip_of_the_finger_is_answered_with_the_right_name(self) -> None:
        result = CliRunner().invoke(program, ["sede"])
        assert result.exit_code == 2
        assert "seed" in result.stderr

    def test_help_names_every_command_in_order(self) -> None:
        result = CliRunner().invoke(program, ["--help"])
        assert result.exit_code == 0
        names = ["seed", "get", "create", "show", "verify", "check", "private-network", "demo"]
        places = [result.stdout.index(f"\n  {name} ") for name in names]
        assert places == sorted(places)
        assert "..." not in result.stdout.split("Commands:")[1]

    @pytest.mark.parametrize("name", [command.name for command in COMMANDS])
    def test_every_command_has_help_and_the_output_options(self, name: str) -> None:
        result = CliRunner().invoke(program, [name, "--help"])
        assert result.exit_code == 0
        for option in ("--json", "--quiet", "--verbose"):
            assert option in result.stdout

    @pytest.mark.parametrize("name", ["seed", "get", "check"])
    def test_every_command_that_talks_to_tor_has_its_options(self, name: str) -> None:
        result = CliRunner().invoke(program, [name, "--help"])
        for option in (
            *("--tor ", "--tor-binary", "--torrc", "--state"),
            *("--allow-private-addresses", "--onion-only"),
        ):
            assert option in result.stdout


class TestOptions:
    def test_all_of_them_arrive(self, tmp_path: Path) -> None:
        seen: list[object] = []

        @click.command("act")
        @timeout_option
        @content_options
        @tor_options
        def act(**options: object) -> None:
            seen.append(options)

        torrc = tmp_path / "torrc"
        torrc.touch()
        result = invoke(
            act,
            *("act", "--tor", "unix:/run/tor/control", "--tor-binary", "/opt/tor", "--torrc"),
            *(str(torrc), "--state", str(tmp_path), "--allow-private-addresses", "--onion-only"),
            *("--json", "-q"),
            *("-vv", "--timeout", "1.5", "--piece-size", "32768", "--tracker", f"http://{ONION}/a"),
            *("--tracker", f"https://b.example/announce,http://x.{ONION}/a", "--exclude", "*.o"),
            *(
                "--web-seed",
                f"http://{ONION}/f",
                "--private",
                "--comment",
                "Hello",
                "--format",
                "v1",
            ),
        )
        assert result.exit_code == 0, result.output
        assert seen == [
            {
                "timeout": 1.5,
                "content": ContentOptions(
                    piece_size=32768,
                    trackers=(
                        (f"http://{ONION}/a",),
                        ("https://b.example/announce", f"http://x.{ONION}/a"),
                    ),
                    web_seeds=(f"http://{ONION}/f",),
                    private=True,
                    comment="Hello",
                    format_name="v1",
                    exclude=("*.o",),
                ),
                "tor": TorOptions("unix:/run/tor/control", "/opt/tor", torrc, tmp_path, True, True),
                "output": OutputOptions(json=True, quiet=True, verbose=2),
            }
        ]

    @pytest.mark.parametrize("place", ["auto", "launch", "tcp:127.0.0.1:9051", "tcp:[::1]:9051"])
    def test_places_of_tor(self, place: str) -> None:
        seen: list[str] = []

        @click.command("act")
        @tor_options
        def act(tor: TorOptions, output: OutputOptions) -> None:
            del output
            seen.append(tor.where)

        assert invoke(act, "act", "--tor", place).exit_code == 0
        assert seen == [place]


class TestLog:
    @pytest.mark.parametrize(
        ("option", "heard"),
        [
            ((), []),
            (("-v",), ["info"]),
            (("-vv",), ["info", "debug"]),
            (("-vvvv",), ["info", "debug"]),
        ],
    )
    def test_only_our_own_loggers_are_heard(
        self, option: tuple[str, ...], heard: list[str]
    ) -> None:
        def speak() -> None:
            logging.getLogger("torrent_onion.engine.x").info("our info")
            logging.getLogger("tor_control.x").debug("our debug")
            logging.getLogger("stem").critical("ADD_ONION ED25519-V3:secret")

        result = invoke(command_that(speak), "act", *option)
        assert [line.split()[-1] for line in result.stderr.splitlines()] == heard


class TestWhatIsLoaded:
    """How fast something is shown is for the benchmark; this is why it is fast."""

    @staticmethod
    def loaded(*arguments: str) -> set[str]:
        code = (
            "import atexit, sys;"
            "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
            "from torrent_onion.cli.main import main; main()"
        )
        before = subprocess.run(
            [sys.executable, "-c", "import sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        after = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert after.stdout
        return set(after.stderr.split()) - set(before.stdout.split())

    def test_help_loads_no_command(self) -> None:
        loaded = self.loaded("--help")
        assert not loaded & NOT_FOR_HELP
        assert {name for name in loaded if name.partition(".")[0] in OURS} == HELP

    def test_the_version_loads_no_command(self) -> None:
        loaded = self.loaded("--version")
        assert not loaded & SLOW - {"socket"}
        assert {name for name in loaded if name.partition(".")[0] in OURS} == HELP

    @pytest.mark.parametrize("name", [command.name for command in COMMANDS])
    def test_help_for_a_command_loads_no_code_that_runs_it(self, name: str) -> None:
        loaded = self.loaded(name, "--help")
        assert not loaded & SLOW
        assert {name for name in loaded if name.partition(".")[0] in OURS} == COMMAND_HELP

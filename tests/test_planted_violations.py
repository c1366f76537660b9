"""The rules that keep the program inside Tor are only as good as the tools that hold them.

Each test breaks one rule on purpose, in a file that is not there otherwise, and sees that the tool
which `./run lint` uses, with the project's own settings, complains.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent

ENGINE = "torrent_onion/engine/planted.py"
CORE = "torrent_onion/core/planted.py"


def run(*command: str, stdin: str = "", folder: Path = ROOT) -> str:
    """Run a tool that must complain.

    Returns:
        What it says.
    """
    result = subprocess.run(
        [TOOLS / command[0], *command[1:]],
        input=stdin,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        ("import socket\n\nHERE = socket.gethostname()\n", "TID251"),
        ("from socket import socket\n\nHERE = socket()\n", "TID251"),
        ("import trio\n\nLEAK = trio.open_tcp_stream\n", "TID251"),
        ("import trio\n\nLEAK = trio.open_ssl_over_tcp_stream\n", "TID251"),
        ("import trio\n\nLEAK = trio.open_tcp_listeners\n", "TID251"),
        ("import trio\n\nLEAK = trio.socket.socket\n", "TID251"),
        ("from trio.socket import socket\n\nLEAK = socket\n", "TID251"),
        ("import urllib.request\n\nLEAK = urllib.request.urlopen\n", "TID251"),
        ("import http.client\n\nLEAK = http.client.HTTPConnection\n", "TID251"),
    ],
)
def test_a_way_around_tor_is_a_lint_error(planted: str, code: str) -> None:
    said = run(
        "ruff", "check", "--output-format=concise", "--stdin-filename", ENGINE, "-",
        stdin=f'"""Planted."""\n\n{planted}',
    )  # fmt: skip
    assert code in said


@pytest.mark.parametrize("file", ["tor_control/dialer.py", "tor_control/listener.py"])
def test_only_two_files_make_sockets(file: str) -> None:
    planted = '"""Planted."""\n\nimport socket\n\nHERE = socket.gethostname()\n'
    result = subprocess.run(
        [TOOLS / "ruff", "check", "--stdin-filename", file, "-"],
        input=planted,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("swallowed", ["trio.Cancelled", "BaseException"])
def test_a_swallowed_cancellation_is_seen(swallowed: str) -> None:
    planted = f"""\
import trio


async def wait() -> None:
    try:
        await trio.sleep(1)
    except {swallowed}:
        pass
"""
    assert "ASYNC103" in run("flake8", "-", stdin=planted)


def test_types_are_strict(tmp_path: Path) -> None:
    planted = {
        "no-untyped-def": "def double(number):\n    return number * 2\n",
        "return-value": "def halve(number: int) -> str:\n    return number // 2\n",
        "type-arg": "def first(numbers: list) -> object:\n    return numbers[0]\n",
    }
    file = tmp_path / "planted.py"
    file.write_text("\n\n".join(planted.values()))
    said = run("mypy", "--cache-dir", str(tmp_path), str(file))
    for code in planted:
        assert f"[{code}]" in said, said


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A copy of what import-linter looks at."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("torrent_onion", "tor_control"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_the_layers_hold(packages: Path) -> None:
    planted = {
        ENGINE: "import tor_control.dialer",
        "torrent_onion/protocol/planted.py": "import torrent_onion.policy.planted",
        "torrent_onion/policy/planted.py": "import random",
        CORE: "import trio",
        "tor_control/planted.py": "import torrent_onion.errors",
    }
    for file, statement in planted.items():
        (packages / file).write_text(f'"""Planted."""\n\n{statement}\n')
    said = run("lint-imports", "--no-cache", folder=packages)
    for file, statement in planted.items():
        importer = file.removesuffix(".py").replace("/", ".")
        imported = statement.removeprefix("import ")
        assert f"{importer} -> {imported}" in said, said

"""Python in a process of its own, for what cannot be undone: the guard."""

import json
import subprocess
import sys
from typing import Any

from tests.mutant import CHANGE, ROOT

PATIENCE = 60.0
"""Seconds; each process takes a tenth of one."""

PRELUDE = """
import errno, json, os, socket, subprocess, sys, threading
sys.path.insert(0, {root!r})

if {change!r} in os.environ:
    from tests.mutant import change_again
    change_again()

def outcome(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return "done"

def attempt(lines):
    names = globals()
    return {{line: outcome(lambda: exec(line, names)) for line in lines}}

def tell(**found):
    print(json.dumps(found), flush=True)
"""

Found = dict[str, Any]


class Died(Exception):
    """A signal ended the process.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _prelude() -> str:
    return PRELUDE.format(root=str(ROOT), change=CHANGE)


def run_python(code: str, **names: object) -> Found:
    """Run code and return what it told.

    Args:
        code: It has ``tell(name=value)``; ``outcome(function)``, which gives "done" or the name of
            the error; ``attempt(lines)``, which does that for many lines of code.
        names: Values that the code has by these names.

    Raises:
        Died: A signal ended it.
    """
    values = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", _prelude() + values + code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if process.returncode < 0:
        raise Died(-process.returncode)
    assert process.returncode == 0, process.stderr
    found: Found = {}
    for line in process.stdout.splitlines():
        found |= json.loads(line)
    return found
